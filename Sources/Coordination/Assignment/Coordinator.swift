/// Decides which partitions a node owns that is alone, once and for all. In a cluster they come and go: ``ClusterCoordinator`` tells ``PartitionStorage`` of each.
public protocol Coordinator: Sendable {
    /// How many partitions the channels of this cluster are spread over; fixed when the cluster is made.
    var partitionCount: Int { get }

    /// Joins, and answers what this node may own from now on.
    func join() async throws -> [Assignment]

    /// Gives everything back.
    func leave() async
}

/// One partition granted to this node under an owner epoch, which fences whoever owned it before.
public struct Assignment: Hashable, Sendable {
    public var partition: Int
    public var ownerEpoch: UInt64

    public init(partition: Int, ownerEpoch: UInt64) {
        self.partition = partition
        self.ownerEpoch = ownerEpoch
    }
}
