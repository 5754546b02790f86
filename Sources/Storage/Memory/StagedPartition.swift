import DequeModule
import NIOCore
import Partitioning
import Pipeline

/// The content of a partition, as far as it has arrived from the partition's owner. A pure value.
struct StagedPartition {
    struct Channel {
        var head: Position
        /// On this node's steady clock.
        var timestamp: Int64
        var entries: Deque<HistoryIndex<SequencedEvent>.Entry> = []
    }

    enum Progress: Equatable {
        case incomplete
        case complete
        /// The content is not usable, for this reason.
        case broken(String)
    }

    /// The owner epoch under which the sender had the partition.
    let ownerEpoch: OwnerEpoch
    private(set) var channels: [ChannelName: Channel] = [:]
    private(set) var epochFloor: UInt64 = 0
    private(set) var isComplete = false
    /// The size of the events, as the history counts it.
    private(set) var accountedBytes = 0
    /// When the last chunk arrived, on the steady clock.
    private(set) var touchedAt: Int64
    private var chunkCount: UInt32 = 0
    private var eventCount: UInt64 = 0
    private var digest: UInt64 = 0

    init(ownerEpoch: OwnerEpoch, now: Int64) {
        self.ownerEpoch = ownerEpoch
        self.touchedAt = now
    }

    /// Takes one chunk.
    mutating func take(_ header: PartitionChunk.Header, body: ByteBuffer, chunk: ByteBuffer, now: Int64) -> Progress {
        guard header.number == self.chunkCount else { return .broken("chunk \(header.number) arrived instead of chunk \(self.chunkCount)") }
        self.touchedAt = now
        var body = body
        switch header.kind {
        case .runs:
            while body.readableBytes > 0 {
                guard let run = PartitionChunk.readRun(&body) else { return .broken("chunk \(header.number) is malformed") }
                guard self.take(run, now: now) else { return .broken("chunk \(header.number) contradicts earlier chunks") }
            }
            self.digest = PartitionChunk.digest(chunk, after: self.digest)
            self.chunkCount += 1
            return .incomplete
        case .summary:
            guard let summary = PartitionChunk.readSummary(&body, of: chunk, after: self.digest) else {
                return .broken("the chunks differ from the chunks that were sent")
            }
            let own = PartitionChunk.Summary(
                epochFloor: summary.epochFloor, chunks: self.chunkCount, channels: UInt64(self.channels.count), events: self.eventCount)
            guard own == summary else { return .broken("the chunks differ from what the sender has counted") }
            self.epochFloor = summary.epochFloor
            self.isComplete = true
            return .complete
        }
    }

    /// Returns false if the run does not continue what is staged of its channel.
    private mutating func take(_ run: PartitionChunk.Run, now: Int64) -> Bool {
        // A removal and a later insertion, because a change in place would copy the entries.
        var channel = self.channels.removeValue(forKey: run.channel) ?? Channel(head: run.head, timestamp: now - min(run.headAge, now))
        guard channel.head == run.head else { return false }
        if let first = run.events.first {
            // The sender may have removed events meanwhile, because they have expired. Then the ones before them are gone as well.
            if let last = channel.entries.last, last.element.position.next != first.event.position {
                guard last.element.position < first.event.position else { return false }
                for entry in channel.entries { self.accountedBytes -= Int(entry.accountedBytes) }
                channel.entries = []
            }
            for (event, age) in run.events {
                let timestamp = max(now - min(age, now), channel.entries.last?.timestamp ?? 0)
                let bytes = UInt32(clamping: event.event.accountedBytes)
                channel.entries.append(.init(element: event, timestamp: timestamp, accountedBytes: bytes))
                self.accountedBytes += Int(bytes)
            }
        }
        if run.events.isEmpty {
            // As above: the rest of the channel's events is gone.
            for entry in channel.entries { self.accountedBytes -= Int(entry.accountedBytes) }
            channel.entries = []
        }
        self.eventCount += UInt64(run.events.count)
        self.channels[run.channel] = channel
        return true
    }

    /// Whether the events of each channel reach its head. Otherwise the history would have a hole.
    var reachesHeads: Bool { self.channels.values.allSatisfy { $0.entries.last.map(\.element.position) ?? $0.head == $0.head } }
}
