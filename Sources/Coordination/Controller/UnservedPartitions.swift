import Partitioning

/// The partitions whose owners do not report that they serve them, and for how long. A pure value.
struct UnservedPartitions: Sendable {
    /// An owner usually serves a new partition within moments. If the partition is not served after this time, the operator is informed.
    static let patience = Duration.seconds(10)

    private struct Entry: Hashable, Sendable {
        var ownerEpoch: Int64
        var since: ContinuousClock.Instant
    }

    private var entries: [Int: Entry] = [:]
    /// The time of the next check.
    private var nextCheck: ContinuousClock.Instant?

    /// Checks the partitions of owners that have reported. Another check finds missing reports. Runs at most once a second.
    mutating func update(_ view: ClusterView, _ reports: [String: KnownNodes.Received], at now: ContinuousClock.Instant) {
        if let nextCheck, now < nextCheck { return }
        self.nextCheck = now.advanced(by: .seconds(1))
        let held = reports.mapValues { Set($0.report.serving).union($0.report.sealed) }
        var entries: [Int: Entry] = [:]
        for (partition, entry) in view.partitions.enumerated() {
            guard let owner = entry.owner, let held = held[owner], !held.contains(Grant(partition: partition, ownerEpoch: entry.ownerEpoch)) else {
                continue
            }
            let known = self.entries[partition].flatMap { $0.ownerEpoch == entry.ownerEpoch ? $0 : nil }
            entries[partition] = known ?? Entry(ownerEpoch: entry.ownerEpoch, since: now)
        }
        self.entries = entries
    }

    func tooLong(at now: ContinuousClock.Instant) -> [Int] {
        self.entries.filter { now >= $0.value.since.advanced(by: Self.patience) }.keys.sorted()
    }
}
