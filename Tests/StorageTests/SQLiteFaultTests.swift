import GRDB
import NIOCore
import Pipeline
import PipelineTestKit
import Storage
import TestKit
import Testing

/// Full and broken disks, and the log's error messages. When the fault ends, the log must continue without a restart.
@Suite struct SQLiteFaultTests {
    private func withFaultyLog(
        durability: Durability = .process, limits: Limits = Limits(), _ body: (SQLiteLog, Faults, TestClock, String) async throws -> Void
    ) async throws {
        let clock = TestClock()
        try await withTemporaryFolder { folder in
            let faults = Faults(folder: folder)
            let log = try SQLiteLog(folder: folder, durability: durability, limits: limits, clocks: clock.clocks)
            _ = try await log.sealed(oneGrant)
            do {
                try await body(log, faults, clock, folder)
            } catch {
                faults.heal()
                await log.close()
                throw error
            }
            faults.heal()
            await log.close()
        }
    }

    private func offsets(_ log: SQLiteLog, _ name: String) async throws -> [UInt64] {
        try await log.read(channel(name), after: position(0, 0), limit: .max, bytesMax: .max).offsets
    }

    /// The checkpoint may need a moment to detect that the disk works again.
    private func expectNoError(_ log: SQLiteLog, _ clock: TestClock) async throws {
        for _ in 0..<500 where await log.metrics.error != nil {
            try await log.trim(now: clock.now)
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(await log.metrics.error == nil)
    }

    // MARK: - Appending

    @Test func aFullDiskRefusesBatchesUntilThereIsSpaceAgain() async throws {
        try await self.withFaultyLog { log, faults, clock, folder in
            try await log.append(events("a", 5, 1...3, at: clock.now))
            faults.set { $0.space = 0 }
            let error = try await logError { try await log.append(events("a", 5, 4...6, at: clock.now) + events("b", 5, 1...1, at: clock.now)) }
            #expect(error.code == .unavailable)
            #expect(error.message.contains(folder))
            #expect(error.message.contains("space"))
            #expect(try await self.offsets(log, "a") == [1, 2, 3])
            let full = await log.metrics
            #expect(full.failures == 1)
            #expect(full.error == error.message)

            faults.heal()
            // Other events get the positions of the refused events.
            let others = [event("a", position(5, 4), "another", at: clock.now)]
            try await log.append(others)
            let slice = try await log.read(channel("a"), after: position(5, 3), limit: 10, bytesMax: 1000)
            #expect(slice.seen == others.map(Seen.init))
            #expect(try await self.offsets(log, "b") == [])
            #expect(await log.metrics.commits == 2)
            try await self.expectNoError(log, clock)
        }
    }

    @Test func theErrorEndsWithItsCauseEvenWithoutAppends() async throws {
        try await self.withFaultyLog { log, faults, clock, folder in
            faults.set { $0.space = 0 }
            _ = try await logError { try await log.append(events("a", 5, 1...1, at: clock.now)) }
            _ = try await logError { try await log.trim(now: clock.now) }
            #expect(await log.metrics.error != nil)
            faults.heal()
            try await self.expectNoError(log, clock)
        }
    }

    @Test func aDiskThatFillsUpDuringABatchStoresNoneOfTheBatch() async throws {
        try await self.withFaultyLog { log, faults, clock, folder in
            let payload = ByteBuffer(repeating: 7, count: 60_000)
            let batch = (1...200).map { offset in
                SequencedEvent(event: Event(channel: channel("big"), payload: payload), position: position(5, offset), timestamp: clock.now)
            }
            // The batch is larger than SQLite's cache, so pages are written long before the commit.
            faults.set { $0.space = 9_000_000 }
            let error = try await logError { try await log.append(batch) }
            #expect(error.code == .unavailable)
            faults.heal()
            #expect(try await self.offsets(log, "big") == [])
            try await log.append(batch)
            #expect(try await self.offsets(log, "big") == Array(1...200))
        }
    }

    @Test(arguments: [ResultCode.SQLITE_IOERR_WRITE, .SQLITE_IOERR_FSYNC, .SQLITE_READONLY_DBMOVED, .SQLITE_PERM].map(\.rawValue))
    func theErrorOfAFailedWriteNamesItsFileAndCause(_ code: CInt) async throws {
        try await self.withFaultyLog { log, faults, clock, folder in
            faults.set { $0.write = code }
            let error = try await logError { try await log.append(events("a", 5, 1...1, at: clock.now)) }
            #expect(error.code == .unavailable)
            #expect(error.message.contains(folder + "/log.sqlite"))
            #expect(error.message.contains("\(code)"))
            faults.heal()
            try await log.append(events("a", 5, 1...1, at: clock.now))
            #expect(try await self.offsets(log, "a") == [1])
        }
    }

    @Test func aSyncThatFailsRefusesTheBatch() async throws {
        try await self.withFaultyLog(durability: .power) { log, faults, clock, folder in
            try await log.append(events("a", 5, 1...1, at: clock.now))
            faults.set { $0.sync = ResultCode.SQLITE_IOERR_FSYNC.rawValue }
            let error = try await logError { try await log.append(events("a", 5, 2...2, at: clock.now)) }
            #expect(error.code == .unavailable)
            faults.heal()
            let others = [event("a", position(5, 2), "another", at: clock.now)]
            try await log.append(others)
            #expect(try await log.read(channel("a"), after: position(5, 1), limit: 10, bytesMax: 1000).seen == others.map(Seen.init))
        }
    }

    // MARK: - Uncertain commits

    @Test func aCommitThatCannotBeCheckedIsUncertainAndCanBeRepeated() async throws {
        try await self.withFaultyLog { log, faults, clock, folder in
            try await log.append(events("a", 5, 1...1, at: clock.now))
            let batch = events("a", 5, 2...3, at: clock.now) + events("b", 5, 1...1, at: clock.now)
            faults.set {
                $0.write = ResultCode.SQLITE_IOERR_WRITE.rawValue
                $0.lockAfterFailedWrite = ResultCode.SQLITE_IOERR_SHMLOCK.rawValue
            }
            let first = try await logError { try await log.append(batch) }
            #expect(first.code == .uncertain)
            let again = try await logError { try await log.append(batch) }
            #expect(again.code == .uncertain)
            faults.heal()
            try await log.append(batch)
            try await log.append(batch)
            #expect(try await self.offsets(log, "a") == [1, 2, 3])
            #expect(try await self.offsets(log, "b") == [1])
        }
    }

    @Test func aBatchThatTurnsOutToBeStoredIsNotStoredTwice() async throws {
        try await self.withFaultyLog { log, faults, clock, folder in
            try await log.append(events("a", 5, 1...1, at: clock.now))
            let batch = events("a", 5, 2...3, at: clock.now)
            faults.set {
                $0.write = ResultCode.SQLITE_IOERR_WRITE.rawValue
                $0.lockAfterFailedWrite = ResultCode.SQLITE_IOERR_SHMLOCK.rawValue
            }
            #expect(try await logError { try await log.append(batch) }.code == .uncertain)
            faults.heal()
            // Simulates a commit that was stored although it was reported as failed.
            let other = try DatabaseQueue(path: folder + "/log.sqlite")
            try await other.write { db in
                for (row, event) in zip(2..., batch) {
                    try db.execute(
                        sql: #"INSERT INTO event (seq, channel, epoch, "offset", at, payload) VALUES (?, ?, ?, ?, ?, ?)"#,
                        arguments: [row, event.event.channel.string, 5, Int(event.position.offset), event.timestamp, "x".databaseValue]
                    )
                }
            }
            try other.close()
            try await log.append(batch + events("a", 5, 4...4, at: clock.now))
            #expect(try await self.offsets(log, "a") == [1, 2, 3, 4])
            #expect(try await log.sealed(oneGrant).headsByName == ["a": position(5, 4)])
            #expect(await log.metrics.events == 4)
            #expect(try rowCount(folder) == 4)
        }
    }

    // MARK: - Other calls that use the disk

    @Test func aFailedReadThrowsAndTheNextReadWorks() async throws {
        try await self.withFaultyLog { log, faults, clock, folder in
            try await log.append(events("a", 5, 1...3, at: clock.now))
            faults.set { $0.lock = ResultCode.SQLITE_IOERR_SHMLOCK.rawValue }
            let error = try await logError { _ = try await self.offsets(log, "a") }
            #expect(error.code == .unavailable)
            #expect(error.message.contains(folder))
            faults.heal()
            #expect(try await self.offsets(log, "a") == [1, 2, 3])
        }
    }

    @Test func rowsThatATrimDeletesDuringAReadAreLookedUpAgain() async throws {
        var limits = Limits()
        limits.historySecondsMax = 60
        try await self.withFaultyLog(limits: limits) { log, faults, clock, folder in
            try await log.append(events("a", 5, 1...3, at: clock.now))
            clock.advance(seconds: 50)
            try await log.append(events("a", 5, 4...5, at: clock.now))
            #expect(try await self.offsets(log, "a") == [1, 2, 3, 4, 5])

            // The reader has found the rows in the index, and is stopped before it reads the file.
            let gate = faults.holdNextReader()
            async let slice = log.read(channel("a"), after: position(5, 0), limit: 10, bytesMax: 1000)
            await gate.reached()
            clock.advance(seconds: 11)
            try await log.trim(now: clock.now)
            #expect(try rowCount(folder) == 2)
            gate.open()
            #expect(try await slice.offsets == [4, 5])
            #expect(try await slice.oldest == position(5, 4))
        }
    }

    @Test func aFailedTrimIsRepeated() async throws {
        var limits = Limits()
        limits.historySecondsMax = 60
        try await self.withFaultyLog(limits: limits) { log, faults, clock, folder in
            try await log.append(events("a", 5, 1...2000, at: clock.now))
            clock.advance(seconds: 61)
            faults.set { $0.space = 0 }
            let error = try await logError { try await log.trim(now: clock.now) }
            #expect(error.code == .unavailable)
            faults.heal()
            try await log.append(events("b", 5, 1...1, at: clock.now))
            try await log.trim(now: clock.now)
            #expect(try rowCount(folder) == 1)
            let contents = try await log.sealed(oneGrant)
            #expect(contents.headsByName == ["a": position(5, 2000), "b": position(5, 1)])
        }
    }

    @Test func aFailedForgetForgetsNothing() async throws {
        try await self.withFaultyLog { log, faults, clock, folder in
            try await log.append(events("a", 1_800_000_000_000, 1...3, at: clock.now))
            faults.set { $0.space = 0 }
            #expect(try await logError { try await log.forget([channel("a")]) }.code == .unavailable)
            faults.heal()
            let contents = try await log.sealed(oneGrant)
            #expect(contents.headsByName == ["a": position(1_800_000_000_000, 3)])
            #expect(contents.epochFloor == UInt64(clock.now))
        }
    }

    @Test func aWriteWaitsForAnotherProgramAndThenFails() async throws {
        try await self.withFaultyLog { log, faults, clock, folder in
            var configuration = Configuration()
            configuration.allowsUnsafeTransactions = true
            let rude = try DatabaseQueue(path: folder + "/log.sqlite", configuration: configuration)
            try rude.inDatabase { try $0.execute(sql: "BEGIN IMMEDIATE") }
            let error = try await logError { try await log.append(events("a", 5, 1...1, at: clock.now)) }
            #expect(error.code == .unavailable)
            #expect(error.message.contains("another program"))
            try rude.inDatabase { try $0.execute(sql: "ROLLBACK") }
            try await log.append(events("a", 5, 1...1, at: clock.now))
            try rude.close()
        }
    }
}

func rowCount(_ folder: String) throws -> Int {
    let queue = try DatabaseQueue(path: folder + "/log.sqlite")
    defer { try? queue.close() }
    return try queue.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM event") ?? -1 }
}
