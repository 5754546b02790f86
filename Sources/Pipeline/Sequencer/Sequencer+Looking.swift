extension Sequencer {
    package func head(of channel: ChannelName) -> Position { self.machine.channels.head(of: channel) }

    package func subscribers(of channel: ChannelName) -> Int { self.machine.channels.subscribers(of: channel) }

    /// Channels with events. Those that somebody merely names are the fanouts' feeds.
    package var channelCount: Int { self.machine.channels.rememberedCount }

    package var parkedEvents: Int { self.machine.parkedEvents }

    /// A page of channels in name order.
    ///
    /// All of them are looked at, but not on the loop: it gives them away a slice in a turn, and they are compared and sorted elsewhere.
    @concurrent
    package nonisolated func channels(
        prefix: String, after: String?, limit: Int
    ) async -> [(channel: ChannelName, head: Position, subscribers: Int)] {
        var page: [(channel: ChannelName, head: Position, subscribers: Int)] = []
        var next: Int? = 0
        while let start = next {
            let slice = await self.slice(from: start)
            next = slice.next
            for (channel, state) in slice.channels where channel.string.hasPrefix(prefix) && after.map({ channel.string > $0 }) ?? true {
                page.append((channel, state.head, state.subscribers))
            }
            // Never much more than the page, and not sorted for each channel that comes.
            if page.count >= 2 * limit + Self.slicePlaces || next == nil {
                page.sort { $0.channel.string < $1.channel.string }
                page.removeLast(max(0, page.count - limit))
            }
        }
        return page
    }

    private func slice(from start: Int) -> (channels: [(channel: ChannelName, state: ChannelTable.ChannelState)], next: Int?) {
        self.machine.channels.slice(from: start, count: Self.slicePlaces)
    }

    private static let slicePlaces = 1024
}
