import Partitioning

/// What is shown of channels. The log knows where they stand; the sequencer, how many subscribers they have.
extension Sequencer {
    /// Where a channel stands: its place before the first event when it has none.
    package func head(of channel: ChannelName) async throws(LogError) -> Position {
        if let state = self.machine.channels[channel], state.reading == .done { return state.head }
        if let grant = self.machine.grant(of: channel), let found = try await self.log.heads(of: [ChannelOfPartition(channel, grant)]).heads[0] {
            return found.head
        }
        throw LogError(.fenced, "this node does not own the partition of \(channel)")
    }

    package func subscribers(of channel: ChannelName) -> Int { self.machine.channels[channel]?.subscribers ?? 0 }

    package var parkedEvents: Int { self.machine.parkedEvents }

    /// A page of channels in name order: those with events, and those with subscribers only.
    ///
    /// All of them are looked at, but not on the loop: it gives them away a slice at a time, and they are compared and sorted elsewhere.
    @concurrent
    package nonisolated func channels(
        prefix: String, after: String?, limit: Int
    ) async -> [(channel: ChannelName, head: Position, subscribers: Int)] {
        var page = ChannelPage(prefix: prefix, after: after, limit: limit)
        var next: Int? = 0
        while let start = next {
            let slice = await self.subscribedOnly(from: start)
            next = slice.next
            page.add(slice.channels)
        }
        next = 0
        while let start = next {
            let slice = await self.log.remembered(from: start, count: Self.slicePlaces)
            next = slice.next
            page.add(slice.channels.map { ($0.channel, $0.head) })
        }
        let found = page.sorted
        let subscribers = await self.subscribers(of: found.map(\.channel))
        return zip(found, subscribers).map { ($0.channel, $0.head, $1) }
    }

    private func subscribedOnly(from start: Int) -> (channels: [(channel: ChannelName, head: Position)], next: Int?) {
        self.machine.channels.subscribedOnly(from: start, count: Self.slicePlaces)
    }

    private func subscribers(of channels: [ChannelName]) -> [Int] { channels.map { self.subscribers(of: $0) } }

    private static let slicePlaces = 1024
}

/// The first channels of a page in name order, out of all that are added. A pure value.
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
        // Never much more than the page, and not sorted for each slice that comes.
        if self.channels.count >= 4 * self.limit + 4096 { self.channels = self.sorted }
    }

    /// A channel that got its first event meanwhile may have been added twice: its head counts.
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
