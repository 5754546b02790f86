package import Partitioning

/// The log's part in ownership. The sequencers of a node implement it.
///
/// Calls may overlap. Each names grants, so that a call for an older owner epoch does not affect a newer one.
package protocol PartitionStorage: Sendable {
    /// Takes the partitions over. After it returns, nothing is appended to them under an older owner epoch. Returns the grants that the log refused.
    func seal(_ partitions: [Grant]) async -> [SealRefusal]
    /// Accepts nothing new for these partitions. Returns when everything in flight is committed; nothing more is committed under these owner epochs.
    func handOver(_ partitions: [Grant]) async
    /// Ends these grants: this node does not own the partitions any more. Starts no new commit under them; one that is in flight may still end.
    func release(_ partitions: [Grant]) async
}

/// The log cannot be sealed under a grant, because of an error or a newer owner epoch.
package struct SealRefusal: Error, CustomStringConvertible {
    package var grant: Grant
    /// A sentence for a person.
    package var reason: String

    package init(grant: Grant, reason: String) {
        self.grant = grant
        self.reason = reason
    }

    package var description: String { self.reason }
}
