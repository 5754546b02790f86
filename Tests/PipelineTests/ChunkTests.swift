import NIOCore
import PipelineTestKit
import TestKit
import Testing

@testable import Pipeline

@Suite struct ChunkTests {
    private func chunk(_ offsets: ClosedRange<UInt64>, epoch: UInt64 = 1, second: Int = 0) -> Chunk {
        Chunk(events: run("c", epoch, offsets), channelHash: hash32("c"), second: second)
    }

    @Test(arguments: Framing.allCases)
    func slicesHoldWholeFrames(_ framing: Framing) throws {
        for count in [1, 2, 7] as [UInt64] {
            let frames = self.chunk(5...(4 + count)).frames(framing)
            for start in 0..<Int(count) {
                for bytesMax in [0, 1, 100, 150, 250, 400, 100_000] {
                    let (buffer, taken) = frames.slice(from: start, bytesMax: bytesMax)
                    let decoded = try FrameDecoder.decode(buffer, framing)
                    #expect(decoded.count == taken)
                    #expect(taken == 1 || buffer.readableBytes <= bytesMax)
                    // The slice has as many frames as fit: one more would exceed the limit.
                    if start + taken < Int(count) { #expect(frames.end(start + taken) - frames.start(start) > bytesMax) }
                    let positions = decoded.map { frame -> Position? in
                        guard case .event(let cursor, _, _, _) = frame else { return nil }
                        return Cursor(cursor)?.position(of: channel("c"))
                    }
                    let expected: [Position?] = (0..<taken).map { position(1, UInt64(5 + start + $0)) }
                    #expect(positions == expected)
                }
            }
        }
    }

    /// Compares the buffer with a simple model, which stores each offset with its chunk's second and number.
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func feedBufferMatchesItsModel(seed: UInt64) {
        var random = SplitMix(seed: seed)
        var buffer = FeedBuffer(head: position(1, random.number(bits: 4)))
        var head = buffer.head
        var model: [(first: UInt64, last: UInt64, second: Int, chunk: Chunk)] = []
        var second = 0
        for step in 0..<1500 {
            if random.chance(30) { second += 1 }
            switch random.below(10) {
            case 0..<5:
                let length = UInt64(random.below(4))
                var (epoch, first) = (head.epoch, head.offset + 1)
                switch random.below(12) {
                case 0: first = max(1, first - min(first - 1, UInt64(random.below(5))))  // Known, in part or whole.
                case 1: first += 1 + UInt64(random.below(3))
                case 2: (epoch, first) = (epoch + 1, 1 + UInt64(random.below(2)))
                case 3: (epoch, first) = (max(1, epoch - 1), 1)
                default: break
                }
                let chunk = self.chunk(first...(first + length), epoch: epoch, second: second)
                let newHead = position(epoch, first + length)
                let expected: FeedBuffer.OnAppend
                if newHead <= head {
                    expected = .known
                } else {
                    expected = epoch == head.epoch && first == head.offset + 1 ? .appended : .restarted
                    if expected == .restarted { model = [] }
                    model.append((first, first + length, second, chunk))
                    head = newHead
                }
                #expect(buffer.append(chunk) == expected, "seed \(seed), step \(step)")
            case 5 where random.chance(50):
                let bytesMax = random.below(5000)
                while model.reduce(0, { $0 + $1.chunk.memoryBytes }) > bytesMax, model.count > 1 { model.removeFirst() }
                buffer.trim(bytesMax: bytesMax)
            case 5:
                let oldest = second - random.below(8)
                if let first = model.first, first.second <= oldest { model.removeFirst() }
                buffer.removeFirst(notAfter: oldest)
            case 6:
                // A subscriber with another framing makes the chunk grow.
                guard let chunk = model.randomElement(using: &random)?.chunk else { break }
                _ = chunk.frames(Framing.allCases.randomElement(using: &random)!)
                if random.chance(30) { _ = chunk.bodies(.lines) }
                buffer.recount(chunk)
            default:
                let offset = random.chance(70) ? head.offset - min(head.offset, UInt64(random.below(40))) + 2 : random.number(bits: 12)
                let bytesMax = random.chance(50) ? 0 : random.below(4000)
                let found = buffer.newest(holding: offset) ?? buffer.chunk(holding: offset, joinedUpTo: bytesMax)
                if let start = model.firstIndex(where: { $0.first <= offset && offset <= $0.last }) {
                    var joined = model[start]
                    var cost = joined.chunk.frameBytes
                    var end = start + 1
                    while end < model.count, cost + model[end].chunk.frameBytes <= bytesMax {
                        cost += model[end].chunk.frameBytes
                        joined = (joined.first, model[end].last, model[end].second, found ?? joined.chunk)
                        end += 1
                    }
                    model.replaceSubrange(start..<end, with: [joined])
                    #expect(
                        found?.first == joined.first && found?.last == joined.last && found?.second == joined.second, "seed \(seed), step \(step): \(offset)")
                    #expect(found?.events.map(\.position.offset) == Array(joined.first...joined.last), "seed \(seed), step \(step): \(offset)")
                } else {
                    #expect(found == nil, "seed \(seed), step \(step): \(offset)")
                }
            }
            #expect(buffer.head == head && buffer.memoryBytes == model.reduce(0) { $0 + $1.chunk.memoryBytes }, "seed \(seed), step \(step)")
            #expect(buffer.first == model.first?.first ?? head.offset + 1, "seed \(seed), step \(step)")
        }
    }

    /// A chunk counts exactly its own memory, and has only encodings that were requested.
    @Test func aChunkCountsTheMemoryThatItHolds() {
        let payload = [UInt8](repeating: 0x61, count: 120)
        let chunk = Chunk(events: [sequenced("c", position(1, 1), payload)], channelHash: hash32("c"), second: 0)
        let bare = chunk.memoryBytes
        #expect(bare > 120 + 200)
        let frames = chunk.frames(.sse).memoryBytes
        #expect(chunk.memoryBytes == bare + frames)
        _ = chunk.frames(.sse)
        #expect(chunk.memoryBytes == bare + frames)
        let others = chunk.frames(.line).memoryBytes + chunk.bodies(.envelopeTail).memoryBytes
        #expect(chunk.memoryBytes == bare + frames + others)
        // The memory of one event of this size, encoded for one framing.
        #expect(bare + frames < 1024)
    }
}
