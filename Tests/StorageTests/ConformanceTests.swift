import Partitioning
import Pipeline
import PipelineTestKit
import Storage
import TestKit
import Testing

enum LogKind: String, CaseIterable, Sendable {
    case memory, sqlite, sqlitePower, redis

    /// Logs in this process, which know how many events and bytes they store, and delete the oldest ones of all channels. Redis counts only its memory, and each
    /// of its streams has its own bounds.
    static let local: [LogKind] = [.memory, .sqlite, .sqlitePower]

    /// The epoch floor of a partition whose channels all have lower epochs. A log that one process writes takes the time of its first start. A log that several
    /// processes share takes the owner epoch, because their clocks differ.
    func floor(_ ownerEpoch: OwnerEpoch = 1) -> UInt64 { self == .redis ? UInt64(ownerEpoch) << 24 : 1_700_000_000_000 }
}

/// A name that begins with `name` and whose channel is on this partition, of as many as ``ConformanceTests`` has.
private func name(_ name: String, on partition: PartitionID) -> String {
    (0...).lazy.map { "\(name)\($0)" }.first { ConformanceTests.partitions.partition(ofHash: channel($0).hash64) == partition }!
}

/// The behaviour that every log must have.
@Suite struct ConformanceTests {
    /// Tests that use several partitions place their channels with ``name(_:on:)``.
    fileprivate static let partitions = Partitions(count: 16)

    /// - Parameters:
    ///   - partitions: By default, all channels are on partition 0.
    ///   - trusting: Partitions in which the test uses epochs that are lower than their floor.
    private func withLog(
        _ kind: LogKind, partitions: Partitions = Partitions(count: 1), trusting: [PartitionID] = [0], limits: Limits = Limits(), sealed: Bool = true,
        _ body: (any Log, TestClock) async throws -> Void
    ) async throws {
        let clock = TestClock()
        if kind == .redis {
            return try await withRedisLog(partitions: partitions, limits: limits, clocks: clock.clocks) { log, server in
                try await log.trustEpochs(of: trusting, on: server)
                if sealed { _ = try await log.sealed(oneGrant) }
                try await body(log, clock)
            }
        }
        try await withTemporaryFolder { folder in
            let log: any Log =
                switch kind {
                case .memory: MemoryLog(limits: limits, clocks: clock.clocks)
                case .sqlite: try SQLiteLog(folder: folder, limits: limits, clocks: clock.clocks)
                case .sqlitePower: try SQLiteLog(folder: folder, durability: .power, limits: limits, clocks: clock.clocks)
                case .redis: fatalError("made above")
                }
            if sealed { _ = try await log.sealed(oneGrant) }
            do {
                try await body(log, clock)
            } catch {
                await log.close()
                throw error
            }
            await log.close()
        }
    }

    // MARK: - Append and read

