package import Partitioning

/// The log's part in ownership. The sequencers of a node implement it.
///
/// Calls may overlap. Each call names grants, so that a call for an older owner epoch does not affect a newer grant.
package protocol PartitionStorage: Sendable {
    /// Takes over the partitions. After the return, nothing is appended to them under an older owner epoch. Returns the grants that the log refused.
    func seal(_ partitions: [Grant]) async -> [SealRefusal]
    /// Accepts no new events for these partitions. Returns when all events in flight are committed, and the target has what it needs to continue. After that,
    /// nothing is committed under these owner epochs.
    ///
    /// Returns the grants whose target cannot be reached, as its link shows: this node takes these partitions back. A target that is reachable, but cannot take
    /// over the content of a partition, gets the partition without it.
    func handOver(_ handoffs: [Handoff]) async -> [Grant]
    /// Ends these grants, because this node does not own the partitions any more. Starts no new commit under them. A commit in flight may still succeed.
    func release(_ partitions: [Grant]) async
}

/// The log cannot be sealed under a grant, because of an error or a newer owner epoch.
package struct SealRefusal: Error, CustomStringConvertible {
    package var grant: Grant
    /// The reason, as a sentence for people.
    package var reason: String
    /// Whether the log is sealed under a newer owner epoch. Sealing again under the same grant is useless then.
    package var isFenced: Bool

    package init(grant: Grant, reason: String, isFenced: Bool = false) {
        self.grant = grant
        self.reason = reason
        self.isFenced = isFenced
    }

    package var description: String { self.reason }
}
