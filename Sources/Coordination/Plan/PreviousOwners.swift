/// Returns partitions to a node that comes back. The partitions wait for the node for a while. The plan prefers the node for 10 minutes after the loss.
///
/// Only the present controller has this data. A new controller grants partitions by quota. The size is bounded by one entry for each partition and each node.
package struct PreviousOwners: Hashable, Sendable {
    package static let age: Duration = .seconds(600)

    private struct Entry: Hashable, Sendable {
        let id: String
        let at: ContinuousClock.Instant
    }

    private var entries: [Int: Entry] = [:]
    private var waits: [String: ContinuousClock.Instant] = [:]

    package init() {}

    /// Records that the node lost these partitions, which `ClusterView.orphan` returned.
    package mutating func lost(_ partitions: [Int], by id: String, at now: ContinuousClock.Instant) {
        self.entries = self.entries.filter { $0.value.at.advanced(by: PreviousOwners.age) > now }
        self.waits = self.waits.filter { now < $0.value }
        for partition in partitions { self.entries[partition] = Entry(id: id, at: now) }
    }

    /// Records that the node is expected to return. Until that time its partitions are granted to no other node.
    package mutating func wait(for id: String, until time: ContinuousClock.Instant) { self.waits[id] = max(self.waits[id] ?? time, time) }

    /// The node is back, or is no longer expected.
    package mutating func returned(_ id: String) { self.waits[id] = nil }

    /// The last owner of each partition, while it is remembered.
    package func owners(at now: ContinuousClock.Instant) -> [Int: String] {
        self.entries.filter { $0.value.at.advanced(by: PreviousOwners.age) > now }.mapValues(\.id)
    }

    /// The nodes that partitions wait for.
    package func awaited(at now: ContinuousClock.Instant) -> Set<String> { Set(self.waits.filter { now < $0.value }.keys) }

    /// The times when the waits end.
    package var dues: [ContinuousClock.Instant] { Array(self.waits.values) }
}