    @Test(arguments: LogKind.allCases) func appendedEventsCanBeRead(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, clock in
            let batch = [
                event("a", position(7, 1), "first", type: "comment", messageID: "m1", at: clock.now),
                event("b", position(7, 1), "{\"β\":\"\0\"}", at: clock.now),
                event("a", position(7, 2), "", type: "", messageID: "a message id that is longer than fifteen bytes", at: clock.now + 1),
            ]
            try await log.append(batch)
            let a = try await log.read(channel("a"), after: position(7, 0), limit: 10, bytesMax: 1000)
            #expect(a.seen == [Seen(batch[0]), Seen(batch[2])])
            #expect(a.oldest == position(7, 1))
            let b = try await log.read(channel("b"), after: position(7, 0), limit: 10, bytesMax: 1000)
            #expect(b.seen == [Seen(batch[1])])
        }
    }

    @Test(arguments: LogKind.allCases) func readingStartsAfterThePosition(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, clock in
            try await log.append(events("a", 5, 1...20, at: clock.now))
            func offsets(after: Position, limit: Int = 100, bytesMax: Int = 100_000) async throws -> [UInt64] {
                try await log.read(channel("a"), after: after, limit: limit, bytesMax: bytesMax).offsets
            }
            #expect(try await offsets(after: position(5, 17)) == [18, 19, 20])
            #expect(try await offsets(after: position(5, 20)) == [])
            #expect(try await offsets(after: position(5, 99)) == [])
            // A position of an older epoch is before all events. A position of a newer epoch is after all events.
            #expect(try await offsets(after: position(4, 99), limit: 2) == [1, 2])
            #expect(try await offsets(after: position(6, 0)) == [])
            #expect(try await offsets(after: position(5, 3), limit: 4) == [4, 5, 6, 7])
            #expect(try await offsets(after: position(5, 3), limit: 0) == [])
            // A payload is `a 5-n`: five or six bytes.
            #expect(try await offsets(after: position(5, 3), bytesMax: 14) == [4, 5])
            #expect(try await offsets(after: position(5, 3), bytesMax: 15) == [4, 5, 6])
            #expect(try await offsets(after: position(5, 3), bytesMax: 0) == [4])
            // A subscriber can send any position.
            #expect(try await offsets(after: position(.max, .max)) == [])
        }
    }

    @Test(arguments: LogKind.allCases) func anUnknownChannelIsEmpty(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, _ in
            let slice = try await log.read(channel("unknown"), after: position(0, 0), limit: 10, bytesMax: 10)
            #expect(slice.events.isEmpty)
            #expect(slice.oldest == nil)
            try await log.append([])
        }
    }

    // MARK: - Repeated and refused

    @Test(arguments: LogKind.allCases) func aRepeatedBatchIsSkipped(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, clock in
            let batch = events("a", 5, 1...3, at: clock.now) + events("b", 5, 1...2, at: clock.now)
            try await log.append(batch)
            try await log.append(batch)
            #expect(try await log.read(channel("a"), after: position(5, 0), limit: 10, bytesMax: 1000).offsets == [1, 2, 3])
            // The first part of this batch is already stored, the rest is new.
            try await log.append(batch + events("a", 5, 4...5, at: clock.now) + events("c", 5, 1...1, at: clock.now))
            #expect(try await log.read(channel("a"), after: position(5, 0), limit: 10, bytesMax: 1000).offsets == [1, 2, 3, 4, 5])
            #expect(try await log.read(channel("b"), after: position(5, 0), limit: 10, bytesMax: 1000).offsets == [1, 2])
            #expect(try await log.read(channel("c"), after: position(5, 0), limit: 10, bytesMax: 1000).offsets == [1])
            if kind != .redis { #expect(await log.metrics.events == 8) }
        }
    }

    @Test(arguments: LogKind.allCases) func aBatchWithAnOlderEpochIsRefusedCompletely(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, clock in
            try await log.append(events("a", 5, 1...3, at: clock.now))
            let error = try await logError { try await log.append(events("b", 5, 1...1, at: clock.now) + events("a", 4, 9...9, at: clock.now)) }
            #expect(error.code == .fenced)
            #expect(try await log.read(channel("b"), after: position(0, 0), limit: 10, bytesMax: 1000).events.isEmpty)
        }
    }

    @Test(arguments: LogKind.allCases) func aNewEpochRemovesTheEventsOfTheOldEpoch(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, clock in
            try await log.append(events("a", 5, 1...3, at: clock.now) + events("a", 6, 1...2, at: clock.now))
            let slice = try await log.read(channel("a"), after: position(5, 1), limit: 10, bytesMax: 1000)
            #expect(slice.events.map(\.position) == [position(6, 1), position(6, 2)])
            #expect(slice.oldest == position(6, 1))
        }
    }

    // MARK: - Sealing

    @Test(arguments: LogKind.allCases) func appendsAndReadsBeforeSealingAreRefused(_ kind: LogKind) async throws {
        try await self.withLog(kind, sealed: false) { log, clock in
            let append = try await logError { try await log.append(events("a", 5, 1...1, at: clock.now)) }
            #expect(append.code == .fenced)
            let read = try await logError { _ = try await log.read(channel("a"), after: position(0, 0), limit: 1, bytesMax: 1) }
            #expect(read.code == .fenced)
        }
    }

    @Test(arguments: LogKind.allCases) func anOlderOwnerEpochIsFencedAndTheOtherPartitionsAreSealed(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, _ in
            _ = try await log.sealed([Grant(partition: 1, ownerEpoch: 5), Grant(partition: 2, ownerEpoch: 5)])
            let results = await log.seal([Grant(partition: 1, ownerEpoch: 9), Grant(partition: 2, ownerEpoch: 4), Grant(partition: 3, ownerEpoch: 1)])
            #expect(results.map(code) == [nil, .fenced, nil])
            #expect(try results[0].get().previousOwnerEpoch == 5 && results[0].get().keptEverything)
            #expect(try results[2].get().previousOwnerEpoch == nil && !results[2].get().keptEverything)
            // Partition 1 was sealed.
            #expect(await log.seal([Grant(partition: 1, ownerEpoch: 8)]).map(code) == [.fenced])
            #expect(await log.seal([Grant(partition: 1, ownerEpoch: 9), Grant(partition: 2, ownerEpoch: 6)]).map(code) == [nil, nil])
        }
    }

    /// The fence: calls of an older owner are refused, calls of a newer owner succeed.
    @Test(arguments: LogKind.allCases) func anAppendUnderAnOlderOwnerEpochIsRefused(_ kind: LogKind) async throws {
        try await self.withLog(kind, partitions: Self.partitions, trusting: [3]) { log, clock in
            let a = name("a", on: 3)
            let (old, new) = (Grant(partition: 3, ownerEpoch: 5), Grant(partition: 3, ownerEpoch: 6))
            _ = try await log.sealed([old])
            try await log.append(events(a, 5, 1...2, at: clock.now), under: old)
            #expect(await log.seal([new]).map(code) == [nil])
            let error = try await logError { try await log.append(events(a, 5, 3...3, at: clock.now), under: old) }
            #expect(error.code == .fenced && error.message.contains("newer than 5"))
            #expect(try await log.read(channel(a), after: position(5, 0), limit: 10, bytesMax: 1000).offsets == [1, 2])
            let heads = try await log.heads(of: [ChannelOfPartition(channel(a), old), ChannelOfPartition(channel(a), new)])
            #expect(heads.heads.map { $0?.head } == [nil, position(5, 2)])
            try await log.append(events(a, 5, 3...3, at: clock.now), under: new)
            #expect(try await log.read(channel(a), after: position(5, 0), limit: 10, bytesMax: 1000).offsets == [1, 2, 3])
            // Appending under a grant that was never sealed is refused too.
            #expect(
                try await logError { try await log.append(events(a, 5, 4...4, at: clock.now), under: Grant(partition: 3, ownerEpoch: 7)) }.code == .fenced)
            #expect(await log.metrics.error == nil)
        }
    }

    @Test(arguments: LogKind.allCases) func eachPartitionOfABatchHasItsOwnResult(_ kind: LogKind) async throws {
        try await self.withLog(kind, partitions: Self.partitions) { log, clock in
            let (a, b, c) = (name("a", on: 10), name("b", on: 11), name("c", on: 12))
            let grants = (0..<3).map { Grant(partition: $0 + 10, ownerEpoch: 2) }
            _ = try await log.sealed(grants)
            _ = await log.seal([Grant(partition: 11, ownerEpoch: 3)])
            var batch = LogBatch()
            let indices = grants.map { batch.add($0) }
            for offset in 1...3 as ClosedRange<UInt64> {
                for (name, index) in zip([a, b, c], indices) { batch.add(event(name, position(5, offset), at: clock.now), grantIndex: index) }
            }
            #expect(await log.append(batch).map(code) == [nil, .fenced, nil])
            #expect(try await log.read(channel(a), after: position(5, 0), limit: 10, bytesMax: 1000).offsets == [1, 2, 3])
            #expect(try await log.read(channel(b), after: position(5, 0), limit: 10, bytesMax: 1000).offsets == [])
            #expect(try await log.read(channel(c), after: position(5, 0), limit: 10, bytesMax: 1000).offsets == [1, 2, 3])
            // The same batch again: its events are already stored.
            #expect(await log.append(batch).map(code) == [nil, .fenced, nil])
            if kind != .redis { #expect(await log.metrics.events == 6) }
        }
    }

    @Test(arguments: LogKind.allCases) func sealingMayBeRepeatedAndAddPartitions(_ kind: LogKind) async throws {
        try await self.withLog(kind, trusting: [1, 2]) { log, clock in
            let (first, second) = (Grant(partition: 1, ownerEpoch: 1), Grant(partition: 2, ownerEpoch: 4))
            _ = try await log.sealed([first])
            try await log.append(events("a", 5, 1...2, at: clock.now), under: first)
            #expect(await log.seal([first, second]).map(code) == [nil, nil])
            try await log.append(events("a", 5, 3...3, at: clock.now), under: first)
            try await log.append(events("b", 5, 1...1, at: clock.now), under: second)
            #expect(try await log.sealed([first, second]).headsByName == ["a": position(5, 3), "b": position(5, 1)])
        }
    }

    @Test(arguments: LogKind.allCases) func aReleasedPartitionIsNotServedAndStaysFenced(_ kind: LogKind) async throws {
        try await self.withLog(kind, trusting: [1]) { log, clock in
            let grant = Grant(partition: 1, ownerEpoch: 5)
            _ = try await log.sealed([grant])
            try await log.append(events("a", 5, 1...2, at: clock.now), under: grant)
            await log.release([Grant(partition: 1, ownerEpoch: 4), Grant(partition: 9, ownerEpoch: 1)])
            try await log.append(events("a", 5, 3...3, at: clock.now), under: grant)
            await log.release([grant])
            #expect(try await logError { try await log.append(events("a", 5, 4...4, at: clock.now), under: grant) }.code == .fenced)
            #expect(await log.seal([Grant(partition: 1, ownerEpoch: 4)]).map(code) == [.fenced])
            // The partition still has all its events.
            let next = Grant(partition: 1, ownerEpoch: 6)
            #expect(try await log.sealed([next]).headsByName == ["a": position(5, 3)])
            try await log.append(events("a", 5, 4...4, at: clock.now), under: next)
        }
    }

    @Test(arguments: LogKind.allCases) func headsAreReadWithTheirMessageIDs(_ kind: LogKind) async throws {
        var limits = Limits()
        limits.historySecondsMax = 100
        try await self.withLog(kind, limits: limits) { log, clock in
            try await log.append([event("a", position(5, 1), messageID: "old", at: clock.now)])
            clock.advance(seconds: 60)
            try await log.append([
                event("a", position(5, 2), at: clock.now), event("b", position(6, 1), messageID: "b", at: clock.now),
                event("a", position(5, 3), messageID: "new", at: clock.now),
            ])
            // A log on Redis counts its channels when it verifies its seals.
            _ = await log.verify(oneGrant)
            func heads(_ names: [String]) async throws -> LogHeads {
                try await log.heads(of: names.map { ChannelOfPartition(channel($0), oneGrant[0]) })
            }
            var found = try await heads(["b", "unknown", "a"])
            #expect(found.heads.map { $0?.head } == [position(6, 1), position(kind.floor(), 0), position(5, 3)])
            #expect(found.heads.map { $0?.messageIDs.map(\.messageID) } == [["b"], [], ["old", "new"]])
            #expect(found.heads[2]?.messageIDs.map(\.position) == [position(5, 1), position(5, 3)])
            #expect(found.heads[2]?.messageIDs.map(\.timestamp) == [clock.now - 60_000, clock.now])
            #expect(found.channelCount == 2)
            clock.advance(seconds: 41)
            found = try await heads(["a"])
            #expect(found.heads[0]?.messageIDs.map(\.messageID) == ["new"])
            try await log.trim(now: clock.now)
            clock.advance(seconds: 100)
            try await log.trim(now: clock.now)
            found = try await heads(["a"])
            #expect(found.heads[0]?.head == position(5, 3) && found.heads[0]?.messageIDs.isEmpty == true)
        }
    }

    @Test(arguments: LogKind.allCases) func rememberedChannelsAreReturnedInSlices(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, clock in
            for number in 0..<50 { try await log.append(events("c\(number)", 5, 1...1, at: clock.now)) }
            try await log.forget([channel("c7"), channel("c8")])
            var names: [String] = []
            var next: RememberedPlace? = .start
            while let place = next {
                let slice = try await log.remembered(from: place, count: 7)
                // Redis returns a small hash as a whole, whatever the count.
                #expect((slice.channels.count <= 7 || kind == .redis) && slice.channels.allSatisfy { $0.head == position(5, 1) && $0.timestamp == clock.now })
                names += slice.channels.map(\.channel.string)
                next = slice.next
            }
            #expect(Set(names) == Set((0..<50).map { "c\($0)" }).subtracting(["c7", "c8"]) && names.count == 48)
        }
    }

    @Test(arguments: LogKind.allCases) func batchesOfSeveralSequencersAreStored(_ kind: LogKind) async throws {
        try await self.withLog(kind, partitions: Self.partitions) { log, clock in
            let grants = (0..<8).map { Grant(partition: $0, ownerEpoch: 2) }
            _ = try await log.sealed(grants)
            // The fenced partition does not affect the results of the other partitions.
            _ = await log.seal([Grant(partition: 5, ownerEpoch: 3)])
            try await withThrowingTaskGroup(of: Void.self) { group in
                for grant in grants {
                    group.addTask {
                        for offset in 1...40 as ClosedRange<UInt64> {
                            let batch = LogBatch(events(name("p", on: grant.partition), 5, offset...offset, at: clock.now), under: grant)
                            #expect(await log.append(batch).map(code) == [grant.partition == 5 ? .fenced : nil])
                        }
                    }
                }
                try await group.waitForAll()
            }
            for grant in grants {
                let offsets = try await log.read(channel(name("p", on: grant.partition)), after: position(5, 0), limit: 100, bytesMax: 10_000).offsets
                #expect(offsets == (grant.partition == 5 ? [] : Array(1...40)))
            }
        }
    }

    @Test(arguments: LogKind.allCases) func sealingKeepsHeadsAndMessageIDs(_ kind: LogKind) async throws {
        var limits = Limits()
        limits.historySecondsMax = 100
        try await self.withLog(kind, limits: limits) { log, clock in
            try await log.append([event("a", position(5, 1), messageID: "too old", at: clock.now)])
            clock.advance(seconds: 101)
            let ids = (1...4).map { event("b", position(6, $0), messageID: "id \($0)", at: clock.now) }
            try await log.append(ids + [event("c", position(6, 1), at: clock.now)])
            let contents = try await log.sealed([Grant(partition: 0, ownerEpoch: 3)])
            #expect(contents.headsByName == ["a": position(5, 1), "b": position(6, 4), "c": position(6, 1)])
            #expect(contents.heads.first { $0.channel == channel("a") }?.timestamp == clock.now - 101_000)
            #expect(contents.messageIDs.map(\.messageID) == ["id 1", "id 2", "id 3", "id 4"])
            #expect(contents.messageIDs.map(\.position) == (1...4).map { position(6, $0) })
            // Everything was kept since the first seal: a channel without an event gets no new epoch by a change of its owner.
            #expect(contents.epochFloor == kind.floor())
        }
    }

    @Test(arguments: LogKind.allCases) func theEpochFloorIsAtLeastTheOwnerEpoch(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, _ in
            // Redis has 53 bits for an epoch.
            let grant = Grant(partition: 9, ownerEpoch: kind == .redis ? 1 << 28 : 1_900_000_000_000)
            let high = try await log.sealed([grant]).epochFloor
            #expect(kind == .redis ? high > grant.ownerEpoch : high == 1_900_000_000_000)
            let found = try await log.heads(of: [ChannelOfPartition(channel("a"), grant)])
            #expect(found.heads[0]?.head == position(high, 0))
            let low = try await log.sealed(oneGrant)
            #expect(low.epochFloor == kind.floor())
        }
    }

    // MARK: - Bounds

    @Test(arguments: LogKind.allCases) func theEventsOfAChannelAreLimited(_ kind: LogKind) async throws {
        var limits = Limits()
        limits.historyEventsMax = 4
        try await self.withLog(kind, limits: limits) { log, clock in
            for offset in 1...10 as ClosedRange<UInt64> { try await log.append(events("a", 5, offset...offset, at: clock.now)) }
            let slice = try await log.read(channel("a"), after: position(5, 2), limit: 10, bytesMax: 1000)
            #expect(slice.offsets == [7, 8, 9, 10])
            #expect(slice.oldest == position(5, 7))
            if kind != .redis { #expect(await log.metrics.events == 4) }
        }
    }

    @Test(arguments: LogKind.allCases) func expiredEventsAreNotReadEvenBeforeTheTrim(_ kind: LogKind) async throws {
        var limits = Limits()
        limits.historySecondsMax = 60
        try await self.withLog(kind, limits: limits) { log, clock in
            try await log.append(events("a", 5, 1...2, at: clock.now))
            clock.advance(seconds: 30)
            try await log.append(events("a", 5, 3...4, at: clock.now))
            clock.advance(seconds: 31)
            let slice = try await log.read(channel("a"), after: position(5, 0), limit: 10, bytesMax: 1000)
            #expect(slice.offsets == [3, 4])
            #expect(slice.oldest == position(5, 3))
            clock.advance(seconds: 31)
            let none = try await log.read(channel("a"), after: position(5, 0), limit: 10, bytesMax: 1000)
            #expect(none.offsets == [])
            #expect(none.oldest == nil)
        }
    }

    @Test(arguments: LogKind.allCases) func trimmingDeletesExpiredEventsAndKeepsHeads(_ kind: LogKind) async throws {
        var limits = Limits()
        limits.historySecondsMax = 60
        try await self.withLog(kind, limits: limits) { log, clock in
            try await log.append(events("a", 5, 1...3000, at: clock.now) + events("b", 5, 1...2, at: clock.now))
            clock.advance(seconds: 50)
            try await log.append(events("b", 5, 3...3, at: clock.now))
            clock.advance(seconds: 11)
            try await log.trim(now: clock.now)
            let metrics = await log.metrics
            if kind != .redis {
                #expect(metrics.events == 1)
                #expect(metrics.bytes == event("b", position(5, 3), "b 5-3", at: 0).event.accountedBytes)
                #expect(metrics.channels == 2)
            }
            #expect(try await log.sealed(oneGrant).headsByName == ["a": position(5, 3000), "b": position(5, 3)])
            try await log.append(events("a", 5, 3001...3001, at: clock.now))
            #expect(try await log.read(channel("a"), after: position(5, 0), limit: 10, bytesMax: 1000).offsets == [3001])
        }
    }

    @Test(arguments: LogKind.local) func theOldestEventsOfAllChannelsAreDeletedFirst(_ kind: LogKind) async throws {
        var limits = Limits()
        limits.historyBytesMax = 200_000
        try await self.withLog(kind, limits: limits) { log, clock in
            let payload = String(repeating: "x", count: 1000 - 64 - 1)
            for offset in 1...300 as ClosedRange<UInt64> {
                let name = offset % 3 == 0 ? "b" : "a"
                let next = try await log.sealed(oneGrant).headsByName[name]?.offset ?? 0
                try await log.append([event(name, position(5, next + 1), payload, at: clock.now)])
            }
            try await log.trim(now: clock.now)
            // About 67 events of `a` and 33 of `b` were deleted. A log may delete a few more, because it deletes in small steps.
            let metrics = await log.metrics
            #expect(metrics.bytes <= 200_000)
            #expect(metrics.bytes >= 190_000)
            let a = try #require(try await log.read(channel("a"), after: position(5, 0), limit: 1, bytesMax: 1).oldest)
            let b = try #require(try await log.read(channel("b"), after: position(5, 0), limit: 1, bytesMax: 1).oldest)
            #expect((67...72).contains(a.offset))
            #expect((34...37).contains(b.offset))
        }
    }

    // MARK: - Forgetting

    @Test(arguments: LogKind.allCases) func forgettingAChannelRemovesItsHeadAndRaisesTheFloor(_ kind: LogKind) async throws {
        var limits = Limits()
        limits.historySecondsMax = 60
        try await self.withLog(kind, limits: limits) { log, clock in
            try await log.append(
                events("a", 1_800_000_000_000, 1...3, at: clock.now) + events("b", 5, 1...3, at: clock.now) + events("c", 5, 1...1, at: clock.now))
            clock.advance(seconds: 100)
            try await log.trim(now: clock.now)
            try await log.forget([channel("a"), channel("unknown")])
            var contents = try await log.sealed(oneGrant)
            #expect(contents.headsByName == ["b": position(5, 3), "c": position(5, 1)])
            #expect(contents.epochFloor == 1_800_000_000_001)
            // Forgetting a channel with a lower epoch does not change the floor.
            try await log.forget([channel("c")])
            contents = try await log.sealed(oneGrant)
            #expect(contents.epochFloor == 1_800_000_000_001)
            // A fenced owner forgets nothing.
            try await log.forget([Grant(partition: 0, ownerEpoch: 0): [channel("b")]], writtenBefore: .max)
            #expect(try await log.sealed(oneGrant).headsByName == ["b": position(5, 3)])
            let comeback = events("a", contents.epochFloor, 1...1, at: clock.now)
            try await log.append(comeback)
            #expect(try await log.read(channel("a"), after: position(5, 3), limit: 10, bytesMax: 1000).seen == comeback.map(Seen.init))
        }
    }

    /// An append may be committed after a caller has found old channels and before it requests to forget them.
    @Test(arguments: LogKind.allCases) func aChannelThatWasWrittenMeanwhileIsNotForgotten(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, clock in
            try await log.append(events("a", 5, 1...3, at: clock.now) + events("b", 5, 1...3, at: clock.now))
            clock.advance(seconds: 10)
            let oldest = clock.now
            try await log.append(events("a", 5, 4...4, at: clock.now))
            try await log.forget([channel("a"), channel("b")], writtenBefore: oldest)
            let contents = try await log.sealed(oneGrant)
            #expect(contents.headsByName == ["a": position(5, 4)])
            #expect(try await log.read(channel("a"), after: position(5, 1), limit: 10, bytesMax: 1000).offsets == [2, 3, 4])
        }
    }

    @Test(arguments: LogKind.allCases) func aChannelIsForgottenWithItsHistory(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, clock in
            try await log.append(events("a", 5, 1...3, at: clock.now) + events("b", 5, 1...3, at: clock.now))
            try await log.forget([channel("a")])
            #expect(try await log.read(channel("a"), after: position(0, 0), limit: 10, bytesMax: 1000).events.isEmpty)
            if kind != .redis { #expect(await log.metrics.events == 3) }
            try await log.append(events("a", 6, 1...2, at: clock.now))
            #expect(try await log.read(channel("a"), after: position(0, 0), limit: 10, bytesMax: 1000).offsets == [1, 2])
            // A log on Redis counts its channels when it verifies its seals.
            _ = await log.verify(oneGrant)
            #expect(await log.metrics.channels == 2)
        }
    }

    // MARK: - Readers and a writer together

    @Test(arguments: LogKind.allCases) func readersSeeEveryEventOnceWhileTheWriterContinues(_ kind: LogKind) async throws {
        var limits = Limits()
        limits.historyEventsMax = 50
        limits.historyBytesMax = 100_000
        try await self.withLog(kind, limits: limits) { log, clock in
            let last: UInt64 = 3000
            try await withThrowingTaskGroup(of: Void.self) { group in
                for reader in 0..<4 {
                    group.addTask {
                        var position = position(5, 0)
                        while position.offset < last {
                            let slice = try await log.read(channel("a"), after: position, limit: 20, bytesMax: 10_000)
                            // The slice is contiguous. If events before it are missing, it starts at `oldest`.
                            if let first = slice.events.first {
                                #expect(first.position == max(position.next, slice.oldest ?? position.next), "reader \(reader)")
                                #expect(slice.offsets == Array(first.position.offset..<first.position.offset + UInt64(slice.events.count)))
                                position = slice.events.last!.position
                            } else {
                                // The log in memory never suspends. Without this yield the readers would use all threads of the pool.
                                await Task.yield()
                            }
                        }
                    }
                }
                var offset: UInt64 = 1
                while offset <= last {
                    try await log.append(events("a", 5, offset...(offset + 9), at: clock.now) + events("b", 5, offset...(offset + 9), at: clock.now))
                    offset += 10
                    if offset % 200 == 1 { try await log.trim(now: clock.now) }
                }
                try await group.waitForAll()
            }
        }
    }
}

/// The code of the error. Nil for a success.
func code<Value>(_ result: Result<Value, LogError>) -> LogError.Code? {
    if case .failure(let error) = result { error.code } else { nil }
}
