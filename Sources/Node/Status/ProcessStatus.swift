import AdminAPI
import Coordination
import Gateway
import Link
import Partitioning
import Pipeline
import Relay

/// The metrics of this process at one moment, and its health. `GET /api/status`, `GET /metrics` and the report to the controller contain these values.
struct ProcessStatus: Sendable {
    var identity: NodeIdentity
    var processState: NodeLife.State
    var startedAt: Int64
    var uptimeSeconds: Int64
    /// The bound address of the subscriber port.
    var listen: String
    /// The bound address of the API port.
    var api: String
    /// The maximum number of parked publishes of each sequencer.
    var parkedMax: Int
    var gateway: GatewayMetrics
    var sequencer: SequencerMetrics
    var parkedBySequencer: [Int]
    var parked: Int { self.parkedBySequencer.reduce(0, +) }
    var log: LogMetrics
    var publishedPerSecond: Double
    var deliveredPerSecond: Double
    /// Nil for a node outside a cluster.
    var member: MemberStatus?
    /// Nil for a node outside a cluster.
    var relay: RelayMetrics?
    /// Problems of the data path to other nodes, as sentences.
    var relayReasons: [String] = []

    /// The state of the node. A member's state is `starting` until the member has joined its cluster, as in `/readyz`.
    var state: NodeLife.State {
        guard self.processState == .ready, let member = self.member, !member.summary.hasJoined else { return self.processState }
        return .starting
    }

    /// The health, with a sentence for each problem.
    var health: (Health, reasons: [String]) {
        var health = Health.healthy
        var reasons: [String] = []
        if let error = self.log.error {
            health = .critical
            reasons.append("The log cannot be written, so publishers get 503: \(error)")
        }
        if let warning = self.log.warning {
            health = max(health, .degraded)
            reasons.append("Events are stored, but \(warning)")
        }
        if let member = self.member, let obstacle = member.summary.obstacle, !member.summary.hasJoined || member.summary.session == "connected" {
            health = max(health, .degraded)
            reasons.append("This node is not in its cluster: \(obstacle).")
        } else if let outage = self.member?.summary.outage {
            health = max(health, .degraded)
            reasons.append(outage.text)
        }
        if let member = self.member, member.summary.isIsolated {
            health = max(health, .degraded)
            let links = member.links.filter { $0.direction == .outgoing }.prefix(5)
            let losses = links.map { "\($0.peer.id): \($0.loss?.description ?? "down")" }.joined(separator: ", ")
            reasons.append("This node has no link to any other member (\(losses)), so it is not ready. Check the network and the link secret.")
        }
        if self.processState == .stopping {
            health = max(health, .degraded)
            reasons.append("The node is stopping.")
        }
        if self.gateway.openSubscribers >= self.gateway.subscribersMax {
            health = max(health, .critical)
            reasons.append(
                "The limit of \(self.gateway.subscribersMax) subscriber connections is reached, so new subscribers are refused. Raise connections-max and the descriptor limit, or add a node."
            )
        } else if self.gateway.openSubscribers * 10 >= self.gateway.subscribersMax * 9 {
            health = max(health, .degraded)
            reasons.append("More than 90 % of \(self.gateway.subscribersMax) subscriber connections are used.")
        }
        if self.parkedBySequencer.contains(where: { $0 * 2 > self.parkedMax }) {
            health = max(health, .degraded)
            reasons.append("\(self.parked) publishes wait for the log, which is slower than the publishers.")
        }
        if !self.relayReasons.isEmpty {
            health = max(health, .degraded)
            reasons += self.relayReasons
        }
        return (health, reasons)
    }
}
