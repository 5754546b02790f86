import DequeModule
import NIOConcurrencyHelpers
package import NIOCore
package import Partitioning
package import Pipeline

/// The content of partitions that move between nodes.
extension MemoryLog: LogTransfer {
    package func export(_ grant: Grant) -> (any LogExport)? {
        self.state.withLockedValue { state -> MemoryLogExport? in
            guard state.fence.refusal(using: grant) == nil, let content = state.contents[grant.partition] else { return nil }
            // Nothing is appended any more, so the chunks are of one moment.
            state.fence.release(grant)
            return MemoryLogExport(self, grant, content.channels, epochFloor: content.epochFloor)
        }
    }

    package func stage(_ chunk: ByteBuffer, of grant: Grant) -> LogStaging {
        var body = chunk
        guard self.isInCluster else { return .refused("this node is in no cluster") }
        guard let header = PartitionChunk.readHeader(&body) else { return .refused("the chunk is malformed, or of another version") }
        guard header.grant == grant else { return .refused("the chunk is of \(header.grant), not of \(grant)") }
        let now = self.clocks.steady()
        return self.state.withLockedValue { $0.stage(header, body: body, chunk: chunk, limits: self.limits, now: now) }
    }

    package func discard(_ grant: Grant) {
        self.state.withLockedValue { state in
            guard let staged = state.staged[grant.partition], staged.ownerEpoch == grant.ownerEpoch, !staged.isComplete else { return }
            state.staged[grant.partition] = nil
        }
    }

    /// Content that is not complete, or not used, is dropped after this time without a chunk.
    static let stagedMillisecondsMax: Int64 = 30_000
}

extension MemoryLog.State {
    fileprivate mutating func stage(_ header: PartitionChunk.Header, body: ByteBuffer, chunk: ByteBuffer, limits: Limits, now: Int64) -> LogStaging {
        let partition = header.grant.partition
        self.dropOldStaged(now: now)
        if let sealed = self.fence.ownerEpoch(of: partition), sealed >= header.grant.ownerEpoch {
            return .refused("the partition is sealed under owner epoch \(sealed)")
        }
        // Out of the dictionary, so that the value is changed in place.
        var staged = self.staged.removeValue(forKey: partition)
        if let known = staged, known.ownerEpoch > header.grant.ownerEpoch {
            self.staged[partition] = known
            return .refused("content of owner epoch \(known.ownerEpoch) has arrived before")
        }
        if header.number == 0 {
            // The first chunk begins the content again.
            staged = StagedPartition(ownerEpoch: header.grant.ownerEpoch, now: now)
        }
        guard var staged, staged.ownerEpoch == header.grant.ownerEpoch else { return .refused("the chunks before chunk \(header.number) are missing") }
        // A repeated chunk.
        if staged.isComplete {
            self.staged[partition] = staged
            return .complete
        }
        let progress = staged.take(header, body: body, chunk: chunk, now: now)
        let others = self.staged.values.reduce(0) { $0 + $1.accountedBytes }
        guard others + staged.accountedBytes <= limits.historyBytesMax else { return .refused("the content is larger than history-bytes-max") }
        let channelCount = self.staged.values.reduce(self.history.channelCount + staged.channels.count) { $0 + $1.channels.count }
        guard channelCount <= limits.channelsMax else { return .refused("the content has more channels than channels-max leaves") }
        switch progress {
        case .incomplete:
            self.staged[partition] = staged
            return .incomplete
        case .complete:
            guard staged.reachesHeads else { return .refused("the events of a channel end before its head") }
            self.staged[partition] = staged
            return .complete
        case .broken(let reason): return .refused(reason)
        }
    }

    mutating func dropOldStaged(now: Int64) {
        guard !self.staged.isEmpty else { return }
        self.staged = self.staged.filter { now - $0.value.touchedAt < MemoryLog.stagedMillisecondsMax }
    }
}

/// Writes a partition's content in chunks. Between two chunks the log may remove expired events.
private struct MemoryLogExport: LogExport {
    private let log: MemoryLog
    private let grant: Grant
    private let channels: Set<ChannelName>
    private let epochFloor: UInt64
    private var place: Set<ChannelName>.Index
    /// The last event of the channel at `place` that was written. Nil before the channel's first run.
    private var written: Position?
    private var number: UInt32 = 0
    private var channelCount: UInt64 = 0
    private var eventCount: UInt64 = 0
    private var digest: UInt64 = 0
    private var isFinished = false

    init(_ log: MemoryLog, _ grant: Grant, _ channels: Set<ChannelName>, epochFloor: UInt64) {
        self.log = log
        self.grant = grant
        self.channels = channels
        self.epochFloor = epochFloor
        self.place = channels.startIndex
    }

    mutating func next() -> ByteBuffer? {
        guard !self.isFinished else { return nil }
        guard self.place < self.channels.endIndex else { return self.summary() }
        var chunk = ByteBufferAllocator().buffer(capacity: PartitionChunk.bytesMax + 1024)
        PartitionChunk.write(.init(kind: .runs, grant: self.grant, number: self.number), to: &chunk)
        let now = self.log.clocks.steady()
        self.log.state.withLockedValue { state in
            while self.place < self.channels.endIndex, chunk.readableBytes < PartitionChunk.bytesMax { self.write(state.history, to: &chunk, now: now) }
        }
        self.digest = PartitionChunk.digest(chunk, after: self.digest)
        self.number += 1
        return chunk
    }

    /// Writes one run, and continues with the next channel if the run ends its channel.
    private mutating func write(_ history: HistoryIndex<SequencedEvent>, to chunk: inout ByteBuffer, now: Int64) {
        let name = self.channels[self.place]
        guard let channel = history.channel(name) else { return self.nextChannel() }
        let run = PartitionChunk.beginRun(name, head: channel.head, headAge: max(0, now - channel.timestamp), in: &chunk)
        if self.written == nil { self.channelCount += 1 }
        var index = history.bounds.firstHeld(in: channel.entries, now: now)
        if let written, let first = channel.entries.first, written >= first.element.position {
            index = max(index, Int(written.offset - first.element.position.offset) + 1)
        }
        var count: UInt32 = 0
        while index < channel.entries.count, count == 0 || chunk.readableBytes < PartitionChunk.bytesMax {
            let entry = channel.entries[index]
            PartitionChunk.write(entry.element, age: max(0, now - entry.timestamp), isFirst: count == 0, to: &chunk)
            self.written = entry.element.position
            count += 1
            index += 1
        }
        PartitionChunk.endRun(at: run, count: count, in: &chunk)
        self.eventCount += UInt64(count)
        if index >= channel.entries.count { self.nextChannel() }
    }

    private mutating func nextChannel() {
        self.channels.formIndex(after: &self.place)
        self.written = nil
    }

    private mutating func summary() -> ByteBuffer {
        self.isFinished = true
        var chunk = ByteBuffer()
        PartitionChunk.write(.init(kind: .summary, grant: self.grant, number: self.number), to: &chunk)
        let summary = PartitionChunk.Summary(epochFloor: self.epochFloor, chunks: self.number, channels: self.channelCount, events: self.eventCount)
        PartitionChunk.write(summary, after: self.digest, to: &chunk)
        return chunk
    }
}
