import DequeModule
import Partitioning
import Pipeline

/// The channels that have subscribers on this node's loops, whichever node owns the channels. A pure value.
///
/// The owner knows only one number of subscribers of this node for each channel. When the partition gets another owner, its channels are opened there; the loops
/// notice nothing but the heads that the new owner reports.
struct InterestTable {
    struct Entry {
        /// The loops that have opened the channel, by their numbers.
        var loops = EdgeList()
        /// The subscribers on all loops.
        var subscribers = 0

        var isUnused: Bool { self.loops.isEmpty && self.subscribers == 0 }
    }

    /// By partition.
    private var channels: [[ChannelName: Entry]]
    /// Where the channels of each partition are open. Nil before the partition has its first route.
    private(set) var openedAt: [RelayTarget?]

    init(partitions: Int) {
        self.channels = Array(repeating: [:], count: partitions)
        self.openedAt = Array(repeating: nil, count: partitions)
    }

    func entry(_ channel: ChannelName, in partition: PartitionID) -> Entry? { self.channels[partition][channel] }

    func entries(of partition: PartitionID) -> [ChannelName: Entry] { self.channels[partition] }

    /// What a node must know of a channel now: nothing is open at a node that the partition is not opened at.
    func interest(in channel: ChannelName, of partition: PartitionID, at target: RelayTarget) -> RelayFrame.ChannelInterest {
        guard self.openedAt[partition] == target, let entry = self.channels[partition][channel] else {
            return RelayFrame.ChannelInterest(channel: channel, subscribers: 0, wanted: .close)
        }
        return RelayFrame.ChannelInterest(channel: channel, subscribers: entry.subscribers, wanted: entry.loops.isEmpty ? .close : .open)
    }

    /// Takes a loop's report. Returns what another node must know of it; nil if it need not know anything.
    mutating func change(_ change: InterestChange, loop: Int, in partition: PartitionID) -> RelayFrame.ChannelInterest? {
        var entry = self.channels[partition][change.channel] ?? Entry()
        let wasOpen = !entry.loops.isEmpty
        entry.subscribers = max(0, entry.subscribers + change.subscribers)
        switch change.wanted {
        case .open: entry.loops.insert(loop)
        case .close: entry.loops.remove(loop)
        case .unchanged: break
        }
        self.channels[partition][change.channel] = entry.isUnused ? nil : entry
        let interest = RelayFrame.ChannelInterest(channel: change.channel, subscribers: entry.subscribers, wanted: change.wanted)
        switch change.wanted {
        // A loop that opens a channel needs the head, also if another loop has opened the channel before.
        case .open: return interest
        case .close: return wasOpen && entry.loops.isEmpty ? interest : nil
        case .unchanged: return change.subscribers == 0 ? nil : interest
        }
    }

    /// The partition's channels are open at this target from now on.
    mutating func open(_ partition: PartitionID, at target: RelayTarget?) { self.openedAt[partition] = target }

    /// A session has closed. The other node drops the interest by itself.
    mutating func closed(_ target: RelayTarget) {
        for partition in self.openedAt.indices where self.openedAt[partition] == target { self.openedAt[partition] = nil }
    }
}

/// Channels of which another node must be told the present interest, oldest first. Each channel is listed once, so the queue is never longer than the list of
/// channels, however slow the link is. A pure value.
struct InterestQueue {
    private var channels: Deque<ChannelName> = []
    private var listed: Set<ChannelName> = []

    var isEmpty: Bool { self.channels.isEmpty }

    mutating func append(_ channel: ChannelName) {
        if self.listed.insert(channel).inserted { self.channels.append(channel) }
    }

    mutating func take(_ limit: Int) -> [ChannelName] {
        let taken = Array(self.channels.prefix(limit))
        self.channels.removeFirst(taken.count)
        for channel in taken { self.listed.remove(channel) }
        return taken
    }
}
