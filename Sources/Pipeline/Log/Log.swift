package import Partitioning

/// The durable history of channels. Append is the commit: events that `append` reported as committed are never lost, repeated or reordered.
///
/// Every call that changes a partition passes the grant under which the caller owns the partition. The log refuses a grant if the partition is sealed under a
/// newer owner epoch. Each sequencer appends one batch at a time. Any number of callers may read. Implementations choose their threads.
package protocol Log: Sendable {
    /// The number of storages that do not wait for each other. Partition p is in storage p modulo this number. A sequencer has partitions of one storage, so
    /// a slow one delays only its own partitions.
    var storages: Int { get }

    /// Seals these partitions under their grants. Returns the result for each of them, in the order of `grants`.
    ///
    /// A caller may seal again: more partitions, or the same partitions, also under newer owner epochs. After a seal, every call for the partition under an
    /// older owner epoch fails with ``LogError/Code/fenced``. Sealing reads no channels, so its duration does not depend on the number of channels.
    func seal(_ grants: [Grant]) async -> [Result<SealedPartition, LogError>]

    /// The heads of these channels, in the order of `channels`, with their recent message ids, which detect repeated publishes. A sequencer calls this once for
    /// each channel, when the channel is first used.
    ///
    /// A head is nil if the channel's partition is not sealed under the grant, or no longer is.
    func heads(of channels: [ChannelOfPartition]) async throws(LogError) -> LogHeads

    /// Commits the batch. Each partition's events are stored completely or not at all. Returns the result for each partition, in the order of the batch's
    /// grants.
    ///
    /// ``LogError/Code/unavailable`` means that none of the partition's events is stored. ``LogError/Code/uncertain`` means that it is unknown whether they are
    /// stored: the caller repeats the same batch, and events that are already stored are skipped. After ``LogError/Code/lost`` the caller seals the partition
    /// again. The caller chooses positions that continue from the stored heads.
    func append(_ batch: LogBatch) async -> [Result<Void, LogError>]

    /// Events of a channel after a position, oldest first, at most `limit`, with at most `bytesMax` bytes of payloads. The first event is always returned, even
    /// if it is larger.
    func read(_ channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice

    /// A slice of the remembered channels, beginning at `place`: the start, or `next` of the previous slice. A channel that exists during the whole iteration
    /// is in at least one slice.
    func remembered(from place: RememberedPlace, count: Int) async throws(LogError) -> RememberedSlice

    /// Forgets the heads and the history of channels. If a channel is used again, it begins an epoch above all its former epochs.
    ///
    /// Channels of fenced partitions are not changed. Channels with an event at or after `oldest` (steady clock) are not changed: an append may have reached
    /// the log before this call.
    func forget(_ channels: [Grant: [ChannelName]], writtenBefore oldest: Int64) async throws(LogError)

    /// Deletes events that exceed the limits of the history, and returns when they are deleted. `now` is the time on the steady clock. ``Sequencers`` calls
    /// this about once a second. A log that stores the events of all partitions in one order also deletes events of partitions that are not in `grants`.
    func trim(_ grants: [Grant], now: Int64) async throws(LogError)

    /// Whether the storage still has these seals and all data that was stored under them. Returns the result for each grant: ``LogError/Code/fenced`` after a
    /// newer seal, ``LogError/Code/lost`` if the partition must be sealed again. ``Sequencers`` calls this about once a second, because a partition without
    /// appends would not notice either.
    func verify(_ grants: [Grant]) async -> [Result<Void, LogError>]

    /// Ends the use of partitions that are sealed under these grants. A newer seal is not changed. The stored events stay.
    func release(_ grants: [Grant]) async

    /// Moves the content of partitions between the logs of two nodes. Nil if all owners of a partition use the same storage.
    var transfer: (any LogTransfer)? { get }

    /// Numbers for `status` and `/metrics`.
    var metrics: LogMetrics { get async }

    /// Writes buffered data and releases files and locks.
    func close() async
}

extension Log {
    package var storages: Int { 1 }
    package var transfer: (any LogTransfer)? { nil }
}

/// The result of sealing a partition.
package struct SealedPartition: Hashable, Sendable {
    /// The lowest epoch for channels without a head. At least the owner epoch.
    package var epochFloor: UInt64
    /// The owner epoch of the partition's previous seal in this storage. Nil if this is the first seal.
    package var previousOwnerEpoch: OwnerEpoch?
    /// True if nothing can have been lost since the previous seal. If false, a channel without a head may have had events.
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
    /// The head that the caller knows under this grant; of offset 0 if it has committed no event. A storage that has lost data may have a lower head, or none: then the log returns
    /// the first position of a new epoch. Nil if the caller knows none.
    package var known: Position?

    package init(_ channel: ChannelName, _ grant: Grant, known: Position? = nil) {
        self.channel = channel
        self.grant = grant
        self.known = known
    }
}

/// A channel's head in the log, with its recent message ids.
package struct ChannelHead: Sendable {
    /// The position of the channel's last event. If the channel has no event, the offset is 0, and the epoch is the epoch for its first event.
    package var head: Position
    /// The message ids of events that are recent enough to detect duplicates, oldest first. `timestamp` is on the steady clock.
    package var messageIDs: [(messageID: String, position: Position, timestamp: Int64)]
    /// The last position that the storage still has, or offset 0 if it has none, of a channel that lost events: `head` begins a new epoch then, and events
    /// between the two are lost. Nil if nothing was lost.
    package var lostAfter: Position?

    package init(
        head: Position, messageIDs: [(messageID: String, position: Position, timestamp: Int64)] = [], lostAfter: Position? = nil
    ) {
        self.head = head
        self.messageIDs = messageIDs
        self.lostAfter = lostAfter
    }
}

/// The result of ``Log/heads(of:)``.
package struct LogHeads: Sendable {
    package var heads: [ChannelHead?]
    /// The number of channels that the log remembers, of all partitions.
    package var channelCount: Int

    package init(heads: [ChannelHead?], channelCount: Int) {
        self.heads = heads
        self.channelCount = channelCount
    }
}

/// A place in the iteration over the remembered channels.
package struct RememberedPlace: Hashable, Sendable {
    /// For a log that stores the channels of each partition separately: the partition.
    package var partition: PartitionID
    /// The place in the partition, or in all channels.
    package var cursor: UInt64

    package init(partition: PartitionID = 0, cursor: UInt64) {
        self.partition = partition
        self.cursor = cursor
    }

    package static let start = RememberedPlace(cursor: 0)
}

/// One slice of the remembered channels.
package struct RememberedSlice: Sendable {
    /// `timestamp` is the time of the last event on the steady clock.
    package var channels: [(channel: ChannelName, head: Position, timestamp: Int64)]
    /// The place where the next slice begins. Nil after the last slice.
    package var next: RememberedPlace?

    package init(channels: [(channel: ChannelName, head: Position, timestamp: Int64)], next: RememberedPlace?) {
        self.channels = channels
        self.next = next
    }
}

/// Consecutive events of one channel.
package struct LogSlice: Sendable {
    /// Contiguous, oldest first.
    package var events: [SequencedEvent]
    /// The oldest position of the channel that is still stored. Nil if none is stored.
    package var oldest: Position?

    package init(events: [SequencedEvent], oldest: Position?) {
        self.events = events
        self.oldest = oldest
    }
}
