import Partitioning

/// Channels, as the API shows them. The log has their heads; the sequencers have their numbers of subscribers.
extension Sequencers: ChannelDirectory {
    package nonisolated func history(of channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice {
        try await self.log.read(channel, after: position, limit: limit, bytesMax: bytesMax)
    }

    /// The position of a channel's last event. The offset is 0 if the channel has no event.
    package nonisolated func head(of channel: ChannelName) async throws(LogError) -> Position { try await self.sequencer(of: channel).head(of: channel) }

    package nonisolated func subscribers(of channel: ChannelName) async -> Int { await self.sequencer(of: channel).subscribers(of: channel) }

    private nonisolated func sequencer(of channel: ChannelName) -> Sequencer { self.all[self.router.index(of: channel)] }

    /// A page of channels in name order: channels with events, and channels that have only subscribers.
    ///
    /// Visits all channels. Sequencers and the log return them in slices. The slices are compared and sorted on the cooperative pool, not on a loop.
    @concurrent
    package nonisolated func channels(
        prefix: String, after: String?, limit: Int
    ) async throws(LogError) -> [ListedChannel] {
        var page = ChannelPage(prefix: prefix, after: after, limit: limit)
        for sequencer in self.all {
            var next: Int? = 0
            while let start = next {
                let slice = await sequencer.subscribedOnly(from: start, count: Slices.channelsMax)
                next = slice.next
                page.add(slice.channels)
            }
        }
        var place: RememberedPlace? = .start
        while let start = place {
            let slice = try await self.log.remembered(from: start, count: Slices.channelsMax)
            place = slice.next
            page.add(slice.channels.map { ($0.channel, $0.head) })
        }
        let found = page.sorted
        var subscribers = Array(repeating: 0, count: found.count)
        let indices = found.map { self.router.index(of: $0.channel) }
        for (index, sequencer) in self.all.enumerated() {
            let own = indices.indices.filter { indices[$0] == index }
            for (place, count) in zip(own, await sequencer.subscribers(of: own.map { found[$0].channel })) { subscribers[place] = count }
        }
        return zip(found, subscribers).map { ListedChannel(channel: $0.channel, head: $0.head, subscribers: $1) }
    }

}

extension Sequencer {
    /// Throws ``LogError/Code/fenced`` if this sequencer does not serve the channel's partition.
    package func head(of channel: ChannelName) async throws(LogError) -> Position {
        if let state = self.machine.channels[channel], state.reading == .done { return state.head }
        if let grant = self.machine.grant(of: channel), let found = try await self.log.heads(of: [ChannelOfPartition(channel, grant)]).heads[0] {
            return found.head
        }
        throw LogError(.fenced, "this node does not own the partition of \(channel)")
    }

    package func subscribers(of channel: ChannelName) -> Int { self.machine.channels[channel]?.subscribers ?? 0 }

    fileprivate func subscribers(of channels: [ChannelName]) -> [Int] { channels.map { self.subscribers(of: $0) } }

    fileprivate func subscribedOnly(from start: Int, count: Int) -> (channels: [(channel: ChannelName, head: Position)], next: Int?) {
        self.machine.channels.subscribedOnly(from: start, count: count) { self.machine.partitions[$0]?.isServing ?? false }
    }
}

/// Keeps the first channels in name order, of all channels that are added. A pure value.
private struct ChannelPage {
    let prefix: String
    let after: String?
    let limit: Int
    private var channels: [(channel: ChannelName, head: Position)] = []

    init(prefix: String, after: String?, limit: Int) {
        self.prefix = prefix
        self.after = after
        self.limit = limit
    }

    mutating func add(_ channels: [(channel: ChannelName, head: Position)]) {
        for (channel, head) in channels where channel.string.hasPrefix(self.prefix) && self.after.map({ channel.string > $0 }) ?? true {
            self.channels.append((channel, head))
        }
        // Keeps memory near the size of the page, without sorting after each slice.
        if self.channels.count >= 4 * self.limit + 4096 { self.channels = self.sorted }
    }

    /// A channel that got its first event meanwhile may have been added twice: the entry with the newer head stays.
    var sorted: [(channel: ChannelName, head: Position)] {
        let sorted = self.channels.sorted { ($0.channel.string, $1.head) < ($1.channel.string, $0.head) }
        var page: [(channel: ChannelName, head: Position)] = []
        for entry in sorted where page.last?.channel != entry.channel {
            if page.count == self.limit { break }
            page.append(entry)
        }
        return page
    }
}
