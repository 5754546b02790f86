/// How channels are spread over partitions. The count is fixed when a cluster is made.
package struct Partitions: Hashable, Sendable {
    /// Of a cluster, unless its configuration says otherwise, and of a node that is alone: a channel is on the same partition in both.
    package static let countByDefault = 256

    package let count: Int

    package init(count: Int = Partitions.countByDefault) {
        precondition(count > 0, "There is at least one partition")
        self.count = count
    }

    /// The partition of a channel, by the 64-bit hash of its name.
    package func partition(ofHash hash: UInt64) -> PartitionID { Int(truncatingIfNeeded: hash % UInt64(self.count)) }
}
