/// What the API shows of channels. The sequencers of a lone node implement it, and in a cluster the relay, which asks the owners.
package protocol ChannelDirectory: Sendable {
    /// The position of a channel's last event. The offset is 0 if the channel has no event.
    func head(of channel: ChannelName) async throws(LogError) -> Position

    /// The number of subscribers of a channel, at all nodes.
    func subscribers(of channel: ChannelName) async throws(LogError) -> Int

    /// Events of a channel after a position: see ``Log/read(_:after:limit:bytesMax:)``.
    func history(of channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice

    /// A page of channels in name order, after the name `after`: channels with events, and channels that have only subscribers.
    func channels(prefix: String, after: String?, limit: Int) async throws(LogError) -> [ListedChannel]
}

/// A channel in a list of channels.
package struct ListedChannel: Sendable, Equatable {
    package var channel: ChannelName
    package var head: Position
    package var subscribers: Int

    package init(channel: ChannelName, head: Position, subscribers: Int) {
        self.channel = channel
        self.head = head
        self.subscribers = subscribers
    }
}
