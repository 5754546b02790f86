import Partitioning
import Pipeline
import Storage
import TestKit
import Testing

enum LogKind: String, CaseIterable, Sendable {
    case memory, sqlite, sqlitePower
}

/// What every log must do, whatever it is made of.
@Suite struct ConformanceTests {
    private func withLog(
        _ kind: LogKind, limits: Limits = Limits(), sealed: Bool = true, _ body: (any Log, TestClock) async throws -> Void
    ) async throws {
        let clock = TestClock()
        try await withTemporaryFolder { folder in
            let log: any Log =
                switch kind {
                case .memory: MemoryLog(limits: limits, clocks: clock.clocks)
                case .sqlite: try SQLiteLog(folder: folder, limits: limits, clocks: clock.clocks)
                case .sqlitePower: try SQLiteLog(folder: folder, durability: .power, limits: limits, clocks: clock.clocks)
                }
            if sealed { _ = try await log.seal(oneGrant) }
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

    @Test(arguments: LogKind.allCases) func whatIsAppendedIsRead(_ kind: LogKind) async throws {
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

    @Test(arguments: LogKind.allCases) func readingBeginsAfterThePosition(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, clock in
            try await log.append(events("a", 5, 1...20, at: clock.now))
            func offsets(after: Position, limit: Int = 100, bytesMax: Int = 100_000) async throws -> [UInt64] {
                try await log.read(channel("a"), after: after, limit: limit, bytesMax: bytesMax).offsets
            }
            #expect(try await offsets(after: position(5, 17)) == [18, 19, 20])
            #expect(try await offsets(after: position(5, 20)) == [])
            #expect(try await offsets(after: position(5, 99)) == [])
            // An older epoch is before everything, a newer one after it.
            #expect(try await offsets(after: position(4, 99), limit: 2) == [1, 2])
            #expect(try await offsets(after: position(6, 0)) == [])
            #expect(try await offsets(after: position(5, 3), limit: 4) == [4, 5, 6, 7])
            #expect(try await offsets(after: position(5, 3), limit: 0) == [])
            // A payload is `a 5-n`: five or six bytes.
            #expect(try await offsets(after: position(5, 3), bytesMax: 14) == [4, 5])
            #expect(try await offsets(after: position(5, 3), bytesMax: 15) == [4, 5, 6])
            #expect(try await offsets(after: position(5, 3), bytesMax: 0) == [4])
        }
    }

    @Test(arguments: LogKind.allCases) func aChannelThatNobodyKnowsIsEmpty(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, _ in
            let slice = try await log.read(channel("nobody"), after: position(0, 0), limit: 10, bytesMax: 10)
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
            // Half old, half new.
            try await log.append(batch + events("a", 5, 4...5, at: clock.now) + events("c", 5, 1...1, at: clock.now))
            #expect(try await log.read(channel("a"), after: position(5, 0), limit: 10, bytesMax: 1000).offsets == [1, 2, 3, 4, 5])
            #expect(try await log.read(channel("b"), after: position(5, 0), limit: 10, bytesMax: 1000).offsets == [1, 2])
            #expect(try await log.read(channel("c"), after: position(5, 0), limit: 10, bytesMax: 1000).offsets == [1])
            #expect(await log.statistics.events == 8)
        }
    }

    @Test(arguments: LogKind.allCases) func anOlderEpochIsRefusedAndItsBatchWithIt(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, clock in
            try await log.append(events("a", 5, 1...3, at: clock.now))
            let error = try await logError { try await log.append(events("b", 5, 1...1, at: clock.now) + events("a", 4, 9...9, at: clock.now)) }
            #expect(error.code == .fenced)
            #expect(try await log.read(channel("b"), after: position(0, 0), limit: 10, bytesMax: 1000).events.isEmpty)
        }
    }

