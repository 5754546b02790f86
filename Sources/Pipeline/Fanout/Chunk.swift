import NIOCore

/// Consecutive events of one channel in one epoch, with their encodings. An encoding is made when it is first needed, and then shared.
///
/// A chunk is confined to one event loop, so that one core changes the encodings' reference counts.
final class Chunk {
    /// At least one event. The offsets are consecutive.
    let events: [SequencedEvent]
    /// The memory of this chunk, in bytes. Grows with every encoding.
    private(set) var memoryBytes: Int
    /// The part of ``memoryBytes`` that the feed's buffer has counted. 0 if the chunk is in no buffer.
    var countedBytes = 0
    /// True if the chunk has grown since its buffer counted it.
    var hasGrown: Bool { self.countedBytes > 0 && self.memoryBytes != self.countedBytes }
    /// The approximate size of the chunk's events in a write, in bytes. Limits how many chunks are joined.
    let frameBytes: Int
    /// The value of ``Fanout/second`` when this chunk was made. Decides when the chunk is dropped.
    let second: Int
    private let channelHash: UInt32
    /// Many chunks hold one small event, nearly always in only one framing. Space for the other framings would be most of their memory.
    private var firstFrames: (framing: Framing, run: FrameRun)?
    private var otherFrames: [(framing: Framing, run: FrameRun)] = []
    private var bodies: [(body: Framing.Body, run: FrameRun)] = []

    init(events: [SequencedEvent], channelHash: UInt32, second: Int) {
        precondition(!events.isEmpty, "A chunk holds at least one event")
        self.events = events
        self.memoryBytes = events.reduce(Self.objectBytes) { $0 + $1.memoryBytes }
        self.frameBytes = events.reduce(0) { $0 + $1.event.accountedBytes * 2 }
        self.second = second
        self.channelHash = channelHash
    }

    /// Memory of the chunk object, its array of events, and its entries in the buffer and in the order of all chunks.
    private static let objectBytes = 224

    /// Joins consecutive chunks into one.
    convenience init(joining chunks: some BidirectionalCollection<Chunk>) {
        let last = chunks.last!
        self.init(events: chunks.flatMap(\.events), channelHash: last.channelHash, second: last.second)
    }

    var epoch: UInt64 { self.events[0].position.epoch }
    var first: UInt64 { self.events[0].position.offset }
    var last: UInt64 { self.events[self.events.count - 1].position.offset }

    /// Whole frames, for subscribers of only this channel.
    func frames(_ framing: Framing) -> FrameRun {
        guard let first = self.firstFrames else {
            let run = self.encode(framing)
            self.firstFrames = (framing, run)
            return run
        }
        if first.framing == framing { return first.run }
        if let index = self.otherFrames.firstIndex(where: { $0.framing == framing }) { return self.otherFrames[index].run }
        let run = self.encode(framing)
        self.otherFrames.append((framing, run))
        return run
    }

    /// Bodies, for subscribers of several channels, which have their own cursors.
    func bodies(_ body: Framing.Body) -> FrameRun {
        if let index = self.bodies.firstIndex(where: { $0.body == body }) { return self.bodies[index].run }
        let run = self.encode(body)
        self.bodies.append((body, run))
        self.memoryBytes += run.memoryBytes
        return run
    }

    private func encode(_ body: Framing.Body) -> FrameRun {
        var run = FrameRun(count: self.events.count, capacity: self.frameBytes)
        for event in self.events {
            FrameEncoder.writeBody(body, of: event, into: &run.buffer)
            run.endFrame()
        }
        return run
    }

    private func encode(_ framing: Framing) -> FrameRun {
        // The bodies are not kept here, because they would double the memory. A second framing encodes them again.
        let bodies = self.bodies.first { $0.body == framing.body }?.run ?? self.encode(framing.body)
        var run = FrameRun(count: self.events.count, capacity: bodies.buffer.readableBytes + 96 * self.events.count)
        var cursor = ByteBufferAllocator().buffer(capacity: 64)
        for (index, event) in self.events.enumerated() {
            cursor.clear()
            Cursor.write(count: 1, into: &cursor) { _ in Cursor.Entry(channel: self.channelHash, position: event.position) }
            FrameEncoder.writeFrame(framing, cursor: cursor.readableBytesView, body: bodies.view(index), into: &run.buffer)
            run.endFrame()
        }
        self.memoryBytes += run.memoryBytes
        return run
    }
}

extension SequencedEvent {
    /// The memory of this event, in bytes: the value, the payload's storage, and strings that are too long to be stored inline.
    var memoryBytes: Int {
        var bytes = MemoryLayout<SequencedEvent>.stride + self.event.payload.storageCapacity + ByteBuffer.objectBytes
        for string in [self.event.type, self.event.messageID] where string?.utf8.count ?? 0 > 15 { bytes += 32 + string!.utf8.count }
        return bytes
    }
}

extension ByteBuffer {
    /// Memory of a buffer besides its bytes: the storage object, and the allocator's overhead.
    static let objectBytes = 80
}
