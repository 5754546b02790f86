import Pipeline
import PipelineTestKit
import Storage
import TestKit
import Testing

/// Ages must be correct when the wall clock is set.
@Suite struct ClocksTests {
    @Test func aStoredTimeInTheFutureCountsAsNow() {
        let ages = StoredAges(wall: 10_000, steady: 50_000)
        #expect(ages.steady(of: 10_000) == 50_000)
        #expect(ages.steady(of: 4_000) == 44_000)
        #expect(ages.steady(of: 10_001) == 50_000)
        #expect(ages.steady(of: .max) == 50_000)
        #expect(ages.steady(of: .min) == 40_000)
    }

    @Test func theSteadyClockStartsAtTheTimeOfDayAndAdvances() async throws {
        let clocks = Clocks { 1_000_000 }
        let first = clocks.steady()
        #expect(first >= 1_000_000 && first < 1_000_000 + 3_600_000)
        try await Task.sleep(for: .milliseconds(5))
        #expect(clocks.steady() >= first + 5)
        #expect(clocks.wall() == 1_000_000)
    }

    enum Kind: String, CaseIterable { case memory, sqlite }

    private static func withLog(_ kind: Kind, _ body: (any Log, TestClock) async throws -> Void) async throws {
        try await withTemporaryFolder { folder in
            let clock = TestClock()
            var limits = Limits()
            limits.historySecondsMax = 10
            let log: any Log =
                switch kind {
                case .memory: MemoryLog(limits: limits, clocks: clock.clocks)
                case .sqlite: try SQLiteLog(folder: folder, limits: limits, clocks: clock.clocks)
                }
            _ = try await log.sealed(oneGrant)
            try await body(log, clock)
            await log.close()
        }
    }

    @Test(arguments: Kind.allCases, [-3600, 3600] as [Int64])
    func historyAgesByTheSteadyClock(kind: Kind, step: Int64) async throws {
        try await Self.withLog(kind) { log, clock in
            try await log.append(events("a", 1, 1...3, at: clock.clocks.wall()))
            clock.setWall(ahead: step)
            try await log.append(events("a", 1, 4...5, at: clock.clocks.wall()))
            clock.advance(seconds: 5)
            try await log.trim(now: clock.clocks.steady())
            #expect(try await log.read(channel("a"), after: position(1, 0), limit: 10, bytesMax: 1000).offsets == [1, 2, 3, 4, 5])
            clock.advance(seconds: 6)
            #expect(try await log.read(channel("a"), after: position(1, 0), limit: 10, bytesMax: 1000).offsets == [])
            try await log.trim(now: clock.clocks.steady())
            #expect(await log.metrics.events == 0)
        }
    }

    @Test(arguments: [3600, 31_536_000] as [Int64])
    func eventsStoredWhileTheClockWasAheadExpireOnTime(ahead: Int64) async throws {
        try await withTemporaryFolder { folder in
            var limits = Limits()
            limits.historySecondsMax = 10
            let clock = TestClock()
            clock.setWall(ahead: ahead)
            var log = try SQLiteLog(folder: folder, limits: limits, clocks: clock.clocks)
            _ = try await log.sealed(oneGrant)
            try await log.append([event("a", position(1, 1), messageID: "m", at: clock.clocks.wall())])
            await log.close()
            clock.setWall(ahead: 0)
            log = try SQLiteLog(folder: folder, limits: limits, clocks: clock.clocks)
            let contents = try await log.sealed(oneGrant)
            #expect(contents.heads.map(\.timestamp) == [clock.now] && contents.messageIDs.map(\.timestamp) == [clock.now])
            clock.advance(seconds: 9)
            #expect(try await log.read(channel("a"), after: position(1, 0), limit: 10, bytesMax: 1000).offsets == [1])
            clock.advance(seconds: 2)
            try await log.trim(now: clock.now)
            #expect(await log.metrics.events == 0)
            await log.close()
        }
    }

    @Test func eventsKeepTheirAgeAcrossARestart() async throws {
        try await withTemporaryFolder { folder in
            var limits = Limits()
            limits.historySecondsMax = 10
            let clock = TestClock()
            var log = try SQLiteLog(folder: folder, limits: limits, clocks: clock.clocks)
            _ = try await log.sealed(oneGrant)
            try await log.append([event("a", position(1, 1), at: clock.now)])
            await log.close()
            // Simulates another process, which has another steady clock.
            let later = Clocks(wall: { clock.now + 8000 }, steady: { 500 })
            log = try SQLiteLog(folder: folder, limits: limits, clocks: later)
            #expect(try await log.sealed(oneGrant).heads.map(\.timestamp) == [500 - 8000])
            #expect(try await log.read(channel("a"), after: position(1, 0), limit: 10, bytesMax: 1000).offsets == [1])
            try await log.trim(now: 2501)
            #expect(await log.metrics.events == 0)
            await log.close()
        }
    }
}
