import NIOCore

/// Consecutive events of one channel in one epoch, with their encodings, each made when first asked for and then shared.
///
/// Confined to one event loop: the encodings' reference counts stay on that loop's core.
final class Chunk {
    /// At least one; offsets without a hole.
    let events: [SequencedEvent]
    let cost: Int
    /// Seconds on the loop's clock, for dropping old chunks.
    let second: Int
    private let channelHash: UInt32
    private var frames: InlineArray<8, FrameRun?> = .init(repeating: nil)
    private var bodies: InlineArray<2, FrameRun?> = .init(repeating: nil)

    init(events: [SequencedEvent], channelHash: UInt32, second: Int) {
        precondition(!events.isEmpty, "A chunk holds at least one event")
        self.events = events
        self.cost = events.reduce(0) { $0 + $1.event.cost * 2 }
        self.second = second
        self.channelHash = channelHash
    }

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
        if let run = self.frames[Int(framing.rawValue)] { return run }
        let run = self.encode(framing)
        self.frames[Int(framing.rawValue)] = run
        return run
    }

    /// Bodies, for subscribers that have cursors of their own.
    func bodies(_ body: Framing.Body) -> FrameRun {
        if let run = self.bodies[Int(body.rawValue)] { return run }
        var run = FrameRun(count: self.events.count, capacity: self.cost)
        for event in self.events {
            FrameEncoder.writeBody(body, of: event, into: &run.buffer)
            run.endFrame()
        }
        self.bodies[Int(body.rawValue)] = run
        return run
    }

    private func encode(_ framing: Framing) -> FrameRun {
        let bodies = self.bodies(framing.body)
        var run = FrameRun(count: self.events.count, capacity: bodies.buffer.readableBytes + 96 * self.events.count)
        var cursor = ByteBufferAllocator().buffer(capacity: 64)
        for (index, event) in self.events.enumerated() {
            cursor.clear()
            Cursor.write(count: 1, into: &cursor) { _ in Cursor.Entry(channel: self.channelHash, position: event.position) }
            FrameEncoder.writeFrame(
                framing, cursor: cursor.readableBytesView, type: event.event.type, body: bodies.view(index), into: &run.buffer)
            run.endFrame()
        }
        return run
    }
}

/// Encoded pieces one behind the other in one buffer.
struct FrameRun {
    var buffer: ByteBuffer
    /// Where each piece but a single one ends.
    private var ends: [UInt32] = []
    private let isSingle: Bool

    init(count: Int, capacity: Int) {
        self.buffer = ByteBufferAllocator().buffer(capacity: capacity)
        self.isSingle = count == 1
        if !self.isSingle { self.ends.reserveCapacity(count) }
    }

    mutating func endFrame() {
        if !self.isSingle { self.ends.append(UInt32(self.buffer.writerIndex)) }
    }

    func start(_ index: Int) -> Int { index == 0 ? 0 : Int(self.ends[index - 1]) }
    func end(_ index: Int) -> Int { self.isSingle ? self.buffer.writerIndex : Int(self.ends[index]) }

    func view(_ index: Int) -> ByteBufferView {
        self.buffer.viewBytes(at: self.start(index), length: self.end(index) - self.start(index))!
    }

    /// Pieces from `index` on, as many as fit in `bytesMax` but at least one. Shares the storage.
    func slice(from index: Int, bytesMax: Int) -> (buffer: ByteBuffer, count: Int) {
        let start = self.start(index)
        if self.isSingle || (index == 0 && self.buffer.writerIndex <= bytesMax) { return (self.buffer, self.isSingle ? 1 : self.ends.count) }
        var end = index
        while end + 1 < self.ends.count, Int(self.ends[end + 1]) - start <= bytesMax { end += 1 }
        let slice = self.buffer.getSlice(at: start, length: Int(self.ends[end]) - start)!
        // What waits in a slow socket keeps all of the storage that it shares alive: of a large run, it gets a copy of its part.
        return (self.buffer.writerIndex > 2 * bytesMax ? ByteBuffer(bytes: slice.readableBytesView) : slice, end - index + 1)
    }
}
