import AdminAPI
import JSON

/// What a node reports about its cluster, besides its own metrics.
enum StatusView: Sendable {
    /// It is in no cluster, or its version has no clusters.
    case alone
    case cluster(ClusterClient.Look<ClusterOverview>)
    /// - Parameter isTemporary: the node has not joined its cluster yet, or cannot tell at the moment. It may work well: its own status says if not.
    case unknown(String, json: String, isTemporary: Bool)

    static func look(at node: NodeClient) async throws -> StatusView {
        let answer: Answer
        do {
            answer = try await node.get(ClusterOverview.kind.path)
        } catch let failure as Failure {
            return .unknown(failure.cause ?? failure.message, json: "null", isTemporary: false)
        }
        switch answer.status {
        case 404: return .alone
        case 200:
            let report = try ClusterOverview(json: answer.body)
            return report.isAlone ? .alone : .cluster(.init(report: report, json: answer.line))
        default: return .unknown(answer.complaint, json: JSONValue.accepts(answer.body) ? answer.text : "null", isTemporary: answer.status == 503)
        }
    }

    var exitStatus: CommandStatus {
        switch self {
        case .alone: .ok
        case .cluster(let look): look.report.exitStatus
        case .unknown(_, _, let isTemporary): isTemporary ? .degraded : .critical
        }
    }

    /// The node's object, with the cluster's in it.
    func json(with node: String) -> String {
        let cluster: String
        switch self {
        case .alone: return node
        case .cluster(let look): cluster = look.json
        case .unknown(_, let json, _): cluster = json
        }
        return JSONValue(Array(node.utf8))?.json(setting: "cluster", to: cluster) ?? node
    }

    func table(with status: NodeStatus, on terminal: Terminal) -> String {
        switch self {
        case .alone: return status.table(on: terminal)
        case .cluster(let look):
            // The cluster's reasons include those of its nodes.
            var status = status
            status.reasons.removeAll { own in look.report.reasons.contains { $0 == "\(status.node.id): \(own)" || $0.hasPrefix(own) } }
            return look.report.table(on: terminal) + "\n\n" + status.table(on: terminal)
        case .unknown(let why, _, _):
            // Often the reason is the node's own.
            var status = status
            status.reasons.removeAll { own in why.contains(own.trimming { $0 == "." }) }
            var facts = Facts()
            facts.add("cluster", "cannot be asked: \(harmless(why))", .red)
            return "\(facts.text(on: terminal, labelWidth: Facts.statusLabelWidth))\n\n\(status.table(on: terminal))"
        }
    }
}
