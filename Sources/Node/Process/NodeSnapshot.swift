import AdminAPI
import Coordination
import Link
import Pipeline

/// One look at all of a node's figures.
struct NodeSnapshot: Sendable {
    var shared: NodeShared
    var loops: Int
    var connections: ConnectionStatistics
    var fanout: FanoutStatistics
    var sequencer: SequencerStatistics
    var channels: Int
    var parked: Int
    var log: LogStatistics
    var counts: NodeShared.Counts
    var publishedPerSecond: Double
    var deliveredPerSecond: Double
    /// Nil for a node that is alone.
    var member: MemberSnapshot?

    /// Where the node is in its life, as `/readyz` has it: a member starts until it has seen its cluster.
    var state: NodeShared.ProcessState {
        guard self.shared.state == .ready, let member = self.member, !member.summary.hasJoined else { return self.shared.state }
        return .starting
    }

    /// How it is, and why in sentences.
    var health: (Health, reasons: [String]) {
        var health = Health.healthy
        var reasons: [String] = []
        if let error = self.log.error {
            health = .critical
            reasons.append("The log cannot be written, publishers get 503: \(error)")
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
            let losses = links.map { "\($0.id): \($0.loss?.description ?? "down")" }.joined(separator: ", ")
            reasons.append("This node has no link to any other member (\(losses)), and is not ready: look at the network and at the link secret.")
        }
        if self.shared.state == .stopping {
            health = max(health, .degraded)
            reasons.append("The node is stopping.")
        }
        if self.counts.subscribers >= self.shared.connectionsMax {
            health = max(health, .critical)
            reasons.append(
                "All \(self.shared.connectionsMax) connections are taken, new subscribers are asked to come back later: raise connections-max and the descriptor limit, or add a node."
            )
        } else if self.counts.subscribers * 10 >= self.shared.connectionsMax * 9 {
            health = max(health, .degraded)
            reasons.append("More than 90 % of \(self.shared.connectionsMax) connections are taken.")
        }
        if self.parked * 2 > self.shared.configuration.limits.parkedPublishesMax {
            health = max(health, .degraded)
            reasons.append("\(self.parked) publishes wait for the log: it is slower than they come.")
        }
        return (health, reasons)
    }
}
