/// A fixed share of all channels, by the hash of their names; the unit of ownership. A plain number, because it indexes arrays on the path of every event.
package typealias PartitionID = Int

/// The number of a grant. It grows with each new owner of a partition, and fences the older ones.
package typealias OwnerEpoch = Int64

/// The right to sequence a partition's channels, under the owner epoch that fences older owners.
package struct Grant: Hashable, Sendable, CustomStringConvertible {
    package var partition: PartitionID
    package var ownerEpoch: OwnerEpoch

    package init(partition: PartitionID, ownerEpoch: OwnerEpoch) {
        self.partition = partition
        self.ownerEpoch = ownerEpoch
    }

    package var description: String { "partition \(self.partition) under owner epoch \(self.ownerEpoch)" }

    /// The grant of a node in no cluster. The owner epoch never changes: the lock on the log's folder excludes a second process.
    package static func everyPartition(of count: Int = Partitions.countByDefault) -> [Grant] {
        (0..<count).map { Grant(partition: $0, ownerEpoch: 1) }
    }
}
