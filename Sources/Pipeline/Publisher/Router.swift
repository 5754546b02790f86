package import Partitioning

/// Finds the owner of a channel, by its partition.
///
/// Partition p belongs to the owner at index p modulo the number of owners. This never changes, because the owners are on this node: its sequencers, or the
/// relays in front of them.
package struct Router: Sendable {
    package let owners: [any ChannelOwner]
    private let partitions: Partitions

    package init(_ owners: [any ChannelOwner], partitions: Partitions = Partitions()) {
        precondition(!owners.isEmpty, "A router needs at least one owner")
        self.owners = owners
        self.partitions = partitions
    }

    /// The index in ``owners`` of a channel's owner. Does not hash the name when there is one owner.
    package func index(of channel: ChannelName) -> Int {
        self.owners.count == 1 ? 0 : self.index(of: self.partitions.partition(ofHash: channel.hash64))
    }

    package func index(of partition: PartitionID) -> Int { partition % self.owners.count }

    package func partition(of channel: ChannelName) -> PartitionID { self.partitions.partition(ofHash: channel.hash64) }

    package func owner(of channel: ChannelName) -> any ChannelOwner { self.owners[self.index(of: channel)] }

    /// Passes each change to the channel's owner, in one call for each owner.
    package func interest(_ changes: [InterestChange], edge: EdgeID) {
        if self.owners.count == 1 { return self.owners[0].interest(changes, edge: edge) }
        var sorted: [[InterestChange]] = Array(repeating: [], count: self.owners.count)
        for change in changes { sorted[self.index(of: change.channel)].append(change) }
        for (owner, changes) in zip(self.owners, sorted) where !changes.isEmpty { owner.interest(changes, edge: edge) }
    }
}
