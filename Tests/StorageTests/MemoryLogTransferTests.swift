import NIOCore
import Partitioning
import Pipeline
import PipelineTestKit
import Synchronization
import TestKit
import Testing

@testable import Storage

/// The log in memory in a cluster: what a partition's next owner knows.
@Suite struct MemoryLogTransferTests {
    /// The steady clocks of two nodes differ.
    private struct Node {
        let clock: TestClock
        let log: MemoryLog

        init(_ start: Int64 = 1_000_000, limits: Limits = Limits()) {
            let clock = TestClock(start)
            self.clock = clock
            self.log = MemoryLog(limits: limits, clocks: clock.clocks, isSessionValid: { true })
        }

        func seal(_ ownerEpoch: OwnerEpoch, partition: PartitionID = 0) async throws -> SealedPartition {
            try await self.log.seal([Grant(partition: partition, ownerEpoch: ownerEpoch)])[0].get()
        }

        func append(_ events: [SequencedEvent], _ ownerEpoch: OwnerEpoch, partition: PartitionID = 0) async throws {
            try await self.log.append(events, under: Grant(partition: partition, ownerEpoch: ownerEpoch))
        }

        func head(_ name: String, _ ownerEpoch: OwnerEpoch) async throws -> ChannelHead? {
            try await self.log.heads(of: [ChannelOfPartition(channel(name), Grant(partition: 0, ownerEpoch: ownerEpoch))]).heads[0]
        }

        func read(_ name: String) async throws -> LogSlice {
            try await self.log.read(channel(name), after: position(0, 0), limit: .max, bytesMax: .max)
        }

        func chunks(_ ownerEpoch: OwnerEpoch) throws -> [ByteBuffer] {
            var export = try #require(self.log.export(Grant(partition: 0, ownerEpoch: ownerEpoch)))
            var chunks: [ByteBuffer] = []
            while let chunk = export.next() { chunks.append(chunk) }
            return chunks
        }

        /// Returns the result of the last chunk.
        @discardableResult
        func stage(_ chunks: some Sequence<ByteBuffer>, _ ownerEpoch: OwnerEpoch) -> LogStaging? {
            var last: LogStaging?
            for chunk in chunks { last = self.log.stage(chunk, of: Grant(partition: 0, ownerEpoch: ownerEpoch)) }
            return last
        }
    }

    private static func first(_ ownerEpoch: OwnerEpoch) -> UInt64 { UInt64(ownerEpoch) << 24 }

    /// An owner under owner epoch 1 with two channels.
    private func owner(limits: Limits = Limits()) async throws -> Node {
        let node = Node(limits: limits)
        _ = try await node.seal(1)
        let epoch = Self.first(1)
        try await node.append(
            [
                event("a", position(epoch, 1), "first", type: "comment", messageID: "m1", at: 77),
                event("b", position(epoch, 1), "", messageID: "m2", at: 78), event("a", position(epoch, 2), "second", at: 79),
            ], 1)
        node.clock.advance(seconds: 10)
        try await node.append([event("a", position(epoch, 3), "third", type: "", messageID: "m3", at: 80)], 1)
        node.clock.advance(seconds: 5)
        return node
    }

    // MARK: - A complete handoff

    @Test func historyPositionsAndMessageIDsContinue() async throws {
        let (old, new) = (try await self.owner(), Node(9_000_000))
        #expect(new.stage(try old.chunks(1), 1) == .complete)
        let sealed = try await new.seal(2)
        #expect(sealed == SealedPartition(epochFloor: Self.first(1), previousOwnerEpoch: 1, keptEverything: true))
        for name in ["a", "b"] {
            let (found, sent) = (try await new.read(name).seen, try await old.read(name).seen)
            #expect(found == sent)
            #expect(try await new.read(name).oldest == position(Self.first(1), 1))
        }
        let head = try #require(try await new.head("a", 2))
        #expect(head.head == position(Self.first(1), 3))
        // The ages of the ids stay: 15 s and 5 s.
        #expect(head.messageIDs.map(\.messageID) == ["m1", "m3"] && head.messageIDs.map(\.timestamp) == [9_000_000 - 15_000, 9_000_000 - 5_000])
        try await new.append([event("a", position(Self.first(1), 4), at: 81)], 2)
        #expect(try await new.read("a").offsets == [1, 2, 3, 4])
        // A channel without events has the epoch that it had at the old owner, so its subscribers notice nothing.
        #expect(try await new.head("c", 2)?.head == position(Self.first(1), 0))
    }

