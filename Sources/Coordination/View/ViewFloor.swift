/// The highest numbers of all views that this node has seen, including refused ones. A pure value.
///
/// If ZooKeeper has lost writes, nodes know numbers that ZooKeeper does not know. The next view gets numbers above all of these, so that every node accepts the
/// view, and no owner epoch has two owners.
struct ViewFloor: Sendable {
    struct Entry: Sendable {
        var ownerEpoch: Int64
        var owner: String?
        /// Two views gave this owner epoch to two owners.
        var isContested = false
    }

    private(set) var version: Int64 = 0
    private(set) var controllerEpoch: Int32 = 0
    /// The highest owner epoch of all partitions.
    private(set) var highestOwnerEpoch: Int64 = 0
    private var partitions: [Entry] = []
    private var last: ClusterView?

    mutating func see(_ view: ClusterView) {
        self.version = max(self.version, view.version)
        self.controllerEpoch = max(self.controllerEpoch, view.controllerEpoch)
        // Entries that are equal to those of the last view have been counted already.
        defer { if self.partitions.count == view.partitions.count { self.last = view } }
        guard self.partitions.count == view.partitions.count else {
            if self.partitions.isEmpty {
                self.partitions = view.partitions.map { Entry(ownerEpoch: $0.ownerEpoch, owner: $0.owner) }
                self.highestOwnerEpoch = view.partitions.map(\.ownerEpoch).max() ?? 0
            }
            return
        }
        for (index, entry) in view.partitions.enumerated() where self.last?.partitions[index] != entry {
            self.highestOwnerEpoch = max(self.highestOwnerEpoch, entry.ownerEpoch)
            let known = self.partitions[index]
            if entry.ownerEpoch > known.ownerEpoch {
                self.partitions[index] = Entry(ownerEpoch: entry.ownerEpoch, owner: entry.owner)
            } else if entry.ownerEpoch == known.ownerEpoch, let owner = entry.owner {
                if let other = known.owner, other != owner { self.partitions[index].isContested = true }
                self.partitions[index].owner = owner
            }
        }
    }

    /// The lowest owner epoch that the next view may have for this grant of the partition.
    func ownerEpoch(_ index: Int, _ entry: ClusterView.Partition) -> Int64 {
        guard self.partitions.indices.contains(index) else { return entry.ownerEpoch }
        let known = self.partitions[index]
        if entry.ownerEpoch > known.ownerEpoch { return entry.ownerEpoch }
        let isSame = entry.ownerEpoch == known.ownerEpoch && !known.isContested && (entry.owner == nil || known.owner == nil || entry.owner == known.owner)
        return isSame ? entry.ownerEpoch : known.ownerEpoch + 1
    }
}
