/// What a node reports about its cluster, besides its own metrics.
enum StatusView: Sendable {
    /// It is in no cluster, or its version has no clusters.
    case alone
    case cluster(ClusterClient.Look<ClusterOverview>)
    case unknown(String, json: String)

    /// The width of the cluster's and the node's labels, which are aligned.
    static let labelWidth = "subscriptions".count

    static func look(at node: NodeClient) async throws -> StatusView {
        let answer: Answer
        do {
            answer = try await node.get(ClusterOverview.path)
        } catch let failure as Failure {
            return .unknown(failure.cause ?? failure.message, json: "null")
        }
        switch answer.status {
        case 404: return .alone
        case 200:
            let report = try ClusterOverview(json: answer.body)
            let json = String(decoding: answer.body.filter { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
            return report.isAlone ? .alone : .cluster(.init(report: report, json: json))
        default: return .unknown(answer.complaint, json: JSONGrammar.accepts(answer.body) ? answer.text : "null")
        }
    }

    var exitStatus: CommandStatus {
        switch self {
        case .alone: .ok
        case .cluster(let look): look.report.exitStatus
        case .unknown: .critical
        }
    }

    /// The node's object, with the cluster's in it.
    func json(with node: String) -> String {
        let cluster: String
        switch self {
        case .alone: return node
        case .cluster(let look): cluster = look.json
        case .unknown(_, let json): cluster = json
        }
        guard let end = node.lastIndex(of: "}") else { return node }
        return node[..<end] + ",\"cluster\":\(cluster)}"
    }

    func table(with status: NodeStatus, on terminal: Terminal) -> String {
        switch self {
        case .alone: return status.table(on: terminal)
        case .cluster(let look):
            // The cluster's reasons include those of its nodes.
            var status = status
            status.reasons.removeAll { own in look.report.reasons.contains { $0 == "\(status.node.id): \(own)" || $0.hasPrefix(own) } }
            return look.report.table(on: terminal) + "\n\n" + status.table(on: terminal)
        case .unknown(let why, _):
            var facts = Facts()
            facts.add("cluster", "cannot be asked: \(harmless(why))", .red)
            return "\(facts.text(on: terminal, labelWidth: Self.labelWidth))\n\n\(status.table(on: terminal))"
        }
    }
}