    @Test func eventsExpireAtTheirAge() async throws {
        var limits = Limits()
        limits.historySecondsMax = 60
        let (old, new) = (try await self.owner(limits: limits), Node(9_000_000, limits: limits))
        new.stage(try old.chunks(1), 1)
        _ = try await new.seal(2)
        new.clock.advance(seconds: 50)
        let (a, b) = (try await new.read("a").offsets, try await new.read("b").offsets)
        #expect(a == [3] && b == [])
        // The head stays.
        #expect(try await new.head("b", 2)?.head == position(Self.first(1), 1))
    }

    @Test func aPartitionMayMoveManyTimes() async throws {
        let nodes = [Node(1_000_000), Node(9_000_000), Node(5_000_000)]
        _ = try await nodes[0].seal(1)
        for move in 0..<7 {
            let (owner, ownerEpoch) = (nodes[move % 3], OwnerEpoch(move + 1))
            try await owner.append([event("a", position(Self.first(1), UInt64(move) + 1), "\(move)", messageID: "m\(move)", at: 1)], ownerEpoch)
            let next = nodes[(move + 1) % 3]
            #expect(next.stage(try owner.chunks(ownerEpoch), ownerEpoch) == .complete)
            #expect(try await next.seal(ownerEpoch + 1).keptEverything)
            await owner.log.release([Grant(partition: 0, ownerEpoch: ownerEpoch)])
        }
        #expect(try await nodes[1].read("a").offsets == Array(1...7))
        #expect(try await nodes[1].head("a", 8)?.messageIDs.map(\.messageID) == (0..<7).map { "m\($0)" })
    }

    @Test func chunksAreBoundedAndAChannelMayNeedSeveral() async throws {
        let (old, new) = (Node(), Node(9_000_000))
        _ = try await old.seal(1)
        let large = String(repeating: "x", count: 60_000)
        for offset in 1...20 as ClosedRange<UInt64> {
            try await old.append([event("large", position(Self.first(1), offset), large + "\(offset)", at: 1)], 1)
        }
        for number in 0..<3000 { try await old.append([event("c\(number)", position(Self.first(1), 1), "small", at: 1)], 1) }
        let chunks = try old.chunks(1)
        #expect(chunks.count > 8 && chunks.allSatisfy { $0.readableBytes < 2 * PartitionChunk.bytesMax })
        #expect(new.stage(chunks, 1) == .complete)
        _ = try await new.seal(2)
        let (events, original) = (try await new.read("large").seen, try await old.read("large").seen)
        #expect(events == original)
        let (found, sent) = (await new.log.metrics, await old.log.metrics)
        #expect(found.events == 3020 && found.channels == 3001 && found.bytes == sent.bytes)
    }

    @Test func anEmptyPartitionIsComplete() async throws {
        let (old, new) = (Node(), Node(9_000_000))
        _ = try await old.seal(1)
        #expect(new.stage(try old.chunks(1), 1) == .complete)
        #expect(try await new.seal(2) == SealedPartition(epochFloor: Self.first(1), previousOwnerEpoch: 1, keptEverything: true))
    }

    /// A forgotten channel begins an epoch above its former one, at the next owner too.
    @Test func theEpochFloorMovesWithThePartition() async throws {
        let (old, new) = (try await self.owner(), Node(9_000_000))
        try await old.log.forget([Grant(partition: 0, ownerEpoch: 1): [channel("b")]], writtenBefore: .max)
        new.stage(try old.chunks(1), 1)
        #expect(try await new.seal(2).epochFloor == Self.first(1) + 1)
        #expect(try await new.head("b", 2)?.head == position(Self.first(1) + 1, 0))
    }

