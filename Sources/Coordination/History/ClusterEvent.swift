package import AdminAPI

extension ClusterEvent {
    /// One event for each change of a node or of the mode between two views. ``TransferHistory`` creates the events for partitions.
    static func changes(from old: ClusterView?, to new: ClusterView, _ reasons: ViewReasons, at: Int64) -> [ClusterEvent] {
        var events: [ClusterEvent] = []
        func note(_ kind: Kind, _ node: String, _ text: String, _ reason: String? = nil) {
            let reason = reason ?? ""
            events.append(ClusterEvent(kind: kind, at: at, node: node, viewVersion: new.version, text: reason.isEmpty ? text : "\(text): \(reason)"))
        }
        guard let old else {
            let owned = new.partitions.count { $0.owner != nil }
            note(.node, "", "the view is at version \(new.version): \(new.nodes.count) nodes, \(owned) of \(new.partitions.count) partitions owned")
            return events
        }
        if old.mode != new.mode { note(.mode, "", "mode \(old.mode.rawValue) is now \(new.mode.rawValue)", reasons.mode) }
        for node in new.nodes {
            let before = old.node(node.id)
            if before?.state != node.state {
                note(.node, node.id, "\(before?.state.rawValue ?? "new") is now \(node.state.rawValue)", reasons.nodes[node.id])
            } else if before?.incarnation != node.incarnation {
                note(.node, node.id, "has a new session, as incarnation \(node.incarnation.map(String.init) ?? "none")")
            }
        }
        for node in old.nodes where new.node(node.id) == nil { note(.removed, node.id, "forgotten", reasons.nodes[node.id]) }
        return events
    }
}

/// The newest events of one node, in order. Operations, transfers of partitions and other events have separate limits, so that many events of one group do not
/// remove events of another group.
package struct ClusterHistory: Sendable {
    /// The number of events that are kept in each group.
    package static let countMax = 1000

    private var operations: [ClusterEvent] = []
    private var transfers: [ClusterEvent] = []
    private var others: [ClusterEvent] = []
    /// The number of events of each kind so far, including those that are no longer kept.
    package private(set) var counts: [ClusterEvent.Kind: Int] = [:]
    private var last: Int64 = 0

    /// Returns the event with its number.
    mutating func append(_ event: ClusterEvent) -> ClusterEvent {
        self.last += 1
        var event = event
        event.number = self.last
        self.counts[event.kind, default: 0] += 1
        switch event.kind {
        case .operation: Self.append(event, to: &self.operations)
        case .granted, .moved: Self.append(event, to: &self.transfers)
        case .joined, .blocked, .waiting, .evicted, .left, .sessionLost, .elected, .deposed, .node, .mode, .removed, .alarm, .other:
            Self.append(event, to: &self.others)
        }
        return event
    }

    private static func append(_ event: ClusterEvent, to events: inout [ClusterEvent]) {
        events.append(event)
        // Old events are removed 100 at a time, because each removal moves all other events of the array.
        if events.count >= Self.countMax + 100 { events.removeFirst(events.count - Self.countMax) }
    }

    /// The number of kept events.
    var count: Int { self.operations.count + self.transfers.count + self.others.count }

    package var events: [ClusterEvent] { self.after(0) }

    package func after(_ number: Int64) -> [ClusterEvent] {
        [self.operations, self.transfers, self.others].flatMap { events in
            events[(events.firstIndex { $0.number > number } ?? events.count)...]
        }.sorted { $0.number < $1.number }
    }
}
