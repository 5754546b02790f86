/// A cluster of one member, without ZooKeeper: this node owns everything, for ever.
///
/// The owner epoch never changes: what fences a second process is the lock on the log's folder.
public struct EmbeddedCoordinator: Coordinator {
    /// As many as a cluster has by default, so that a channel is on the same partition in both.
    public static let partitionCount = 256

    public var partitionCount: Int { Self.partitionCount }

    public init() {}

    public func join() async throws -> [Assignment] {
        (0..<self.partitionCount).map { Assignment(partition: $0, ownerEpoch: 1) }
    }

    public func leave() async {}
}
