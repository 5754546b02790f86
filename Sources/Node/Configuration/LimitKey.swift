import Pipeline

/// The key of one limit: its name, its range, and what happens at the limit. `Limits` defines the default.
struct LimitKey: Sendable {
    var name: String
    var path: any WritableKeyPath<Limits, Int> & Sendable
    var range: ClosedRange<Int>
    var unit: String
    var help: String

    init(_ name: String, _ path: any WritableKeyPath<Limits, Int> & Sendable, _ range: ClosedRange<Int>, _ unit: String, _ help: String) {
        self.name = name
        self.path = path
        self.range = range
        self.unit = unit
        self.help = help
    }
}

extension ConfigurationKey {
    static let limits = LimitKey.all.map { limit in
        ConfigurationKey(
            name: limit.name, kind: .integer(limit.range, unit: limit.unit), help: limit.help,
            text: { String($0.limits[keyPath: limit.path]) })
    }
}

extension LimitKey {
    private static let kib = 1024
    private static let mib = 1024 * 1024
    private static let gib = 1024 * 1024 * 1024

    static let all = requests + connections + history + queues + links + stopping

    private static let requests = [
        LimitKey("event-bytes-max", \.eventBytesMax, 1...16 * mib, "bytes", "The size of one payload. Above the limit: status 413."),
        LimitKey(
            "request-bytes-max", \.requestBytesMax, kib...256 * mib, "bytes",
            "The size of one request body on the API port. A body may contain several events. Above the limit: status 413."),
        LimitKey(
            "header-bytes-max", \.headerBytesMax, kib...256 * kib, "bytes", "The size of all header lines of one request together. Above the limit: status 431."
        ),
        LimitKey(
            "channels-per-connection-max", \.channelsPerConnectionMax, 1...250, "channels",
            "The number of channels of one subscriber or one publish. Above the limit: status 400."),
        LimitKey(
            "subscribed-channels-max", \.subscribedChannelsMax, 1000...100_000_000, "channels",
            "The number of channels with a current or recent subscriber, for each loop. "
                + "Above the limit: new subscribers of other channels get 503 (an EventSource gets 200 with retry:)."),
        LimitKey(
            "pipelined-requests-max", \.pipelinedRequestsMax, 1...65_536, "requests",
            "The number of requests on one API connection that wait for a response. "
                + "At the limit the node stops reading the connection until it has sent a response."),
    ]

    private static let connections = [
        LimitKey(
            "connections-max", \.connectionsMax, 0...10_000_000, "connections",
            "The number of subscriber connections. Above the limit: status 503 with Retry-After (an EventSource gets 200 with retry:). "
                + "0: the number that the descriptor limit allows."),
        LimitKey(
            "api-connections-max", \.apiConnectionsMax, 1...1_000_000, "connections",
            "The number of API connections. Above the limit: status 503 with Retry-After."),
        LimitKey(
            "handshake-seconds-max", \.handshakeSecondsMax, 1...300, "seconds",
            "The time from accepting a connection to a complete request. Above the limit: status 408, and the connection closes."),
        LimitKey(
            "idle-seconds-max", \.idleSecondsMax, 1...86_400, "seconds",
            "How long a keep-alive connection may be without a request. Above the limit: the connection closes."),
        LimitKey(
            "heartbeat-seconds", \.heartbeatSeconds, 1...25, "seconds",
            "The longest time between two heartbeats, and the longest wait of a long-poll. A WebSocket without a pong for two intervals is closed with 1001."),
        LimitKey(
            "stalled-seconds-max", \.stalledSecondsMax, 1...86_400, "seconds",
            "How long a subscriber's socket may accept no bytes. Above the limit: the connection is closed, and the subscriber can reconnect and resume."),
        LimitKey(
            "subscriber-buffered-bytes-max", \.subscriberBufferedBytesMax, kib...64 * mib, "bytes",
            "The bytes that wait in this process for one subscriber's socket. Above the limit: the subscriber lags and catches up from history."),
        LimitKey(
            "client-message-bytes-max", \.clientMessageBytesMax, 125...16 * mib, "bytes",
            "The size of one message from a WebSocket client. Above the limit: the connection is closed with 1009."),
    ]

