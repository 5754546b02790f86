import Partitioning

/// Where the owner of a partition is.
enum RelayTarget: Hashable, Sendable {
    /// The sequencer behind this relay.
    case here
    /// The node at the other end of a data connection, by the number of its session.
    case session(UInt64)
}

/// Which node owns each partition, by what the owners announce. A pure value.
///
/// An owner announces a grant when it begins to acquire the partition, and announces its end. So publishes never arrive at a node before that node knows that
/// it owns the partition, and ZooKeeper is not on their path. Of several announcements the highest owner epoch counts: an owner that does not know yet that it
/// has been replaced is not used any more as soon as the next owner has announced its grant.
struct RouteTable: Sendable {
    struct Route: Hashable, Sendable {
        var target: RelayTarget
        var ownerEpoch: OwnerEpoch
    }

    /// By partition. An array, because every published event reads it.
    private var best: [Route?]
    /// All announcements of partitions that have several.
    private var several: [PartitionID: [Route]] = [:]

    init(partitions: Int) {
        self.best = Array(repeating: nil, count: partitions)
    }

    subscript(partition: PartitionID) -> Route? { self.best[partition] }

    /// Adds announcements. Returns the partitions whose route has changed.
    mutating func acquired(_ grants: [Grant], by target: RelayTarget) -> [PartitionID] {
        grants.compactMap { grant in
            guard self.best.indices.contains(grant.partition) else { return nil }
            return self.change(grant.partition) { routes in
                // One target announces one grant of a partition at a time.
                routes.removeAll { $0.target == target }
                routes.append(Route(target: target, ownerEpoch: grant.ownerEpoch))
            }
        }
    }

    /// Removes announcements. Returns the partitions whose route has changed.
    mutating func ended(_ grants: [Grant], by target: RelayTarget) -> [PartitionID] {
        grants.compactMap { grant in
            guard self.best.indices.contains(grant.partition) else { return nil }
            return self.change(grant.partition) { routes in
                // The end of an older grant may come after the announcement of the next one.
                routes.removeAll { ($0.target == target && $0.ownerEpoch <= grant.ownerEpoch) || Defect.teardownByPartition.isActive }
            }
        }
    }

    /// Removes all announcements of a session that has closed. Returns the partitions whose route has changed.
    mutating func closed(_ target: RelayTarget) -> [PartitionID] {
        self.best.indices.filter { partition in
            guard self.best[partition]?.target == target || self.several[partition] != nil else { return false }
            return self.change(partition) { $0.removeAll { $0.target == target || Defect.teardownByPartition.isActive } } != nil
        }
    }

    private mutating func change(_ partition: PartitionID, _ body: (inout [Route]) -> Void) -> PartitionID? {
        let before = self.best[partition]
        var routes = self.several[partition] ?? before.map { [$0] } ?? []
        body(&routes)
        self.several[partition] = routes.count > 1 ? routes : nil
        // Of two sessions of one node the newer one counts: the older one may be broken without knowing it.
        self.best[partition] = routes.reduce(nil) { best, route in best.map { $0.ownerEpoch > route.ownerEpoch } ?? false ? best : route }
        return self.best[partition] == before ? nil : partition
    }
}
