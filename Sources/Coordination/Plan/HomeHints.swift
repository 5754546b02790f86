/// Remembers for 10 minutes who owned the partitions that were taken from a node, so that it gets them back rather than others when it returns.
///
/// In the controller's memory only: a new controller does not know, and partitions go where there is room. At most one entry for each partition.
package struct HomeHints: Hashable, Sendable {
    package static let age: Duration = .seconds(600)

    private var entries: [Int: Entry] = [:]

    private struct Entry: Hashable, Sendable {
        let id: String
        let at: ContinuousClock.Instant
    }

    package init() {}

    /// The node lost these; `ClusterView.orphan` says which.
    package mutating func lost(_ partitions: [Int], by id: String, at now: ContinuousClock.Instant) {
        self.prune(at: now)
        for partition in partitions { self.entries[partition] = Entry(id: id, at: now) }
    }

    /// For `PlanInput.homes`.
    package func homes(at now: ContinuousClock.Instant) -> [Int: String] {
        self.entries.filter { $0.value.at.advanced(by: HomeHints.age) > now }.mapValues(\.id)
    }

    private mutating func prune(at now: ContinuousClock.Instant) {
        self.entries = self.entries.filter { $0.value.at.advanced(by: HomeHints.age) > now }
    }
}
