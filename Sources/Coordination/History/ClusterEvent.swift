package import JSON

/// One decision or observation: who, what, why, under which view. For people and their tools.
package struct ClusterEvent: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable, CaseIterable {
        case joined, blocked, waiting, evicted, left
        case sessionLost = "session_lost"
        case elected, deposed
        case node, granted, moved, mode, removed
        case operation
        case alarm
    }

    /// Counts this node's events, from 1.
    package var number: Int64 = 0
    package var kind: Kind
    /// Milliseconds since 1970 at the node that reports it.
    package var at: Int64
    /// The node that it is about; empty for the whole cluster.
    package var node: String
    package var viewVersion: Int64
    package var text: String
    /// Of an operation: who requested it, and why.
    package var by = ""
    package var note = ""
    /// Partitions that changed hands.
    var transfers = Transfers()

    init(kind: Kind, at: Int64, node: String, viewVersion: Int64, text: String) {
        self.kind = kind
        self.at = at
        self.node = node
        self.viewVersion = viewVersion
        self.text = text
    }

    package func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.field("number", self.number)
            writer.field("kind", self.kind.rawValue)
            writer.field("at", self.at)
            writer.field("node", self.node)
            writer.field("view", self.viewVersion)
            writer.field("text", self.text)
            if !self.by.isEmpty { writer.field("by", self.by) }
            if !self.note.isEmpty { writer.field("note", self.note) }
            if self.transfers.count > 0 { self.transfers.write(to: &writer) }
        }
    }

    /// What became different from one view to the next: a row for each node that did, and one for all that is granted for one reason.
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
                note(.node, node.id, "restarted as incarnation \(node.incarnation.map(String.init) ?? "none")")
            }
        }
        for node in old.nodes where new.node(node.id) == nil { note(.removed, node.id, "forgotten", reasons.nodes[node.id]) }
        return events
    }
}

/// Partitions that changed hands by one decision. The count is exact; pairs of nodes and partitions are the first ones.
struct Transfers: Hashable, Sendable {
    static let pairsMax = 20
    static let partitionsMax = 20

    struct Pair: Hashable, Sendable {
        /// Nil for partitions without an owner.
        var from: String?
        var to: String
        var count = 0
        var partitions: [Int] = []
    }

    private(set) var count = 0
    private var found: [Pair] = []
    /// By their names.
    var pairs: [Pair] { self.found.sorted { ($0.from ?? "", $0.to) < ($1.from ?? "", $1.to) } }

    mutating func add(_ partition: Int, from: String?, to: String) {
        self.count += 1
        guard let index = self.found.firstIndex(where: { $0.from == from && $0.to == to }) else {
            if self.found.count < Self.pairsMax { self.found.append(Pair(from: from, to: to, count: 1, partitions: [partition])) }
            return
        }
        self.found[index].count += 1
        if self.found[index].partitions.count < Self.partitionsMax { self.found[index].partitions.append(partition) }
    }

    /// "85 partitions".
    var amount: String { "\(self.count) partition\(self.count == 1 ? "" : "s")" }

    /// "43 to n1, 42 to n3", or with their sources where there are several.
    var words: String {
        let pairs = self.pairs
        let sources = Set(pairs.map(\.from))
        let words = pairs.prefix(10).map { pair in
            sources.count == 1 ? "\(pair.count) to \(pair.to)" : "\(pair.count) from \(pair.from ?? "none") to \(pair.to)"
        }
        let rest = self.count - pairs.prefix(10).reduce(0) { $0 + $1.count }
        return (words + (rest > 0 ? ["\(rest) to others"] : [])).joined(separator: ", ")
    }

    /// The one node that all went to, or came from.
    var node: String? {
        guard self.count == self.found.reduce(0, { $0 + $1.count }), let first = self.found.first else { return nil }
        if self.found.allSatisfy({ $0.to == first.to }) { return first.to }
        return self.found.allSatisfy { $0.from == first.from } ? first.from : nil
    }

    func write(to writer: inout JSONWriter) {
        writer.field("count", self.count)
        writer.name("transfers")
        writer.array { writer in
            for pair in self.pairs {
                writer.object { writer in
                    if let from = pair.from { writer.field("from", from) }
                    writer.field("to", pair.to)
                    writer.field("count", pair.count)
                    writer.name("partitions")
                    writer.array { writer in for partition in pair.partitions { writer.integer(partition) } }
                }
            }
        }
    }
}

/// The newest events of one node, in order: operations, what changes hands, and all others are kept apart, so that none of them pushes another out.
package struct ClusterHistory: Sendable {
    /// Of each of the three.
    package static let countMax = 1000

    private var operations: [ClusterEvent] = []
    private var transfers: [ClusterEvent] = []
    private var others: [ClusterEvent] = []
    /// How many there have been, those included that are not kept.
    package private(set) var counts: [ClusterEvent.Kind: Int] = [:]
    private var last: Int64 = 0

    /// Answers the event with its number.
    mutating func append(_ event: ClusterEvent) -> ClusterEvent {
        self.last += 1
        var event = event
        event.number = self.last
        self.counts[event.kind, default: 0] += 1
        switch event.kind {
        case .operation: Self.append(event, to: &self.operations)
        case .granted, .moved: Self.append(event, to: &self.transfers)
        case .joined, .blocked, .waiting, .evicted, .left, .sessionLost, .elected, .deposed, .node, .mode, .removed, .alarm:
            Self.append(event, to: &self.others)
        }
        return event
    }

    private static func append(_ event: ClusterEvent, to events: inout [ClusterEvent]) {
        events.append(event)
        // In slices, so that not every event moves all others.
        if events.count >= Self.countMax + 100 { events.removeFirst(events.count - Self.countMax) }
    }

    /// How many are kept.
    var count: Int { self.operations.count + self.transfers.count + self.others.count }

    package var events: [ClusterEvent] { self.after(0) }

    package func after(_ number: Int64) -> [ClusterEvent] {
        [self.operations, self.transfers, self.others].flatMap { events in
            events[(events.firstIndex { $0.number > number } ?? events.count)...]
        }.sorted { $0.number < $1.number }
    }
}
