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

    /// The node's wall clock, from its status. For an older node: start time plus uptime. Exact to the second.
    static func clock(_ status: NodeStatus, now: Date = Date()) -> Check {
        let text = status.node.time ?? status.node.startedAt
        guard let time = try? Date(text, strategy: .iso8601) else {
            return .warn("clock", "the node's clock says \"\(text)\", which is no time", do: "Use the command of the node's version.")
        }
        let ahead = time.addingTimeInterval(status.node.time == nil ? Double(status.node.uptimeSeconds) : 0).timeIntervalSince(now)
        guard abs(ahead) > 5 else { return .ok("clock", "the node's clock and this one agree") }
        return .warn(
            "clock", "the node's clock is \(Readable.duration(seconds: Int(abs(ahead)))) \(ahead > 0 ? "ahead of" : "behind") this one",
            do: "Let both machines keep time, as by NTP: events carry the node's time.")
    }

    static func connections(_ status: NodeStatus) -> Check {
        let used = status.subscribers.connections
        let max = status.subscribers.connectionsMax
        let words = "\(Readable.count(used)) of \(Readable.count(max)) are used"
        let advice = "Raise connections-max and the descriptor limit, or add a node."
        guard max > 0 else { return .ok("connections", "\(Readable.count(used)) are used") }
        if used >= max { return .fail("connections", "\(words): more are refused", do: advice) }
        if used > max / 5 * 4 { return .warn("connections", words, do: advice) }
        return .ok("connections", words)
    }
}
