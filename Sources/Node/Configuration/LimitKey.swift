import Pipeline

/// One limit: the single place that says its name, its range and what happens at it.
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
        LimitKey("event-bytes-max", \.eventBytesMax, 1...16 * mib, "bytes", "One payload. Over it: 413."),
        LimitKey("request-bytes-max", \.requestBytesMax, kib...256 * mib, "bytes", "One request's body on the API port (batches). Over it: 413."),
        LimitKey("header-bytes-max", \.headerBytesMax, kib...256 * kib, "bytes", "One request's header lines together. Over it: 431."),
        LimitKey(
            "channels-per-connection-max", \.channelsPerConnectionMax, 1...250, "channels",
            "Channels of one subscriber or one publish. Over it: 400."),
        LimitKey(
            "subscribed-channels-max", \.subscribedChannelsMax, 1000...100_000_000, "channels",
            "Channels that one loop knows because somebody subscribes, or did a moment ago. Over it new subscribers of other channels get 503 "
                + "(an EventSource gets 200 with retry:)."),
        LimitKey(
            "pipelined-requests-max", \.pipelinedRequestsMax, 1...65_536, "requests",
            "Answers outstanding on one API connection. At it the connection is not read until one is answered."),
    ]

    private static let connections = [
        LimitKey(
            "connections-max", \.connectionsMax, 0...10_000_000, "connections",
            "Subscriber connections. Over it: 503 with Retry-After (an EventSource gets 200 with retry:). 0 is as many as the descriptor limit allows."),
        LimitKey(
            "api-connections-max", \.apiConnectionsMax, 1...1_000_000, "connections", "API connections. Over it: 503 with Retry-After."),
        LimitKey(
            "handshake-seconds-max", \.handshakeSecondsMax, 1...300, "seconds",
            "From accept to a complete request. Over it: 408, and the connection closes."),
        LimitKey(
            "idle-seconds-max", \.idleSecondsMax, 1...86_400, "seconds", "A keep-alive connection without a request. Over it: it closes."),
        LimitKey(
            "heartbeat-seconds", \.heartbeatSeconds, 1...25, "seconds",
            "At most so long between two heartbeats, and for a long-poll to wait. A WebSocket that answers none in two of them is closed with 1001."),
        LimitKey(
            "stalled-seconds-max", \.stalledSecondsMax, 1...86_400, "seconds",
            "How long a subscriber's socket may take none of the bytes written to it. Over it: it closes, and may resume."),
        LimitKey(
            "subscriber-buffered-bytes-max", \.subscriberBufferedBytesMax, kib...64 * mib, "bytes",
            "Bytes that wait in this process for one subscriber's socket. At it the subscriber lags, and catches up from history."),
        LimitKey(
            "client-message-bytes-max", \.clientMessageBytesMax, 125...16 * mib, "bytes", "One message from a WebSocket client. Over it: close 1009."),
    ]

    private static let history = [
        LimitKey(
            "history-events-max", \.historyEventsMax, 1...1_000_000, "events",
            "Events a channel keeps. Over it the oldest go; who resumes from before them gets a gap, expired."),
        LimitKey(
            "history-seconds-max", \.historySecondsMax, 1...31_536_000, "seconds",
            "Age of the events a channel keeps, and how long a message id is remembered. Over it they go."),
        LimitKey(
            "history-bytes-max", \.historyBytesMax, mib...1024 * gib, "bytes",
            "Payload bytes of all channels' history together. Over it the oldest go first."),
        LimitKey(
            "channels-max", \.channelsMax, 1...100_000_000, "channels",
            "Channels whose head is remembered. Over it idle ones are forgotten; when none is idle, publishing to a new one is 429."),
        LimitKey(
            "head-seconds-max", \.headSecondsMax, 1...31_536_000, "seconds",
            "How long the head of an idle channel is remembered. After it, its next event has a new epoch."),
        LimitKey(
            "message-ids-max", \.messageIDsMax, 0...100_000_000, "ids",
            "Message ids remembered over all channels. Over it the oldest go first, and no longer refuse a duplicate."),
    ]

    private static let queues = [
        LimitKey(
            "parked-publishes-max", \.parkedPublishesMax, 1...10_000_000, "publishes",
            "Publishes that wait for the log. Over it: 503 with Retry-After."),
        LimitKey(
            "parked-bytes-max", \.parkedBytesMax, kib...64 * gib, "bytes",
            "Bytes of publishes that wait for the log. Over it: 503 with Retry-After."),
        LimitKey(
            "commit-events-max", \.commitEventsMax, 1...65_536, "events",
            "Events of one commit. Over it they go into the next, those of one request too."),
        LimitKey(
            "feed-bytes-max", \.feedBytesMax, kib...64 * mib, "bytes",
            "Memory in which one loop keeps encoded events of one channel. Who lags beyond it catches up from history."),
        LimitKey(
            "feed-bytes-total-max", \.feedBytesTotalMax, kib...64 * gib, "bytes",
            "Memory in which one loop keeps encoded events of all channels. Over it the oldest go first."),
        LimitKey(
            "feed-seconds-max", \.feedSecondsMax, 1...3600, "seconds",
            "How long one loop keeps encoded events, and a channel that has some without subscribers."),
        LimitKey(
            "replay-events-max", \.replayEventsMax, 1...65_536, "events",
            "Events read from the log at once for subscribers that catch up. Over it they are read in turns."),
        LimitKey(
            "replay-bytes-max", \.replayBytesMax, kib...64 * mib, "bytes",
            "Bytes read from the log at once for subscribers that catch up. Over it they are read in turns."),
        LimitKey(
            "pass-subscribers-max", \.passSubscribersMax, 1...1_000_000, "subscribers",
            "Subscribers served before a loop looks at its sockets again. Over it the pass goes on after that."),
        LimitKey(
            "commit-interval-microseconds", \.commitIntervalMicroseconds, 0...1_000_000, "microseconds",
            "Least time between two commits to the disk while publishers come in crowds. One that publishes alone never waits for it. 0 commits at once."),
    ]

    private static let links = [
        LimitKey(
            "link-frame-bytes-max", \.linkFrameBytesMax, mib...256 * mib, "bytes",
            "One message between two nodes. Over it: it is not sent, and a node that sends one is disconnected."),
        LimitKey(
            "link-buffered-bytes-max", \.linkBufferedBytesMax, mib...gib, "bytes",
            "Bytes that wait for one other node's socket. Over it messages to that node are dropped, and asked for again."),
        LimitKey("link-heartbeat-seconds", \.linkHeartbeatSeconds, 1...60, "seconds", "Between two signs of life on a link, in both directions."),
        LimitKey(
            "link-silence-seconds-max", \.linkSilenceSecondsMax, 2...300, "seconds",
            "How long a link may be silent. Over it the link is down, and the node is dialled again."),
    ]

    private static let stopping = [
        LimitKey(
            "drain-seconds", \.drainSeconds, 0...3600, "seconds",
            "Within it a drained node tells each of its subscribers to connect again, evenly spread. 0: they stay until it stops."),
        LimitKey("shutdown-seconds-max", \.shutdownSecondsMax, 1...3600, "seconds", "From SIGTERM to exit. Over it what is still open is cut off."),
        LimitKey(
            "shutdown-slice-connections", \.shutdownSliceConnections, 1...1_000_000, "connections",
            "Connections closed at once while stopping. The others follow in slices, so that not all come back together."),
    ]
}