    private static let history = [
        LimitKey(
            "history-events-max", \.historyEventsMax, 1...1_000_000, "events",
            "The number of events that a channel keeps. Above the limit: the oldest are deleted. "
                + "A subscriber that resumes at a deleted event gets a gap with the reason 'expired'."),
        LimitKey(
            "history-seconds-max", \.historySecondsMax, 1...31_536_000, "seconds",
            "How long a channel keeps events and message ids. Older events and ids are deleted."),
        LimitKey(
            "history-bytes-max", \.historyBytesMax, mib...1024 * gib, "bytes",
            "The payload bytes of all channels' history together. Above the limit: the oldest events are deleted."),
        LimitKey(
            "channels-max", \.channelsMax, 1...100_000_000, "channels",
            "The number of channels whose last position (head) the log keeps. Above the limit: heads of idle channels are deleted. "
                + "If no channel is idle, a publish to a new channel gets 429."),
        LimitKey(
            "head-seconds-max", \.headSecondsMax, 1...31_536_000, "seconds",
            "How long the log keeps the last position (head) of an idle channel. After that, the channel's next event has a new epoch."),
        LimitKey(
            "message-ids-max", \.messageIDsMax, 0...100_000_000, "ids",
            "The number of message ids that each loop keeps for its channels. Above the limit: the oldest ids are deleted, "
                + "and publishing with a deleted id stores the event again."
        ),
    ]

    private static let queues = [
        LimitKey(
            "parked-publishes-max", \.parkedPublishesMax, 1...10_000_000, "publishes",
            "The number of publishes of one loop that wait for the log. Above the limit: status 503 with Retry-After."),
        LimitKey(
            "parked-bytes-max", \.parkedBytesMax, kib...64 * gib, "bytes",
            "The total size of the publishes of one loop that wait for the log. Above the limit: status 503 with Retry-After."),
        LimitKey(
            "commit-events-max", \.commitEventsMax, 1...65_536, "events",
            "The number of events in one commit. Above the limit: further events wait for the next commit, even events of the same request."),
        LimitKey(
            "feed-bytes-max", \.feedBytesMax, kib...64 * mib, "bytes",
            "The memory that one loop uses for the encoded events of one channel. A subscriber that lags by more than this reads from history."),
        LimitKey(
            "feed-bytes-total-max", \.feedBytesTotalMax, kib...64 * gib, "bytes",
            "The memory that one loop uses for the encoded events of all channels together. Above the limit: "
                + "the oldest events leave this memory; subscribers that need them read them from history."),
        LimitKey(
            "feed-seconds-max", \.feedSecondsMax, 1...3600, "seconds",
            "How long one loop keeps encoded events. Subscribers that lag by more than this time, or reconnect later, read from history."),
        LimitKey(
            "replay-events-max", \.replayEventsMax, 1...65_536, "events",
            "The number of events in one read of the log, for a subscriber that catches up. Above the limit: several reads."),
        LimitKey(
            "replay-bytes-max", \.replayBytesMax, kib...64 * mib, "bytes",
            "The size of one read of the log, for a subscriber that catches up. Above the limit: several reads."),
        LimitKey(
            "pass-subscribers-max", \.passSubscribersMax, 1...1_000_000, "subscribers",
            "The number of subscribers that a loop sends events to before it polls its sockets again. The other subscribers follow after the poll."),
        LimitKey(
            "commit-interval-microseconds", \.commitIntervalMicroseconds, 0...1_000_000, "microseconds",
            "The minimum time between two disk commits of one loop while many publishes arrive. A single publish never waits for this time. "
                + "0 commits immediately."),
    ]

    private static let links = [
        LimitKey(
            "link-frame-bytes-max", \.linkFrameBytesMax, mib...256 * mib, "bytes",
            "The largest message between two nodes. A node does not send a larger message, and disconnects a peer that sends one."),
        LimitKey(
            "link-buffered-bytes-max", \.linkBufferedBytesMax, mib...gib, "bytes",
            "The bytes that wait for the socket of one other node. Above the limit: messages to that node are dropped. The nodes request them again later."),
        LimitKey("link-heartbeat-seconds", \.linkHeartbeatSeconds, 1...60, "seconds", "The time between two heartbeats on a link, in both directions."),
        LimitKey(
            "link-silence-seconds-max", \.linkSilenceSecondsMax, 2...300, "seconds",
            "How long a link may receive nothing. Above the limit: the link is down, and this node connects to the peer again."),
    ]

    private static let stopping = [
        LimitKey(
            "drain-seconds", \.drainSeconds, 0...3600, "seconds",
            "A drained node asks all its subscribers to reconnect, evenly spread over this time. 0: subscribers stay until the node stops."),
        LimitKey(
            "shutdown-seconds-max", \.shutdownSecondsMax, 1...3600, "seconds",
            "The time from SIGTERM to exit. Above the limit: open connections are closed without a last message."),
        LimitKey(
            "shutdown-slice-connections", \.shutdownSliceConnections, 1...1_000_000, "connections",
            "The number of connections that a stopping node closes together. The others follow in further slices, "
                + "so that not all clients reconnect together."),
    ]
}
