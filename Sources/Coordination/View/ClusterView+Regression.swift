extension ClusterView {
    /// Why a view must not replace the newest view that this node has seen. ZooKeeper lost a write, or another program wrote the view. The node raises an alarm
    /// and keeps its view.
    package enum Regression: Error, Hashable, CustomStringConvertible {
        case version(seen: Int64, candidate: Int64)
        /// Two different views have the same version.
        case divergence(version: Int64)
        case controllerEpoch(seen: Int32, candidate: Int32)
        /// The number of partitions of a cluster never changes.
        case partitionCount(seen: Int, candidate: Int)
        case ownerEpoch(partition: Int, seen: Int64, candidate: Int64)
        /// One owner epoch was granted twice. Only a higher owner epoch fences the former owner.
        case grant(partition: Int, ownerEpoch: Int64, seen: String?, candidate: String)

        package var description: String {
            switch self {
            case .version(let seen, let candidate): "the view went back from version \(seen) to \(candidate)"
            case .divergence(let version): "there are two different views of version \(version)"
            case .controllerEpoch(let seen, let candidate): "the controller epoch went back from \(seen) to \(candidate)"
            case .partitionCount(let seen, let candidate): "the cluster had \(seen) partitions and now has \(candidate)"
            case .ownerEpoch(let partition, let seen, let candidate): "the owner epoch of partition \(partition) went back from \(seen) to \(candidate)"
            case .grant(let partition, let ownerEpoch, let seen, let candidate):
                "partition \(partition) went from \(seen ?? "no owner") to \(candidate) without a new owner epoch (\(ownerEpoch))"
            }
        }
    }

    /// Why `candidate` must not replace this view, the newest view seen. Nil if it may, or if both views are equal.
    package func regression(in candidate: ClusterView) -> Regression? {
        if candidate.version < self.version { return .version(seen: self.version, candidate: candidate.version) }
        if candidate.version == self.version { return candidate == self ? nil : .divergence(version: self.version) }
        if candidate.controllerEpoch < self.controllerEpoch {
            return .controllerEpoch(seen: self.controllerEpoch, candidate: candidate.controllerEpoch)
        }
        if candidate.partitions.count != self.partitions.count {
            return .partitionCount(seen: self.partitions.count, candidate: candidate.partitions.count)
        }
        for (index, (seen, new)) in zip(self.partitions, candidate.partitions).enumerated() {
            if new.ownerEpoch < seen.ownerEpoch { return .ownerEpoch(partition: index, seen: seen.ownerEpoch, candidate: new.ownerEpoch) }
            if new.ownerEpoch == seen.ownerEpoch, let owner = new.owner, owner != seen.owner {
                return .grant(partition: index, ownerEpoch: new.ownerEpoch, seen: seen.owner, candidate: owner)
            }
        }
        return nil
    }
}
