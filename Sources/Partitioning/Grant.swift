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

    /// The first epoch that a channel of the partition may begin under this grant, unless its content came over from the owner before. A log that several
    /// owners of a partition use cannot take the time instead, because the clocks of nodes differ.
    ///
    /// Owner epochs grow, and one grant begins fewer than 2²⁴ epochs of a channel, one after another. So no epoch of a former owner is used again, also if
    /// nothing is known of that owner. The numbers are exact in Lua, which stores them with 53 bits.
    package var firstEpoch: UInt64 { UInt64(clamping: self.ownerEpoch) << 24 }

    package var description: String { "partition \(self.partition) under owner epoch \(self.ownerEpoch)" }

    /// The grants of a node in no cluster. The owner epoch never changes, because the lock on the log's folder excludes a second process.
    package static func everyPartition(of count: Int = Partitions.countByDefault) -> [Grant] {
        (0..<count).map { Grant(partition: $0, ownerEpoch: 1) }
    }
}
