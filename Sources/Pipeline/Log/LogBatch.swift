package import Partitioning

/// The events of one commit, in the order in which they were sequenced, and the grants of their partitions.
///
/// One array holds all events, and another array their indices into the grants. An array for each partition would cost more, because fifty events often belong
/// to fifty partitions.
package struct LogBatch: Sendable {
    package private(set) var events: [SequencedEvent] = []
    /// The grants of the events' partitions, each once. ``Log/append(_:)`` returns a result for each of them.
    package private(set) var grants: [Grant] = []
    /// For each event, the index of its partition's grant in ``grants``.
    package private(set) var grantIndices: [UInt16] = []

    package init() {}

    /// Events of one partition.
    package init(_ events: [SequencedEvent], under grant: Grant) {
        self.events = events
        self.grants = events.isEmpty ? [] : [grant]
        self.grantIndices = Array(repeating: 0, count: events.count)
    }

    package var isEmpty: Bool { self.events.isEmpty }

    /// Adds a partition's grant and returns its index. The caller adds each partition once.
    package mutating func add(_ grant: Grant) -> UInt16 {
        self.grants.append(grant)
        return UInt16(self.grants.count - 1)
    }

    package mutating func add(_ event: SequencedEvent, grantIndex: UInt16) {
        self.events.append(event)
        self.grantIndices.append(grantIndex)
    }

    /// Removes everything. Keeps the allocated memory for the next commit.
    package mutating func removeAll() {
        self.events.removeAll(keepingCapacity: true)
        self.grants.removeAll(keepingCapacity: true)
        self.grantIndices.removeAll(keepingCapacity: true)
    }
}
