/// Limits of a node that operators do not set. "Above it" says what happens above the limit; a number there is the HTTP status.
package enum FixedLimits {
    // MARK: HTTP
    /// One request line. Above it: 414.
    package static let requestLineBytesMax = 8 * 1024
    /// Header fields of one request. Above it: 431.
    package static let headerFieldsMax = 100
    /// The line before a chunk of a request body. Above it: 400.
    package static let chunkLineBytesMax = 256
    /// A request body on the subscriber port, where a body has no meaning. Above it: 413.
    package static let subscriberBodyBytesMax = 1024
    /// Connections that wait in the kernel until this process accepts them. The kernel also applies `net.core.somaxconn`.
    package static let acceptBacklog = 4096
    /// Refused origins that are logged. Above it: refused origins are only counted.
    package static let loggedOriginsMax = 100

    // MARK: API
    /// The type of an event. Above it: 400.
    package static let eventTypeBytesMax = 100
    /// The message id of a publish. Above it: 400.
    package static let messageIDBytesMax = 200
    /// Commands of one batch. Above it: 400.
    package static let batchCommandsMax = 10_000
    /// The largest `limit` of a history request.
    package static let historyRequestEventsMax = 1_000_000
    /// Payload bytes of one history response. Above it: the response is truncated, after at least one event.
    package static let historyResponseBytesMax = 4 * 1024 * 1024
    /// The largest `limit` of a request for the list of channels.
    package static let listedChannelsMax = 10_000
    /// Bytes of the events in one long-poll response. Above it: the response ends after the current event.
    package static let pollResponseBytesMax = 256 * 1024

    /// Time in which the heads of all channels of a subscriber normally become known, to a second. After it a stream begins without a cursor.
    package static let openingSecondsMax = 2

    // MARK: process
    /// The node's own log lines that wait for standard error. Above it: further lines are dropped and counted.
    package static let logBacklogBytesMax = 256 * 1024
    /// Log lines of the ZooKeeper client in ``zooKeeperLogWindow``. Above it: further lines are dropped and counted.
    package static let zooKeeperLogLinesMax = 5
    package static let zooKeeperLogWindow = Duration.seconds(10)
    /// The response of a ZooKeeper server to the command `conf`. Above it: the connection is closed.
    package static let zooKeeperResponseBytesMax = 16 * 1024
    /// Time for one ZooKeeper server to respond to the command `conf`.
    package static let zooKeeperResponseSecondsMax = 2
}
