import NIOCore

/// Consecutive events of one channel in one epoch, with their encodings, each made when first asked for and then shared.
///
/// Confined to one event loop: the encodings' reference counts stay on that loop's core.
final class Chunk {
    /// At least one; offsets without a hole.
    let events: [SequencedEvent]
    /// The memory that it holds, in bytes. Grows with every encoding.
    private(set) var cost: Int
    /// What the buffer that it is in has counted of ``cost``; 0 outside of one.
    var countedCost = 0
    /// It is in a buffer that has not counted all of it.
    var hasGrown: Bool { self.countedCost > 0 && self.cost != self.countedCost }
    /// About what its events take in a write: what decides how much is joined.
    let writeCost: Int
    /// Seconds on the loop's clock, for dropping old chunks.
    let second: Int
    private let channelHash: UInt32
    /// There are many chunks of one small event, and nearly always one framing: an empty place for each of the others would be most of a chunk.
    private var firstFrames: (framing: Framing, run: FrameRun)?
    private var otherFrames: [(framing: Framing, run: FrameRun)] = []
    private var bodies: [(body: Framing.Body, run: FrameRun)] = []

    init(events: [SequencedEvent], channelHash: UInt32, second: Int) {
        precondition(!events.isEmpty, "A chunk holds at least one event")
        self.events = events
        self.cost = events.reduce(Self.objectCost) { $0 + $1.memoryCost }
        self.writeCost = events.reduce(0) { $0 + $1.event.cost * 2 }
        self.second = second
        self.channelHash = channelHash
    }

    /// The chunk, its array of events, and its places in the buffer and in the order of all chunks.
    private static let objectCost = 224

    /// One chunk of consecutive ones.
    convenience init(joining chunks: some BidirectionalCollection<Chunk>) {
        let last = chunks.last!
        self.init(events: chunks.flatMap(\.events), channelHash: last.channelHash, second: last.second)
    }

    var epoch: UInt64 { self.events[0].position.epoch }
    var first: UInt64 { self.events[0].position.offset }
    var last: UInt64 { self.events[self.events.count - 1].position.offset }

    /// Whole frames, for subscribers of this channel alone.
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

    /// Bodies, for subscribers that have cursors of their own.
    func bodies(_ body: Framing.Body) -> FrameRun {
        if let index = self.bodies.firstIndex(where: { $0.body == body }) { return self.bodies[index].run }
        let run = self.encode(body)
        self.bodies.append((body, run))
        self.cost += run.memoryCost
        return run
    }

    private func encode(_ body: Framing.Body) -> FrameRun {
        var run = FrameRun(count: self.events.count, capacity: self.writeCost)
        for event in self.events {
            FrameEncoder.writeBody(body, of: event, into: &run.buffer)
            run.endFrame()
        }
        return run
    }

    private func encode(_ framing: Framing) -> FrameRun {
        // Bodies that nobody asked for on their own are gone after this: they would double what is kept. A second framing makes them again.
        let bodies = self.bodies.first { $0.body == framing.body }?.run ?? self.encode(framing.body)
        var run = FrameRun(count: self.events.count, capacity: bodies.buffer.readableBytes + 96 * self.events.count)
        var cursor = ByteBufferAllocator().buffer(capacity: 64)
        for (index, event) in self.events.enumerated() {
            cursor.clear()
            Cursor.write(count: 1, into: &cursor) { _ in Cursor.Entry(channel: self.channelHash, position: event.position) }
            FrameEncoder.writeFrame(framing, cursor: cursor.readableBytesView, body: bodies.view(index), into: &run.buffer)
            run.endFrame()
        }
        self.cost += run.memoryCost
        return run
    }
}

extension SequencedEvent {
    /// The memory that it holds, in bytes: itself, its payload's storage, and strings that are too long to be inside of it.
    var memoryCost: Int {
        var cost = MemoryLayout<SequencedEvent>.stride + self.event.payload.storageCapacity + ByteBuffer.objectCost
        for string in [self.event.type, self.event.messageID] where string?.utf8.count ?? 0 > 15 { cost += 32 + string!.utf8.count }
        return cost
    }
}

extension ByteBuffer {
    /// A buffer's storage beside its bytes: its object, and what the allocator adds to both.
    static let objectCost = 80
}
