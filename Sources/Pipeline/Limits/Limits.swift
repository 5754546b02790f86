/// The limits of a node that operators set. Names contain their unit. `docs/configuration.md` says what happens at each limit.
///
/// "Above it" says what happens above the limit; a number there is the HTTP status.
///
/// This folder contains the bounds of a node: limits that operators do not set are in ``FixedLimits``, sizes of slices in ``Slices``. These bounds are
/// exceptions, next to the code that uses them:
/// - `LinkLimits` in `Link`. `Node` sets it from these limits.
/// - Bounds of znodes, the view and requests to the cluster in `Coordination` and `AdminAPI`.
/// - Sizes in a format: a channel name, a cursor, a WebSocket control frame, the nesting of JSON.
/// - Sizes of transactions, checkpoints and segments in `Storage`.
package struct Limits: Sendable, Equatable {
    // MARK: events and requests
    /// One payload. Above it: 413.
    package var eventBytesMax = 64 * 1024
    /// One request body on the API port (batches). Above it: 413.
    package var requestBytesMax = 1024 * 1024
    /// One request's header lines together. Above it: 431.
    package var headerBytesMax = 16 * 1024
    /// Channels of one subscriber or one publish. Above it: 400.
    package var channelsPerConnectionMax = 32
    /// Feeds of one loop. A feed belongs to a channel with a current or recent subscriber.
    package var subscribedChannelsMax = 200_000
    /// Responses outstanding on one API connection. At this limit the node does not read from the connection.
    package var pipelinedRequestsMax = 256

    // MARK: connections
    /// Subscriber connections. Above it: 503 with `Retry-After`. 0 means as many as the descriptor limit allows.
    package var connectionsMax = 0
    /// API connections. Above it: 503 with `Retry-After`.
    package var apiConnectionsMax = 1000
    /// Time from accepting a connection to a complete request. Above it: 408, and the connection closes.
    package var handshakeSecondsMax = 10
    /// How long a keep-alive connection may be without a request. Above it: the connection is closed.
    package var idleSecondsMax = 75
    /// Time between two heartbeats. Also the longest wait of a long-poll.
    package var heartbeatSeconds = 25
    /// How long a subscriber's socket may accept none of the bytes written to it. Above it: the connection is closed.
    package var stalledSecondsMax = 60
    /// Bytes that wait in this process for one subscriber's socket. At this limit the subscriber lags.
    package var subscriberBufferedBytesMax = 64 * 1024
    /// One message from a WebSocket client. Above it: close 1009.
    package var clientMessageBytesMax = 4 * 1024

    // MARK: history
    /// Events that a channel keeps.
    package var historyEventsMax = 1000
    /// How long a channel keeps events and message ids.
    package var historySecondsMax = 300
    /// Payload bytes of all channels' history together. Above it: the oldest are deleted first.
    package var historyBytesMax = 1024 * 1024 * 1024
    /// Channels whose head the log keeps. Above it: heads of idle channels are deleted. If no channel is idle, publishing to a new channel gets 429.
    package var channelsMax = 1_000_000
    /// How long the log keeps the head of an idle channel.
    package var headSecondsMax = 86_400
    /// Message ids that each sequencer keeps for its channels. Above it: the oldest are deleted first.
    package var messageIDsMax = 1_000_000

    // MARK: queues inside the node
    /// Publishes of one sequencer that wait for the log. Above it: 503 with `Retry-After`.
    package var parkedPublishesMax = 65_536
    /// Bytes of one sequencer's publishes that wait for the log. Above it: 503 with `Retry-After`.
    package var parkedBytesMax = 64 * 1024 * 1024
    /// Events of one commit. A larger batch is split into several commits.
    package var commitEventsMax = 1024
    /// Memory in which one loop keeps encoded events of one channel, for subscribers that lag a little.
    package var feedBytesMax = 512 * 1024
    /// Memory in which one loop keeps encoded events of all channels together.
    package var feedBytesTotalMax = 64 * 1024 * 1024
    /// How long one loop keeps encoded events, and how long it keeps the feed of a channel without subscribers.
    package var feedSecondsMax = 10
    /// Events in one read of the log for subscribers that catch up.
    package var replayEventsMax = 500
    /// Bytes in one read of the log for subscribers that catch up.
    package var replayBytesMax = 512 * 1024
    /// Subscribers served before a loop polls its sockets again.
    package var passSubscribersMax = 512

    /// Least time between the beginnings of two commits, if the first one held several events. Fewer, larger commits use less CPU.
    package var commitIntervalMicroseconds = 1000

    // MARK: links between nodes
    /// One message between two nodes. Above it: the message is not sent, and a node that sends such a message is disconnected.
    package var linkFrameBytesMax = 16 * 1024 * 1024
    /// Bytes that wait for one other node's socket. Above it: messages to that node are dropped.
    package var linkBufferedBytesMax = 32 * 1024 * 1024
    /// Time between two heartbeats on a link.
    package var linkHeartbeatSeconds = 1
    /// A link is down after this time without a byte.
    package var linkSilenceSecondsMax = 2

    // MARK: draining and stopping
    /// Time in which a drained node asks all of its subscribers to reconnect. 0: the node keeps its subscribers until it stops.
    package var drainSeconds = 15
    /// Time from SIGTERM to exit.
    package var shutdownSecondsMax = 10
    /// Connections closed together while stopping.
    package var shutdownSliceConnections = 500

    package init() {}
}
