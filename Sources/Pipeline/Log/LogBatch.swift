package import Partitioning

/// What a sequencer commits together: events of several partitions in the order of their sequencing, and the grant each partition is committed under.
///
/// One array of events with an index beside it, and not an array for each partition: a commit of fifty events is often one of fifty partitions.
package struct LogBatch: Sendable {
    package private(set) var events: [SequencedEvent] = []
    /// The partitions of the events, each once. ``Log/append(_:)`` returns a result for each.
    package private(set) var grants: [Grant] = []
    /// For each event the index of its partition in ``grants``.
    package private(set) var grantIndices: [UInt16] = []

    package init() {}

    /// Events of one partition.
    package init(_ events: [SequencedEvent], under grant: Grant) {
        self.events = events
        self.grants = events.isEmpty ? [] : [grant]
        self.grantIndices = Array(repeating: 0, count: events.count)
    }

    package var isEmpty: Bool { self.events.isEmpty }

    /// Adds a partition, once, and returns its index.
    package mutating func add(_ grant: Grant) -> UInt16 {
        self.grants.append(grant)
        return UInt16(self.grants.count - 1)
    }

    package mutating func add(_ event: SequencedEvent, grantIndex: UInt16) {
        self.events.append(event)
        self.grantIndices.append(grantIndex)
    }

    /// The memory stays for the next commit.
    package mutating func removeAll() {
        self.events.removeAll(keepingCapacity: true)
        self.grants.removeAll(keepingCapacity: true)
        self.grantIndices.removeAll(keepingCapacity: true)
    }
}
