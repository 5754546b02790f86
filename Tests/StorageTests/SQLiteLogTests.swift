import Foundation
import GRDB
import NIOCore
import Partitioning
import Pipeline
import PipelineTestKit
import Storage
import TestKit
import Testing

/// Behaviour that only the log on disk has, such as restarts.
@Suite struct SQLiteLogTests {
    private func open(_ folder: String, durability: Durability = .process, limits: Limits = Limits(), clock: TestClock) throws -> SQLiteLog {
        try SQLiteLog(folder: folder, durability: durability, limits: limits, clocks: clock.clocks)
    }

    private func edit(_ folder: String, _ sql: String) throws {
        let queue = try DatabaseQueue(path: folder + "/log.sqlite")
        try queue.writeWithoutTransaction { try $0.execute(sql: sql) }
        try queue.close()
    }

    /// Copies the files of an open log, in the state in which a kill would leave them.
    private func copy(_ folder: String, to other: String) throws {
        try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: true)
        for file in ["/log.sqlite", "/log.sqlite-wal"] { try FileManager.default.copyItem(atPath: folder + file, toPath: other + file) }
    }

    // MARK: - Restarts

    @Test(arguments: Durability.allCases) func aRestartFindsEverything(_ durability: Durability) async throws {
        let clock = TestClock()
        try await withTemporaryFolder { folder in
            let batch = [
                event("a", position(1_700_000_000_000, 1), "first", type: "comment", messageID: "m1", at: clock.now),
                event("b", position(1_700_000_000_001, 1), "", at: clock.now),
                event("a", position(1_700_000_000_000, 2), "\0\u{1F980}", messageID: "m2", at: clock.now + 5),
            ]
            var log = try self.open(folder, durability: durability, clock: clock)
            let grant = Grant(partition: 3, ownerEpoch: 8)
            let before = try await log.sealed([grant])
            try await log.append(batch, under: grant)
            await log.close()

            clock.advance(seconds: 10)
            log = try self.open(folder, durability: durability, clock: clock)
            let contents = try await log.sealed([grant])
            #expect(contents.headsByName == ["a": position(1_700_000_000_000, 2), "b": position(1_700_000_000_001, 1)])
            #expect(contents.messageIDs.map(\.messageID) == ["m1", "m2"])
            #expect(contents.epochFloor == before.epochFloor)
            let slice = try await log.read(channel("a"), after: position(0, 0), limit: 10, bytesMax: 1000)
            #expect(slice.seen == [Seen(batch[0]), Seen(batch[2])])
            #expect(try await log.read(channel("b"), after: position(0, 0), limit: 10, bytesMax: 1000).seen == [Seen(batch[1])])
            // An owner from before the restart stays fenced.
            #expect(try await logError { _ = try await log.sealed([Grant(partition: 3, ownerEpoch: 7)]) }.code == .fenced)
            await log.close()
        }
    }

    @Test func headsSurviveTheirRowsAndARestart() async throws {
        var limits = Limits()
        limits.historySecondsMax = 60
        let clock = TestClock()
        try await withTemporaryFolder { folder in
            var log = try self.open(folder, limits: limits, clock: clock)
            _ = try await log.sealed(oneGrant)
            try await log.append(events("old", 5, 1...700, at: clock.now) + events("both", 5, 1...3, at: clock.now))
            clock.advance(seconds: 61)
            try await log.append(events("both", 5, 4...4, at: clock.now) + events("new", 6, 1...2, at: clock.now))
            try await log.trim(now: clock.now)
            await log.close()
            #expect(try rowCount(folder) == 3)

            log = try self.open(folder, limits: limits, clock: clock)
            var contents = try await log.sealed(oneGrant)
            let heads = ["old": position(5, 700), "both": position(5, 4), "new": position(6, 2)]
            #expect(contents.headsByName == heads)
            #expect(contents.heads.first { $0.channel == channel("old") }?.timestamp == clock.now - 61_000)
            // All rows are deleted. The next rows continue the positions of the stored heads.
            clock.advance(seconds: 61)
            try await log.trim(now: clock.now)
            #expect(try rowCount(folder) == 0)
            await log.close()

            log = try self.open(folder, limits: limits, clock: clock)
            contents = try await log.sealed(oneGrant)
            #expect(contents.headsByName == heads)
            try await log.append(events("old", 5, 701...702, at: clock.now))
            #expect(try await log.read(channel("old"), after: position(5, 1), limit: 10, bytesMax: 1000).offsets == [701, 702])
            await log.close()
        }
    }

    @Test func forgottenChannelsStayForgotten() async throws {
        var limits = Limits()
        limits.historySecondsMax = 60
        let clock = TestClock()
        try await withTemporaryFolder { folder in
            var log = try self.open(folder, limits: limits, clock: clock)
            _ = try await log.sealed(oneGrant)
            let many = (0..<1500).map { event("c:\($0)", position($0 == 0 ? 5 : 1_800_000_000_000, 1), at: clock.now) }
            try await log.append(many)
            clock.advance(seconds: 61)
            try await log.trim(now: clock.now)
            try await log.forget(many.dropFirst().map(\.event.channel))
            await log.close()

            log = try self.open(folder, limits: limits, clock: clock)
            let contents = try await log.sealed(oneGrant)
            #expect(contents.headsByName == ["c:0": position(5, 1)])
            #expect(contents.epochFloor == 1_800_000_000_001)
            await log.close()
        }
    }

    /// The rows of a forgotten channel may still exist at a restart. Then the log reads the channel's head from these rows. A head of a later epoch is never
    /// replaced by a lower one.
    @Test func theHeadOfAForgottenChannelWithRowsIsNeverLower() async throws {
        var limits = Limits()
        limits.historyEventsMax = 2
        let clock = TestClock()
        try await withTemporaryFolder { folder in
            var log = try self.open(folder, limits: limits, clock: clock)
            _ = try await log.sealed(oneGrant)
            try await log.append(events("a", 5, 1...9, at: clock.now) + events("b", 5, 1...9, at: clock.now))
            try await log.forget([channel("a"), channel("b")])
            try await log.append(events("b", 6, 1...1, at: clock.now))
            await log.close()
            log = try self.open(folder, limits: limits, clock: clock)
            #expect(try await log.sealed(oneGrant).headsByName == ["a": position(5, 9), "b": position(6, 1)])
            await log.close()
        }
    }

    @Test func expiredEventsAreNotReadAfterARestart() async throws {
        var limits = Limits()
        limits.historySecondsMax = 60
        let clock = TestClock()
        try await withTemporaryFolder { folder in
            var log = try self.open(folder, limits: limits, clock: clock)
            _ = try await log.sealed(oneGrant)
            try await log.append([event("a", position(5, 1), messageID: "m", at: clock.now)])
            await log.close()
            clock.advance(seconds: 61)
            log = try self.open(folder, limits: limits, clock: clock)
            let contents = try await log.sealed(oneGrant)
            #expect(contents.headsByName == ["a": position(5, 1)])
            #expect(contents.messageIDs.isEmpty)
            #expect(try await log.read(channel("a"), after: position(5, 0), limit: 10, bytesMax: 1000).oldest == nil)
            await log.close()
        }
    }

    @Test func anotherFolderHasAnotherHistory() async throws {
        let clock = TestClock()
        try await withTemporaryFolder { folder in
            let first = try self.open(folder + "/first", clock: clock)
            clock.advance(seconds: 1)
            let second = try self.open(folder + "/second", clock: clock)
            let floors = (try await first.sealed(oneGrant).epochFloor, try await second.sealed(oneGrant).epochFloor)
            #expect(floors.0 == 1_700_000_000_000)
            #expect(floors.1 == 1_700_000_001_000)
            await first.close()
            await second.close()
        }
    }

    // MARK: - Continuity

    @Test func newEpochsBeginAfterAPowerCut() async throws {
        let clock = TestClock()
        try await withTemporaryFolder { folder in
            let log = try self.open(folder + "/a", clock: clock)
            _ = try await log.sealed(oneGrant)
            try await log.append([event("a", position(1_700_000_009_000, 1), messageID: "m", at: clock.now)])
            try self.copy(folder + "/a", to: folder + "/b")
            await log.close()
            try self.edit(folder + "/b", "UPDATE meta SET value = 'another boot' WHERE key = 'boot'")

            clock.advance(seconds: 1)
            let after = try self.open(folder + "/b", clock: clock)
            let contents = try await after.sealed(oneGrant)
            #expect(contents.headsByName == [:])
            #expect(contents.messageIDs.isEmpty)
            // The new epoch is above every epoch that was ever used, even if such an epoch is above the clock.
            #expect(contents.epochFloor == 1_700_000_009_001)
            #expect(try await after.read(channel("a"), after: position(0, 0), limit: 10, bytesMax: 1000).events.isEmpty)
            try await after.append([event("a", position(contents.epochFloor, 1), "new", at: clock.now)])
            await after.close()

            let again = try self.open(folder + "/b", clock: clock)
            #expect(try await again.sealed(oneGrant).headsByName == ["a": position(contents.epochFloor, 1)])
            clock.advance(seconds: 100_000)
            try await again.trim(now: clock.now)
            #expect(try rowCount(folder + "/b") == 0)
            await again.close()
        }
    }

    @Test(arguments: ["killed", "synced", "closed"]) func withoutALossEpochsContinue(_ how: String) async throws {
        let clock = TestClock()
        let durability: Durability = how == "synced" ? .power : .process
        try await withTemporaryFolder { folder in
            let log = try self.open(folder + "/a", durability: durability, clock: clock)
            _ = try await log.sealed(oneGrant)
            try await log.append(events("a", 5, 1...3, at: clock.now))
            if how == "closed" { await log.close() } else { try self.copy(folder + "/a", to: folder + "/b") }
            await log.close()
            let last = folder + (how == "closed" ? "/a" : "/b")
            // After a kill of the process, the machine has not restarted. In the other cases the test stores another boot id, as after a restart of the machine.
            // Every event must still be there.
            if how != "killed" { try self.edit(last, "UPDATE meta SET value = 'another boot' WHERE key = 'boot'") }
            let after = try self.open(last, durability: durability, clock: clock)
            let contents = try await after.sealed(oneGrant)
            #expect(contents.headsByName == ["a": position(5, 3)])
            #expect(contents.epochFloor == 1_700_000_000_000)
            await after.close()
        }
    }

    // MARK: - Closing

    @Test func closingReleasesTheFolderAndRefusesLaterCalls() async throws {
        let clock = TestClock()
        try await withTemporaryFolder { folder in
            let log = try self.open(folder, clock: clock)
            _ = try await log.sealed(oneGrant)
            try await log.append(events("a", 5, 1...3, at: clock.now))
            await log.close()
            await log.close()
            #expect(try await logError { try await log.append(events("a", 5, 4...4, at: clock.now)) }.code == .unavailable)
            #expect(try await logError { try await log.trim(now: clock.now) }.code == .unavailable)
            #expect(try await logError { _ = try await log.read(channel("a"), after: position(5, 0), limit: 1, bytesMax: 1) }.code == .unavailable)
            #expect(!FileManager.default.fileExists(atPath: folder + "/log.sqlite-wal"))
            let next = try self.open(folder, clock: clock)
            await next.close()
        }
    }

    // MARK: - The WAL

    @Test func theWALStaysBoundedWhileTheWriterContinues() async throws {
        let clock = TestClock()
        try await withTemporaryFolder { folder in
            let log = try self.open(folder, clock: clock)
            _ = try await log.sealed(oneGrant)
            let payload = ByteBuffer(repeating: 1, count: 32_000)
            var written = 0
            var offset: UInt64 = 0
            // The WAL may grow for a while, if the writer is faster than the thread that copies pages. But it must not grow forever.
            var isBounded = false
            while !isBounded, written < 1_000_000_000 {
                let batch = (0..<16).map { _ in
                    offset += 1
                    return SequencedEvent(event: Event(channel: channel("a"), payload: payload), position: position(5, offset), timestamp: clock.now)
                }
                try await log.append(batch)
                written += 16 * payload.readableBytes
                let size = try FileManager.default.attributesOfItem(atPath: folder + "/log.sqlite-wal")[.size] as? Int
                isBounded = try written > 160_000_000 && #require(size) < written / 2
            }
            #expect(isBounded)
            #expect(await log.metrics.error == nil)
            await log.close()
        }
    }
}
