/// Every bound of a node, in one place. Names end in their unit; `docs/configuration.md` says what happens at each.
package struct Limits: Sendable, Equatable {
    // MARK: events and requests
    /// One payload. Over it: 413.
    package var eventBytesMax = 64 * 1024
    /// One request body on the API port (batches). Over it: 413.
    package var requestBytesMax = 1024 * 1024
    /// One request's header lines together. Over it: 431.
    package var headerBytesMax = 16 * 1024
    /// Channels of one subscriber or one publish. Over it: 400.
    package var channelsPerConnectionMax = 32
    /// Feeds of one loop: channels with subscribers, and those whose last one left a moment ago.
    package var subscribedChannelsMax = 200_000
    /// Answers outstanding on one API connection; beyond it the connection is not read.
    package var pipelinedRequestsMax = 256

    // MARK: connections
    /// Subscriber connections. Over it: 503 with `Retry-After`. 0 means as many as the descriptor limit allows.
    package var connectionsMax = 0
    /// API connections. Over it: 503 with `Retry-After`.
    package var apiConnectionsMax = 1000
    /// From accept to a complete request. Over it: 408 and the connection closes.
    package var handshakeSecondsMax = 10
    /// A keep-alive connection without a request.
    package var idleSecondsMax = 75
    /// Between two heartbeats; also how long a long-poll waits.
    package var heartbeatSeconds = 25
    /// Written bytes that a subscriber's socket has not taken for this long: it is closed.
    package var stalledSecondsMax = 60
    /// Bytes waiting in this process for one subscriber's socket. Beyond it the subscriber lags.
    package var subscriberBufferedBytesMax = 64 * 1024
    /// One message from a WebSocket client. Over it: close 1009.
    package var clientMessageBytesMax = 4 * 1024

    // MARK: history
    /// Events a channel keeps.
    package var historyEventsMax = 1000
    /// Age of events a channel keeps; also the dedup window of message ids.
    package var historySecondsMax = 300
    /// Payload bytes of all channels' history together. Beyond it the oldest go first.
    package var historyBytesMax = 1024 * 1024 * 1024
    /// Channels whose head is remembered. Over it idle ones are forgotten; when none is idle, publishing to a new one is 429.
    package var channelsMax = 1_000_000
    /// How long the head of an idle channel is remembered.
    package var headSecondsMax = 86_400
    /// Message ids remembered over all channels; beyond it the oldest go first.
    package var messageIDsMax = 1_000_000

    // MARK: queues inside the node
    /// Publishes that wait for the log. Over it: 503 with `Retry-After`.
    package var parkedPublishesMax = 65_536
    /// Bytes of publishes that wait for the log. Over it: 503 with `Retry-After`.
    package var parkedBytesMax = 64 * 1024 * 1024
    /// Events of one commit. A larger batch goes in several.
    package var commitEventsMax = 1024
    /// Memory in which one loop keeps encoded events of one channel for subscribers that lag a little.
    package var feedBytesMax = 512 * 1024
    /// Memory in which one loop keeps encoded events of all channels together.
    package var feedBytesTotalMax = 64 * 1024 * 1024
    /// How long one loop keeps encoded events, and a channel without subscribers.
    package var feedSecondsMax = 10
    /// Events read from the log at once for subscribers that catch up.
    package var replayEventsMax = 500
    /// Bytes read from the log at once for subscribers that catch up.
    package var replayBytesMax = 512 * 1024
    /// Subscribers served before a loop looks at its sockets again.
    package var passSubscribersMax = 512

    /// Least time between the beginnings of two commits, when the last one held several events. Fewer, larger commits cost a busy node less.
    package var commitIntervalMicroseconds = 1000

    // MARK: links between nodes
    /// One message between two nodes. Over it: it is not sent, and who sends one is disconnected.
    package var linkFrameBytesMax = 16 * 1024 * 1024
    /// Bytes that wait for one other node's socket. Over it messages to it are dropped.
    package var linkBufferedBytesMax = 32 * 1024 * 1024
    /// Between two signs of life on a link.
    package var linkHeartbeatSeconds = 1
    /// Without a byte for so long a link is down.
    package var linkSilenceSecondsMax = 4

    // MARK: draining and stopping
    /// Within which a drained node sends each of its subscribers away. 0 keeps them until it stops.
    package var drainSeconds = 15
    /// From SIGTERM to exit.
    package var shutdownSecondsMax = 10
    /// Connections closed at once while stopping.
    package var shutdownSliceConnections = 500

    package init() {}
}
