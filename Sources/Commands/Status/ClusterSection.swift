import AdminAPI
import JSON

/// The part of the output of `status` that is about the cluster.
enum ClusterSection: Sendable {
    /// The node is not in a cluster, or its version does not support clusters.
    case alone
    case cluster(ClusterClient.Fetched<ClusterOverview>)
    /// The cluster's status is unavailable, for this reason.
    ///
    /// - Parameter isTemporary: the node has not joined its cluster yet, or has no report now. The node itself may be healthy.
    case unknown(String, json: String, isTemporary: Bool)

    static func fetch(from node: NodeClient) async throws -> ClusterSection {
        let response: Response
        do {
            response = try await node.get(ClusterOverview.kind.path)
        } catch let failure as CommandError {
            return .unknown(failure.cause ?? failure.message, json: "null", isTemporary: false)
        }
        switch response.status {
        case 404: return .alone
        case 200:
            let report = try ClusterOverview(json: response.body)
            return report.isAlone ? .alone : .cluster(.init(report: report, json: response.line))
        default: return .unknown(response.statusText, json: JSONValue.accepts(response.body) ? response.text : "null", isTemporary: response.status == 503)
        }
    }

    var exitStatus: CommandStatus {
        switch self {
        case .alone: .ok
        case .cluster(let look): look.report.exitStatus
        case .unknown(_, _, let isTemporary): isTemporary ? .degraded : .critical
        }
    }

    /// The node's JSON object with the cluster's object as the field `cluster`.
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
            // The cluster's reasons include the reasons of its nodes. Each reason is printed only once.
            var status = status
            status.reasons.removeAll { own in look.report.reasons.contains { $0 == "\(status.node.id): \(own)" || $0.hasPrefix(own) } }
            return look.report.table(on: terminal) + "\n\n" + status.table(on: terminal)
        case .unknown(let reason, _, _):
            // The reason is often also a reason of the node. It is printed only once.
            var status = status
            status.reasons.removeAll { own in reason.contains(own.trimming { $0 == "." }) }
            var facts = Facts()
            facts.add("cluster", "status unavailable: \(sanitized(reason))", .red)
            return "\(facts.text(on: terminal, labelWidth: Facts.statusLabelWidth))\n\n\(status.table(on: terminal))"
        }
    }
}
