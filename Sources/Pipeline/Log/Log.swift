package import Partitioning

/// The durable history of channels. Append is the commit: what `append` reported as committed is never lost, repeated or reordered.
///
/// Everything that changes it names the grant it is done under, and the log refuses an owner epoch that is older than the one it was sealed with (invariant I5).
/// Sequencers append, each one batch at a time; any number may read. Implementations choose their own threads.
package protocol Log: Sendable {
    /// Takes over these partitions, each for itself, and returns what is known of each, in their order.
    ///
    /// May be called again: for more partitions, for the same ones, and under newer owner epochs. From its return on, whatever is asked of the partition under
    /// an older owner epoch fails with ``LogError/Code/fenced``. Reads no channel, however many there are.
    func seal(_ grants: [Grant]) async -> [Result<SealedPartition, LogError>]

    /// The heads of these channels, in their order, with the message ids that a second try could repeat. Asked once for a channel, when it is first touched.
    ///
    /// Nil for a channel whose partition is fenced: it is not sealed under the grant, or not any more (invariant I3).
    func heads(of channels: [ChannelOfPartition]) async throws(LogError) -> LogHeads

    /// Commits each partition's part of the batch, whole or not at all, and returns what became of each, in the order of the batch's grants.
    ///
    /// ``LogError/Code/unavailable`` means that nothing of the part is stored, ``LogError/Code/uncertain`` that it is not known: the caller then repeats the
    /// same batch, and events that are there already are skipped. Positions continue those that are stored.
    func append(_ batch: LogBatch) async -> [Result<Void, LogError>]

    /// Events of a channel after a position, oldest first, bounded by count and payload bytes (but at least one event, if there is one).
    func read(_ channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice

    /// Remembered channels, a slice at a time, from a place on; the places that `next` names. A channel that stays meanwhile is met once in a walk from 0 on.
    func remembered(from place: Int, count: Int) async -> RememberedSlice

    /// Forgets the heads and the history of channels. A channel that comes back begins a new epoch, above all that it had. Partitions that are fenced stay as they are.
    func forget(_ channels: [Grant: [ChannelName]]) async throws(LogError)

    /// Drops what is older than history's bounds by the steady clock. Called about once a second; returns when done. A log that keeps all partitions in one
    /// order drops that of others too.
    func trim(_ grants: [Grant], now: Int64) async throws(LogError)

    /// Ends what was sealed under these grants, as far as nothing newer was. What is stored stays.
    func release(_ grants: [Grant]) async

    /// Numbers for `status` and `/metrics`.
    var metrics: LogMetrics { get async }

    /// Writes what is buffered and lets go of files and locks.
    func close() async
}

/// What is known of a partition when it is sealed.
package struct SealedPartition: Hashable, Sendable {
    /// No channel without a head uses an epoch below this; at least the owner epoch.
    package var epochFloor: UInt64
    /// The owner epoch it was sealed under before, if it ever was in this storage.
    package var previousOwnerEpoch: OwnerEpoch?
    /// Nothing can have been lost since then. Otherwise a channel without a head may have had events.
    package var keptEverything: Bool

    package init(epochFloor: UInt64, previousOwnerEpoch: OwnerEpoch?, keptEverything: Bool) {
        self.epochFloor = epochFloor
        self.previousOwnerEpoch = previousOwnerEpoch
        self.keptEverything = keptEverything
    }
}

/// A channel, and the grant under which its partition is owned.
package struct ChannelOfPartition: Sendable {
    package var channel: ChannelName
    package var grant: Grant

    package init(_ channel: ChannelName, _ grant: Grant) {
        self.channel = channel
        self.grant = grant
    }
}

/// Where a channel stands in the log.
package struct ChannelHead: Sendable {
    /// Of its last event. Offset 0 when it has none: the epoch is then the one to begin with.
    package var head: Position
    /// Of events inside the dedup window, oldest first, with the steady clock's time.
    package var messageIDs: [(messageID: String, position: Position, timestamp: Int64)]

    package init(head: Position, messageIDs: [(messageID: String, position: Position, timestamp: Int64)] = []) {
        self.head = head
        self.messageIDs = messageIDs
    }
}

package struct LogHeads: Sendable {
    package var heads: [ChannelHead?]
    /// Channels that the log remembers, of all partitions.
    package var channelCount: Int

    package init(heads: [ChannelHead?], channelCount: Int) {
        self.heads = heads
        self.channelCount = channelCount
    }
}

/// A part of all remembered channels.
package struct RememberedSlice: Sendable {
    /// With the time of the last event by the steady clock.
    package var channels: [(channel: ChannelName, head: Position, timestamp: Int64)]
    package var next: Int?

    package init(channels: [(channel: ChannelName, head: Position, timestamp: Int64)], next: Int?) {
        self.channels = channels
        self.next = next
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