    /// The sender removes expired events while it exports.
    @Test func eventsThatExpireDuringTheExportLeaveNoHole() async throws {
        var limits = Limits()
        limits.historySecondsMax = 60
        for seconds: Int64 in [0, 30, 200] {
            let (old, new) = (Node(limits: limits), Node(9_000_000, limits: limits))
            _ = try await old.seal(1)
            for offset in 1...12 as ClosedRange<UInt64> {
                if offset == 7 { old.clock.advance(seconds: 40) }
                try await old.append([event("a", position(Self.first(1), offset), String(repeating: "x", count: 20_000), at: 1)], 1)
            }
            var export = try #require(old.log.export(Grant(partition: 0, ownerEpoch: 1)))
            let first = export.next()
            var chunks = [try #require(first)]
            old.clock.advance(seconds: seconds)
            try await old.log.trim([], now: old.clock.now)
            while let chunk = export.next() { chunks.append(chunk) }
            #expect(new.stage(chunks, 1) == .complete)
            _ = try await new.seal(2)
            #expect(try await new.head("a", 2)?.head == position(Self.first(1), 12))
            let offsets = try await new.read("a").offsets
            #expect(offsets == (seconds == 0 ? Array(1...12) : seconds == 30 ? Array(7...12) : []))
        }
    }

    // MARK: - Without the content

    @Test func withoutContentChannelsBeginNewEpochs() async throws {
        let (old, new) = (try await self.owner(), Node(9_000_000))
        #expect(try await new.seal(2) == SealedPartition(epochFloor: Self.first(2), previousOwnerEpoch: nil, keptEverything: false))
        let head = try #require(try await new.head("a", 2))
        #expect(head.head == position(Self.first(2), 0) && head.messageIDs.isEmpty)
        let former = try #require(try await old.head("a", 1))
        #expect(head.head > former.head)
    }

    /// The owner dies, or its link breaks, before the last chunk.
    @Test func contentThatIsCutIsNotUsed() async throws {
        let old = try await self.owner()
        let chunks = try old.chunks(1)
        for count in 0..<chunks.count {
            let new = Node(9_000_000)
            new.stage(chunks.prefix(count), 1)
            #expect(try await new.seal(2) == SealedPartition(epochFloor: Self.first(2), previousOwnerEpoch: nil, keptEverything: false))
            #expect(await new.log.metrics.events == 0)
        }
    }

    @Test func aRepeatedExportReplacesWhatIsStaged() async throws {
        let (old, new) = (try await self.owner(), Node(9_000_000))
        let chunks = try old.chunks(1)
        #expect(new.stage(chunks.prefix(1), 1) == .incomplete)
        #expect(new.stage(chunks, 1) == .complete)
        // A repeated last chunk, then everything again.
        #expect(new.stage(chunks.suffix(1), 1) == .complete)
        #expect(new.stage(chunks, 1) == .complete)
        #expect(try await new.seal(2).keptEverything)
        #expect(try await new.read("a").offsets == [1, 2, 3])
    }

    @Test func aChunkIsMissing() async throws {
        let (old, new) = (try await self.owner(), Node(9_000_000))
        let chunks = try old.chunks(1)
        #expect(new.stage(chunks.dropFirst(), 1) == .refused("the chunks before chunk 1 are missing"))
        _ = try await new.seal(2)
        #expect(await new.log.metrics.events == 0)
    }

    /// Another node may have been the owner between.
    @Test func contentOfAnEarlierOwnerEpochIsNotUsed() async throws {
        let (old, new) = (try await self.owner(), Node(9_000_000))
        #expect(new.stage(try old.chunks(1), 1) == .complete)
        #expect(try await new.seal(3) == SealedPartition(epochFloor: Self.first(3), previousOwnerEpoch: nil, keptEverything: false))
        #expect(await new.log.metrics.events == 0)
    }

    @Test func contentThatArrivesAfterTheSealIsRefused() async throws {
        let (old, new) = (try await self.owner(), Node(9_000_000))
        let chunks = try old.chunks(1)
        _ = try await new.seal(2)
        #expect(new.stage(chunks, 1) == .refused("the partition is sealed under owner epoch 2"))
        #expect(await new.log.metrics.events == 0)
    }

    @Test func newerContentIsNotReplacedByOlderContent() async throws {
        let (first, second, new) = (try await self.owner(), Node(), Node(9_000_000))
        _ = try await second.seal(2)
        #expect(new.stage(try second.chunks(2), 2) == .complete)
        #expect(new.stage(try first.chunks(1), 1) == .refused("content of owner epoch 2 has arrived before"))
        #expect(try await new.seal(3).previousOwnerEpoch == 2)
    }

    @Test func changedBytesAreRefused() async throws {
        let old = try await self.owner()
        let chunks = try old.chunks(1)
        var random = SplitMix(seed: 1)
        for _ in 0..<2000 {
            let new = Node(9_000_000)
            var changed = chunks
            let number = Int.random(in: 0..<changed.count, using: &random)
            let place = Int.random(in: 0..<changed[number].readableBytes, using: &random)
            let byte = changed[number].getInteger(at: place, as: UInt8.self)!
            changed[number].setInteger(byte ^ UInt8.random(in: 1...255, using: &random), at: place)
            if case .refused = new.stage(changed, 1) { continue }
            Issue.record("byte \(place) of chunk \(number) was changed")
        }
    }

    @Test func anyBytesAreRefused() {
        let new = Node()
        var random = SplitMix(seed: 2)
        for _ in 0..<5000 {
            var bytes = (0..<Int.random(in: 0..<120, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
            // A valid header.
            if Bool.random(using: &random), bytes.count > 18 { bytes.replaceSubrange(0..<18, with: [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]) }
            let result = new.log.stage(ByteBuffer(bytes: bytes), of: Grant(partition: 0, ownerEpoch: 1))
            #expect(result != .complete)
        }
    }

    // MARK: - Bounds

    @Test func stagedContentIsBounded() async throws {
        var limits = Limits()
        limits.historyBytesMax = 100_000
        let (old, new) = (Node(), Node(9_000_000, limits: limits))
        _ = try await old.seal(1)
        for offset in 1...20 as ClosedRange<UInt64> {
            try await old.append([event("a", position(Self.first(1), offset), String(repeating: "x", count: 10_000), at: 1)], 1)
        }
        let chunks = try old.chunks(1)
        #expect(chunks.contains { new.stage([$0], 1) == .refused("the content is larger than history-bytes-max") })
        #expect(try await new.seal(2).keptEverything == false)
    }

    @Test func stagedContentIsDroppedAfterAWhile() async throws {
        let (old, new) = (try await self.owner(), Node(9_000_000))
        #expect(new.stage(try old.chunks(1), 1) == .complete)
        new.clock.advance(seconds: 30)
        try await new.log.trim([], now: new.clock.now)
        #expect(try await new.seal(2).keptEverything == false)
    }

    // MARK: - The old owner

    @Test func afterTheExportHasBegunNothingIsCommitted() async throws {
        let old = try await self.owner()
        _ = try old.chunks(1)
        let error = try await logError { try await old.append([event("a", position(Self.first(1), 4), at: 1)], 1) }
        #expect(error.code == .fenced)
        #expect(old.log.export(Grant(partition: 0, ownerEpoch: 1)) == nil && old.log.export(Grant(partition: 1, ownerEpoch: 1)) == nil)
    }

    /// The move has failed, so the old owner gets the next grant.
    @Test func anOwnerThatTakesItsPartitionBackContinues() async throws {
        let old = try await self.owner()
        _ = try old.chunks(1)
        await old.log.release([Grant(partition: 0, ownerEpoch: 1)])
        old.clock.advance(seconds: 9)
        try await old.log.trim([], now: old.clock.now)
        #expect(try await old.seal(2) == SealedPartition(epochFloor: Self.first(1), previousOwnerEpoch: 1, keptEverything: true))
        try await old.append([event("a", position(Self.first(1), 4), at: 1)], 2)
        #expect(try await old.read("a").offsets == [1, 2, 3, 4])
    }

    @Test func anOwnerThatWasReplacedMeanwhileBeginsNewEpochs() async throws {
        let old = try await self.owner()
        await old.log.release([Grant(partition: 0, ownerEpoch: 1)])
        #expect(try await old.seal(3) == SealedPartition(epochFloor: Self.first(3), previousOwnerEpoch: nil, keptEverything: false))
        #expect(await old.log.metrics.channels == 0)
    }

    @Test func theContentOfAReleasedPartitionIsDroppedAfterAWhile() async throws {
        let node = try await self.owner()
        _ = try await node.seal(1, partition: 1)
        try await node.append(events("other", Self.first(1), 1...5, at: 1), 1, partition: 1)
        await node.log.release([Grant(partition: 0, ownerEpoch: 1)])
        node.clock.advance(seconds: 9)
        try await node.log.trim([], now: node.clock.now)
        #expect(await node.log.metrics.channels == 3)
        node.clock.advance(seconds: 1)
        try await node.log.trim([], now: node.clock.now)
        let metrics = await node.log.metrics
        #expect(metrics.channels == 1 && metrics.events == 5)
        // No epoch is used again, also under the same grant.
        #expect(try await node.seal(1) == SealedPartition(epochFloor: Self.first(1) + 1, previousOwnerEpoch: nil, keptEverything: false))
    }

    @Test func aSecondSealUnderTheSameGrantKeepsEverything() async throws {
        let node = try await self.owner()
        #expect(try await node.seal(1).keptEverything)
        #expect(try await node.read("a").offsets == [1, 2, 3])
    }

    // MARK: - The session

    /// A node whose session may have ended commits nothing: the next owner does not know what it would commit.
    @Test func withoutAValidSessionNothingIsCommitted() async throws {
        let isValid = Atomic(true)
        let log = MemoryLog(limits: Limits(), isSessionValid: { isValid.load(ordering: .relaxed) })
        _ = try await log.sealed(oneGrant)
        try await log.append(events("a", Self.first(1), 1...1, at: 1))
        isValid.store(false, ordering: .relaxed)
        #expect(try await logError { try await log.append(events("a", Self.first(1), 2...2, at: 1)) }.code == .unavailable)
        isValid.store(true, ordering: .relaxed)
        try await log.append(events("a", Self.first(1), 2...2, at: 1))
        #expect(try await log.read(channel("a"), after: position(0, 0), limit: 9, bytesMax: 99).offsets == [1, 2])
    }

    @Test func aNodeInNoClusterTransfersNothing() {
        let log = MemoryLog(limits: Limits())
        #expect(log.transfer == nil && log.stage(ByteBuffer(), of: oneGrant[0]) == .refused("this node is in no cluster"))
    }
}
