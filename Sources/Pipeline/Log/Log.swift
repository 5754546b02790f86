package import Partitioning

/// The durable history of channels. Append is the commit: what `append` returned for is never lost, repeated or reordered.
///
/// One sequencer appends, one batch at a time; any number may read. Implementations choose their own threads.
package protocol Log: Sendable {
    /// Takes over the partitions under these owner epochs and answers what is stored for them.
    ///
    /// From its return on, an append under an older owner epoch of the same partition fails. Called before the first append and the first read.
    func seal(_ grants: [Grant]) async throws(LogError) -> LogContents

    /// Commits the batch, whole or not at all, in its order. Positions continue those already stored.
    ///
    /// Throws ``LogError/Code/unavailable`` when nothing of the batch is stored and ``LogError/Code/uncertain`` when that is not known:
    /// the caller then repeats the same batch, and events that are there already are skipped.
    func append(_ batch: [SequencedEvent]) async throws(LogError)

    /// Events of a channel after a position, oldest first, bounded by count and payload bytes (but at least one event, if there is one).
    func read(_ channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice

    /// Forgets the heads of idle channels. A channel that comes back begins a new epoch, at least `epochFloor`.
    func forget(_ channels: [ChannelName], epochFloor: UInt64) async throws(LogError)

    /// Drops what is older than history's bounds by the steady clock. Called about once a second; returns when done.
    func trim(now: Int64) async throws(LogError)

    /// Figures for `status` and `/metrics`.
    var statistics: LogStatistics { get async }

    /// Writes what is buffered and lets go of files and locks.
    func close() async
}

/// What a log held when it was sealed.
package struct LogContents: Sendable {
    /// The head of each remembered channel, and when it was written, by the steady clock of ``Clocks``.
    package var heads: [(channel: ChannelName, head: Position, timestamp: Int64)]
    /// Message ids inside the dedup window, oldest first, by the same clock.
    package var messageIDs: [(channel: ChannelName, messageID: String, position: Position, timestamp: Int64)]
    /// No channel that is not among `heads` may use an epoch below this.
    package var epochFloor: UInt64

    package init(
        heads: [(channel: ChannelName, head: Position, timestamp: Int64)] = [],
        messageIDs: [(channel: ChannelName, messageID: String, position: Position, timestamp: Int64)] = [],
        epochFloor: UInt64
    ) {
        self.heads = heads
        self.messageIDs = messageIDs
        self.epochFloor = epochFloor
    }
}

/// A stretch of one channel's history.
package struct LogSlice: Sendable {
    /// Contiguous, oldest first.
    package var events: [SequencedEvent]
    /// The oldest position that history still holds for the channel; nil when it holds none.
    package var oldest: Position?

    package init(events: [SequencedEvent], oldest: Position?) {
        self.events = events
        self.oldest = oldest
    }
}

package struct LogStatistics: Sendable {
    /// `sqlite` or `memory`.
    package var kind: String
    package var path: String?
    package var durability: String
    package var events: Int
    package var bytes: Int
    package var channels: Int
    package var commits: UInt64
    package var failures: UInt64
    /// The last failure's sentence, until an append succeeds again.
    package var error: String?
    /// What will become a failure if nobody looks after it.
    package var warning: String?

    package init(
        kind: String, path: String?, durability: String, events: Int, bytes: Int, channels: Int, commits: UInt64, failures: UInt64, error: String?,
        warning: String? = nil
    ) {
        self.kind = kind
        self.path = path
        self.durability = durability
        self.events = events
        self.bytes = bytes
        self.channels = channels
        self.commits = commits
        self.failures = failures
        self.error = error
        self.warning = warning
    }
}

package struct LogError: Error, CustomStringConvertible, Sendable {
    package struct Code: Hashable, Sendable {
        private enum Value: Hashable, Sendable { case unavailable, uncertain, fenced, unusable }
        private var value: Value
        /// Nothing of the batch was stored; the cause may go away (disk full, busy).
        package static let unavailable = Code(value: .unavailable)
        /// It is not known whether the batch was stored.
        package static let uncertain = Code(value: .uncertain)
        /// A newer owner has sealed the partition.
        package static let fenced = Code(value: .fenced)
        /// The log cannot be opened: a person must act (read-only folder, in use, corrupt file).
        package static let unusable = Code(value: .unusable)
    }

    package var code: Code
    /// A sentence that says what to change.
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }
}
