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
        LimitKey("event-bytes-max", \.eventBytesMax, 1...16 * mib, "bytes", "One payload. Above it: 413."),
        LimitKey(
            "request-bytes-max", \.requestBytesMax, kib...256 * mib, "bytes",
            "One request body on the API port, which may contain several events. Above it: 413."),
        LimitKey("header-bytes-max", \.headerBytesMax, kib...256 * kib, "bytes", "The header lines of one request together. Above it: 431."),
        LimitKey(
            "channels-per-connection-max", \.channelsPerConnectionMax, 1...250, "channels",
            "Channels of one subscriber or one publish. Above it: 400."),
        LimitKey(
            "subscribed-channels-max", \.subscribedChannelsMax, 1000...100_000_000, "channels",
            "Channels with a current or recent subscriber, for each loop. Above it: new subscribers of other channels get 503 "
                + "(an EventSource gets 200 with retry:)."),
        LimitKey(
            "pipelined-requests-max", \.pipelinedRequestsMax, 1...65_536, "requests",
            "Requests on one API connection without a response. At the limit the connection is not read until a response has been sent."),
    ]

    private static let connections = [
        LimitKey(
            "connections-max", \.connectionsMax, 0...10_000_000, "connections",
            "Subscriber connections. Above it: 503 with Retry-After (an EventSource gets 200 with retry:). 0: the number that the descriptor limit allows."),
        LimitKey(
            "api-connections-max", \.apiConnectionsMax, 1...1_000_000, "connections", "API connections. Above it: 503 with Retry-After."),
        LimitKey(
            "handshake-seconds-max", \.handshakeSecondsMax, 1...300, "seconds",
            "Time from accepting a connection to a complete request. Above it: 408, and the connection closes."),
        LimitKey(
            "idle-seconds-max", \.idleSecondsMax, 1...86_400, "seconds",
            "How long a keep-alive connection may be without a request. Above it: the connection closes."),
        LimitKey(
            "heartbeat-seconds", \.heartbeatSeconds, 1...25, "seconds",
            "The longest time between two heartbeats, and the longest wait of a long-poll. A WebSocket without a pong for two intervals is closed with 1001."),
        LimitKey(
            "stalled-seconds-max", \.stalledSecondsMax, 1...86_400, "seconds",
            "How long a subscriber's socket may accept none of the bytes written to it. Above it: the connection is closed; the subscriber may resume."),
        LimitKey(
            "subscriber-buffered-bytes-max", \.subscriberBufferedBytesMax, kib...64 * mib, "bytes",
            "Bytes that wait in this process for one subscriber's socket. Above it: the subscriber lags and catches up from history."),
        LimitKey(
            "client-message-bytes-max", \.clientMessageBytesMax, 125...16 * mib, "bytes", "One message from a WebSocket client. Above it: close 1009."),
    ]

    private static let history = [
        LimitKey(
            "history-events-max", \.historyEventsMax, 1...1_000_000, "events",
            "Events that a channel keeps. Above it: the oldest are deleted. A subscriber that resumes from before them gets a gap, expired."),
        LimitKey(
            "history-seconds-max", \.historySecondsMax, 1...31_536_000, "seconds",
            "How long a channel keeps events and message ids. Older ones are deleted."),
        LimitKey(
            "history-bytes-max", \.historyBytesMax, mib...1024 * gib, "bytes",
            "Payload bytes of all channels' history together. Above it: the oldest are deleted first."),
        LimitKey(
            "channels-max", \.channelsMax, 1...100_000_000, "channels",
            "Channels whose head the log keeps. Above it: heads of idle channels are deleted. If no channel is idle, publishing to a new channel is 429."),
        LimitKey(
            "head-seconds-max", \.headSecondsMax, 1...31_536_000, "seconds",
            "How long the log keeps the head of an idle channel. After that, its next event has a new epoch."),
        LimitKey(
            "message-ids-max", \.messageIDsMax, 0...100_000_000, "ids",
            "Message ids that each loop keeps for its channels. Above it: the oldest are deleted first, and publishing with a deleted id stores the event again."
        ),
    ]

    private static let queues = [
        LimitKey(
            "parked-publishes-max", \.parkedPublishesMax, 1...10_000_000, "publishes",
            "Publishes of one loop that wait for the log. Above it: 503 with Retry-After."),
        LimitKey(
            "parked-bytes-max", \.parkedBytesMax, kib...64 * gib, "bytes",
            "Bytes of one loop's publishes that wait for the log. Above it: 503 with Retry-After."),
        LimitKey(
            "commit-events-max", \.commitEventsMax, 1...65_536, "events",
            "Events of one commit. Above it: further events, also of the same request, wait for the next commit."),
        LimitKey(
            "feed-bytes-max", \.feedBytesMax, kib...64 * mib, "bytes",
            "Memory for one loop's encoded events of one channel. A subscriber that lags by more than this reads from history."),
        LimitKey(
            "feed-bytes-total-max", \.feedBytesTotalMax, kib...64 * gib, "bytes",
            "Memory for one loop's encoded events of all channels. Above it: the oldest are dropped first."),
        LimitKey(
            "feed-seconds-max", \.feedSecondsMax, 1...3600, "seconds",
            "How long one loop keeps encoded events. Subscribers that lag further, or come back later, read from history."),
        LimitKey(
            "replay-events-max", \.replayEventsMax, 1...65_536, "events",
            "Events in one read of the log for subscribers that catch up. Above it: several reads."),
        LimitKey(
            "replay-bytes-max", \.replayBytesMax, kib...64 * mib, "bytes",
            "Bytes in one read of the log for subscribers that catch up. Above it: several reads."),
        LimitKey(
            "pass-subscribers-max", \.passSubscribersMax, 1...1_000_000, "subscribers",
            "Subscribers that a loop sends events to before it polls its sockets again. The other subscribers follow after the poll."),
        LimitKey(
            "commit-interval-microseconds", \.commitIntervalMicroseconds, 0...1_000_000, "microseconds",
            "Minimum time between two disk commits of one loop while many publishes arrive. A single publish never waits for it. 0 commits immediately."),
    ]

    private static let links = [
        LimitKey(
            "link-frame-bytes-max", \.linkFrameBytesMax, mib...256 * mib, "bytes",
            "The largest message between two nodes. A node does not send a larger one, and disconnects a peer that does."),
        LimitKey(
            "link-buffered-bytes-max", \.linkBufferedBytesMax, mib...gib, "bytes",
            "Bytes that wait for one other node's socket. Above it: messages to that node are dropped and later requested again."),
        LimitKey("link-heartbeat-seconds", \.linkHeartbeatSeconds, 1...60, "seconds", "Time between two heartbeats on a link, in both directions."),
        LimitKey(
            "link-silence-seconds-max", \.linkSilenceSecondsMax, 2...300, "seconds",
            "How long a link may receive nothing. Above it: the link is down, and the node is dialled again."),
    ]

    private static let stopping = [
        LimitKey(
            "drain-seconds", \.drainSeconds, 0...3600, "seconds",
            "Time in which a drained node asks all of its subscribers to reconnect, evenly spread. 0: subscribers stay until the node stops."),
        LimitKey(
            "shutdown-seconds-max", \.shutdownSecondsMax, 1...3600, "seconds",
            "Time from SIGTERM to exit. Above it: open connections are closed without a last message."),
        LimitKey(
            "shutdown-slice-connections", \.shutdownSliceConnections, 1...1_000_000, "connections",
            "Connections that a stopping node closes together. Others follow in further slices, so that not all clients reconnect together."),
    ]
}
