/// The number of a partition: a fixed share of all channels, selected by the hash of the channel's name. Each partition has one owner.
/// The type is a plain number, because it indexes arrays for every event.
package typealias PartitionID = Int

/// The number of a grant. It grows with each new owner of a partition. The log refuses commits under an older number.
package typealias OwnerEpoch = Int64

/// The right to sequence a partition's channels under one owner epoch. The log refuses commits under older owner epochs.
package struct Grant: Hashable, Sendable, CustomStringConvertible {
    package var partition: PartitionID
    package var ownerEpoch: OwnerEpoch

    package init(partition: PartitionID, ownerEpoch: OwnerEpoch) {
        self.partition = partition
        self.ownerEpoch = ownerEpoch
    }

    package var description: String { "partition \(self.partition) under owner epoch \(self.ownerEpoch)" }

    /// The grants of a node in no cluster. The owner epoch never changes, because the lock on the log's folder excludes a second process.
    package static func everyPartition(of count: Int = Partitions.countByDefault) -> [Grant] {
        (0..<count).map { Grant(partition: $0, ownerEpoch: 1) }
    }
}
