package import JSON

/// One decision or observation: who, what, why, under which view. For people and their tools.
package struct ClusterEvent: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable, CaseIterable {
        case joined, blocked, evicted, left
        case sessionLost = "session_lost"
        case elected, deposed
        case node, granted, moving, mode, removed
        case operation
        case alarm
    }

    /// Counts this node's events, from 1.
    package var number: Int64 = 0
    package var kind: Kind
    /// Milliseconds since 1970 at the node that tells it.
    package var at: Int64
    /// Whom it is about.
    package var node: String
    package var viewVersion: Int64
    package var text: String

    package func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.field("number", self.number)
            writer.field("kind", self.kind.rawValue)
            writer.field("at", self.at)
            writer.field("node", self.node)
            writer.field("view", self.viewVersion)
            writer.field("text", self.text)
        }
    }

    /// What became different from one view to the next, told by node rather than by partition.
    static func changes(from old: ClusterView?, to new: ClusterView, _ reasons: ViewReasons, at: Int64) -> [ClusterEvent] {
        var events: [ClusterEvent] = []
        func tell(_ kind: Kind, _ node: String, _ text: String, _ reason: String? = nil) {
            let reason = reason ?? ""
            events.append(ClusterEvent(kind: kind, at: at, node: node, viewVersion: new.version, text: reason.isEmpty ? text : "\(text): \(reason)"))
        }
        guard let old else {
            let owned = new.partitions.count { $0.owner != nil }
            tell(.node, "", "the view is at version \(new.version): \(new.nodes.count) nodes, \(owned) of \(new.partitions.count) partitions owned")
            return events
        }
        if old.mode != new.mode { tell(.mode, "", "mode \(old.mode.rawValue) is now \(new.mode.rawValue)", reasons.mode) }
        for node in new.nodes {
            let before = old.node(node.id)
            if before?.state != node.state {
                tell(.node, node.id, "\(before?.state.rawValue ?? "new") is now \(node.state.rawValue)", reasons.nodes[node.id])
            } else if before?.incarnation != node.incarnation {
                tell(.node, node.id, "restarted as incarnation \(node.incarnation.map(String.init) ?? "none")")
            }
        }
        for node in old.nodes where new.node(node.id) == nil { tell(.removed, node.id, "forgotten", reasons.nodes[node.id]) }
        guard old.partitions.count == new.partitions.count else { return events }
        var granted: [String: Int] = [:]
        var moving: [String: Int] = [:]
        for (partition, (before, after)) in zip(old.partitions, new.partitions).enumerated() {
            if after.ownerEpoch > before.ownerEpoch, let owner = after.owner {
                var text = "\(before.owner ?? "nobody") to \(owner)"
                if let move = before.move, move.to == owner {
                    text += " (\(move.reason.rawValue))"
                } else if let home = reasons.homes[partition] {
                    text += " (\(home) had owned them)"
                } else if let from = before.owner, let state = new.node(from)?.state, !state.mayOwn {
                    text += " (\(from) is \(state.rawValue))"
                }
                granted[text, default: 0] += 1
            }
            if let move = after.move, before.move != move { moving["\(after.owner ?? "nobody") to \(move.to) (\(move.reason.rawValue))", default: 0] += 1 }
        }
        for (pair, count) in granted.sorted(by: { $0.key < $1.key }) { tell(.granted, "", "\(count) partitions from \(pair)") }
        for (pair, count) in moving.sorted(by: { $0.key < $1.key }) { tell(.moving, "", "\(count) partitions from \(pair)") }
        return events
    }
}

/// The newest events of one node, in order.
package struct ClusterHistory: Sendable {
    package static let countMax = 1000
    package private(set) var events: [ClusterEvent] = []
    /// How many there have been, those included that are not kept.
    package private(set) var counts: [ClusterEvent.Kind: Int] = [:]
    private var last: Int64 = 0

    /// Answers the event with its number.
    mutating func append(_ event: ClusterEvent) -> ClusterEvent {
        self.last += 1
        var event = event
        event.number = self.last
        self.counts[event.kind, default: 0] += 1
        self.events.append(event)
        // In slices, so that not every event moves all others.
        if self.events.count >= Self.countMax + 100 { self.events.removeFirst(self.events.count - Self.countMax) }
        return event
    }

    package func after(_ number: Int64, limit: Int) -> ArraySlice<ClusterEvent> {
        let start = self.events.firstIndex { $0.number > number } ?? self.events.count
        return self.events[start...].prefix(limit)
    }
}
