package import Partitioning

/// What owning a partition means for the log. The sequencers of a node implement it.
///
/// Each call names grants, so that a call for an older owner epoch never touches a newer one: calls may overlap.
package protocol PartitionStorage: Sendable {
    /// Takes the partitions over: from its return on, nothing is appended to them under an older owner epoch. Returns those that the log refused.
    func seal(_ partitions: [Grant]) async -> [SealRefusal]
    /// Accepts nothing new for them. Returns when everything in flight is committed, and nothing more will be committed under these owner epochs.
    func handOver(_ partitions: [Grant]) async
    /// This node does not own them any more: commits nothing more, and returns when that is so.
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
