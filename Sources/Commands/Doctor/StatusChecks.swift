import AdminAPI

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Checks of the node's own status.
enum StatusChecks {
    static func health(_ status: NodeStatus) -> Check {
        let reasons = status.reasons.joined(separator: " ")
        switch status.health {
        case .healthy: return .ok("health", "\(status.node.id) is healthy, version \(status.node.version)")
        case .degraded: return .warn("health", "\(status.node.id) is degraded. \(reasons)", do: "See the reasons, and the node's log.")
        case .critical: return .fail("health", "\(status.node.id) is critical. \(reasons)", do: "See the reasons, and the node's log.")
        }
    }

    /// Compares the wall clocks of the node and of this machine. If the status of an older node has no time, the start time plus the uptime is used.
    static func clock(_ status: NodeStatus, now: Date = Date()) -> Check {
        let text = status.node.time ?? status.node.startedAt
        guard let time = try? Date(text, strategy: .iso8601) else {
            return .warn("clock", "the node's status has the time \"\(text)\", which is not a date", do: "Use this command in the same version as the node.")
        }
        let ahead = time.addingTimeInterval(status.node.time == nil ? Double(status.node.uptimeSeconds) : 0).timeIntervalSince(now)
        guard abs(ahead) > 5 else { return .ok("clock", "the node's clock agrees with the clock of this machine") }
        return .warn(
            "clock", "the node's clock is \(Readable.duration(seconds: Int(abs(ahead)))) \(ahead > 0 ? "ahead of" : "behind") the clock of this machine",
            do: "Synchronize the clocks, for example with NTP: each event has the time of the node's clock.")
    }

    /// Checks that each link of a member of a cluster has a data connection beside it. Nil for a node outside a cluster.
    static func dataConnections(_ status: NodeStatus) -> Check? {
        // A data connection is dialled together with its link, and may come up a moment later.
        guard let links = status.cluster?.links.filter({ $0.isUp && $0.isDataUp != nil && $0.milliseconds > 5000 }), !links.isEmpty else { return nil }
        let down = links.filter { $0.isDataUp == false }
        guard down.isEmpty else {
            let list = down.map { "\($0.direction == "outgoing" ? "to" : "from") \($0.peer)" }.joined(separator: ", ")
            return .fail(
                "data connections", "the link is up but the data connection is not: \(list)",
                do: "See the logs of both nodes. Until the connection is up, events and publishes do not cross between these nodes.")
        }
        return .ok("data connections", "each of \(Readable.count(links.count, "link")) has its data connection")
    }

    static func connections(_ status: NodeStatus) -> Check {
        let used = status.subscribers.connections
        let max = status.subscribers.connectionsMax
        let text = "\(Readable.count(used)) of at most \(Readable.count(max)) are open"
        let advice = "Raise the node's connections-max and its descriptor limit, or add a node."
        guard max > 0 else { return .ok("connections", "\(Readable.count(used)) are open") }
        if used >= max { return .fail("connections", "\(text): the node refuses more", do: advice) }
        if used > max / 5 * 4 { return .warn("connections", text, do: advice) }
        return .ok("connections", text)
    }
}