    @Test(arguments: LogKind.allCases) func aNewEpochBeginsAnew(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, clock in
            try await log.append(events("a", 5, 1...3, at: clock.now) + events("a", 6, 1...2, at: clock.now))
            let slice = try await log.read(channel("a"), after: position(5, 1), limit: 10, bytesMax: 1000)
            #expect(slice.events.map(\.position) == [position(6, 1), position(6, 2)])
            #expect(slice.oldest == position(6, 1))
        }
    }

    // MARK: - Sealing

    @Test(arguments: LogKind.allCases) func nothingGoesBeforeSealing(_ kind: LogKind) async throws {
        try await self.withLog(kind, sealed: false) { log, clock in
            let append = try await logError { try await log.append(events("a", 5, 1...1, at: clock.now)) }
            #expect(append.code == .fenced)
            let read = try await logError { _ = try await log.read(channel("a"), after: position(0, 0), limit: 1, bytesMax: 1) }
            #expect(read.code == .fenced)
        }
    }

    @Test(arguments: LogKind.allCases) func anOlderOwnerEpochIsFenced(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, _ in
            _ = try await log.seal([Grant(partition: 1, ownerEpoch: 5), Grant(partition: 2, ownerEpoch: 5)])
            let error = try await logError { _ = try await log.seal([Grant(partition: 1, ownerEpoch: 9), Grant(partition: 2, ownerEpoch: 4)]) }
            #expect(error.code == .fenced)
            // Whole or not at all: partition 1 was not taken.
            _ = try await log.seal([Grant(partition: 1, ownerEpoch: 5), Grant(partition: 2, ownerEpoch: 6)])
        }
    }

    @Test(arguments: LogKind.allCases) func sealingAnswersWhatIsThere(_ kind: LogKind) async throws {
        var limits = Limits()
        limits.historySecondsMax = 100
        limits.messageIDsMax = 3
        try await self.withLog(kind, limits: limits) { log, clock in
            try await log.append([event("a", position(5, 1), messageID: "too old", at: clock.now)])
            clock.advance(seconds: 101)
            let ids = (1...4).map { event("b", position(6, $0), messageID: "id \($0)", at: clock.now) }
            try await log.append(ids + [event("c", position(6, 1), at: clock.now)])
            let contents = try await log.seal([Grant(partition: 0, ownerEpoch: 3)])
            #expect(contents.headsByName == ["a": position(5, 1), "b": position(6, 4), "c": position(6, 1)])
            #expect(contents.heads.first { $0.channel == channel("a") }?.timestamp == clock.now - 101_000)
            #expect(contents.messageIDs.map(\.messageID) == ["id 2", "id 3", "id 4"])
            #expect(contents.messageIDs.map(\.position) == [position(6, 2), position(6, 3), position(6, 4)])
            #expect(contents.epochFloor == 1_700_000_000_000)
        }
    }

    @Test(arguments: LogKind.allCases) func theFloorIsAtLeastTheOwnerEpochs(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, _ in
            let high = try await log.seal([Grant(partition: 9, ownerEpoch: 1_900_000_000_000)])
            #expect(high.epochFloor == 1_900_000_000_000)
            let low = try await log.seal(oneGrant)
            #expect(low.epochFloor == 1_900_000_000_000)
        }
    }

    // MARK: - Bounds

    @Test(arguments: LogKind.allCases) func aChannelKeepsSoManyEvents(_ kind: LogKind) async throws {
        var limits = Limits()
        limits.historyEventsMax = 4
        try await self.withLog(kind, limits: limits) { log, clock in
            for offset in 1...10 as ClosedRange<UInt64> { try await log.append(events("a", 5, offset...offset, at: clock.now)) }
            let slice = try await log.read(channel("a"), after: position(5, 2), limit: 10, bytesMax: 1000)
            #expect(slice.offsets == [7, 8, 9, 10])
            #expect(slice.oldest == position(5, 7))
            #expect(await log.statistics.events == 4)
        }
    }

    @Test(arguments: LogKind.allCases) func whatExpiredIsNotReadEvenBeforeTheTrim(_ kind: LogKind) async throws {
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

    @Test(arguments: LogKind.allCases) func trimmingDropsWhatExpiredAndKeepsHeads(_ kind: LogKind) async throws {
        var limits = Limits()
        limits.historySecondsMax = 60
        try await self.withLog(kind, limits: limits) { log, clock in
            try await log.append(events("a", 5, 1...3000, at: clock.now) + events("b", 5, 1...2, at: clock.now))
            clock.advance(seconds: 50)
            try await log.append(events("b", 5, 3...3, at: clock.now))
            clock.advance(seconds: 11)
            try await log.trim(now: clock.now)
            let statistics = await log.statistics
            #expect(statistics.events == 1)
            #expect(statistics.bytes == event("b", position(5, 3), "b 5-3", at: 0).event.cost)
            #expect(statistics.channels == 2)
            #expect(try await log.seal(oneGrant).headsByName == ["a": position(5, 3000), "b": position(5, 3)])
            try await log.append(events("a", 5, 3001...3001, at: clock.now))
            #expect(try await log.read(channel("a"), after: position(5, 0), limit: 10, bytesMax: 1000).offsets == [3001])
        }
    }

    @Test(arguments: LogKind.allCases) func theOldestOfAllGoFirst(_ kind: LogKind) async throws {
        var limits = Limits()
        limits.historyBytesMax = 200_000
        try await self.withLog(kind, limits: limits) { log, clock in
            let payload = String(repeating: "x", count: 1000 - 64 - 1)
            for offset in 1...300 as ClosedRange<UInt64> {
                let name = offset % 3 == 0 ? "b" : "a"
                let next = try await log.seal(oneGrant).headsByName[name]?.offset ?? 0
                try await log.append([event(name, position(5, next + 1), payload, at: clock.now)])
            }
            try await log.trim(now: clock.now)
            // 100 of `a` and 50 of `b` have gone, or a few more: a log may let go in small steps.
            let statistics = await log.statistics
            #expect(statistics.bytes <= 200_000)
            #expect(statistics.bytes >= 190_000)
            let a = try #require(try await log.read(channel("a"), after: position(5, 0), limit: 1, bytesMax: 1).oldest)
            let b = try #require(try await log.read(channel("b"), after: position(5, 0), limit: 1, bytesMax: 1).oldest)
            #expect((67...72).contains(a.offset))
            #expect((34...37).contains(b.offset))
        }
    }

    // MARK: - Forgetting

    @Test(arguments: LogKind.allCases) func aForgottenChannelIsGoneAndTheFloorIsRaised(_ kind: LogKind) async throws {
        var limits = Limits()
        limits.historySecondsMax = 60
        try await self.withLog(kind, limits: limits) { log, clock in
            try await log.append(events("a", 5, 1...3, at: clock.now) + events("b", 5, 1...3, at: clock.now))
            clock.advance(seconds: 100)
            try await log.trim(now: clock.now)
            try await log.forget([channel("a"), channel("nobody")], epochFloor: 1_800_000_000_000)
            var contents = try await log.seal(oneGrant)
            #expect(contents.headsByName == ["b": position(5, 3)])
            #expect(contents.epochFloor == 1_800_000_000_000)
            // A lower floor changes nothing.
            try await log.forget([], epochFloor: 7)
            contents = try await log.seal(oneGrant)
            #expect(contents.epochFloor == 1_800_000_000_000)
            let comeback = events("a", contents.epochFloor, 1...1, at: clock.now)
            try await log.append(comeback)
            #expect(try await log.read(channel("a"), after: position(5, 3), limit: 10, bytesMax: 1000).seen == comeback.map(Seen.init))
        }
    }

    @Test(arguments: LogKind.allCases) func aChannelIsForgottenWithItsHistory(_ kind: LogKind) async throws {
        try await self.withLog(kind) { log, clock in
            try await log.append(events("a", 5, 1...3, at: clock.now) + events("b", 5, 1...3, at: clock.now))
            try await log.forget([channel("a")], epochFloor: 6)
            #expect(try await log.read(channel("a"), after: position(0, 0), limit: 10, bytesMax: 1000).events.isEmpty)
            #expect(await log.statistics.events == 3)
            try await log.append(events("a", 6, 1...2, at: clock.now))
            #expect(try await log.read(channel("a"), after: position(0, 0), limit: 10, bytesMax: 1000).offsets == [1, 2])
            #expect(await log.statistics.channels == 2)
        }
    }

    // MARK: - Together

    @Test(arguments: LogKind.allCases) func readersSeeEveryEventOnceWhileTheWriterGoesOn(_ kind: LogKind) async throws {
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
                            // Contiguous in itself; a hole before it is announced by `oldest`.
                            if let first = slice.events.first {
                                #expect(first.position == max(position.next, slice.oldest ?? position.next), "reader \(reader)")
                                #expect(slice.offsets == Array(first.position.offset..<first.position.offset + UInt64(slice.events.count)))
                                position = slice.events.last!.position
                            } else {
                                // The log in memory never suspends, and threads are few.
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
