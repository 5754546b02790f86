/// Maps channels to partitions. The count is fixed when a cluster is created.
package struct Partitions: Hashable, Sendable {
    /// The default number of partitions of a cluster. A node in no cluster has the same number, so that a channel is on the same partition in both.
    package static let countByDefault = 256
    package static let countMax = 65_536

    package let count: Int

    package init(count: Int = Partitions.countByDefault) {
        precondition(count > 0, "There is at least one partition")
        self.count = count
    }

    /// The partition of a channel, by the 64-bit hash of its name.
    package func partition(ofHash hash: UInt64) -> PartitionID { Int(truncatingIfNeeded: hash % UInt64(self.count)) }
}
