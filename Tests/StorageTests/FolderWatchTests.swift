import Foundation
import Pipeline
import PipelineTestKit
import Storage
import TestKit
import Testing

/// A data folder that is removed or replaced while its log is open.
@Suite struct FolderWatchTests {
    enum Loss: String, CaseIterable { case removed, renamed, replaced, database, wal, lock }

    private static func lose(_ loss: Loss, _ folder: String) throws {
        let files = FileManager.default
        switch loss {
        case .removed: try files.removeItem(atPath: folder)
        case .renamed: try files.moveItem(atPath: folder, toPath: folder + "-aside")
        case .replaced:
            try files.copyItem(atPath: folder, toPath: folder + "-copy")
            try files.removeItem(atPath: folder)
            try files.moveItem(atPath: folder + "-copy", toPath: folder)
        case .database: try files.removeItem(atPath: folder + "/log.sqlite")
        case .wal: try files.removeItem(atPath: folder + "/log.sqlite-wal")
        case .lock: try files.removeItem(atPath: folder + "/lock")
        }
    }

    @Test(arguments: Loss.allCases)
    func nothingIsStoredAfterTheLoss(loss: Loss) async throws {
        try await withTemporaryFolder { folder in
            let log = try SQLiteLog(folder: folder, limits: Limits())
            _ = try await log.sealed(oneGrant)
            try await log.append(events("a", 1, 1...1, at: 1))
            #expect(await log.metrics.error == nil)
            try Self.lose(loss, folder)
            // The log checks its files twice a second.
            try await eventually("the log reports the loss") { await log.metrics.error != nil }
            for body in [
                { try await log.append(events("a", 1, 2...2, at: 1)) }, { try await log.trim(now: 1) },
                { _ = try await log.read(channel("a"), after: position(1, 0), limit: 1, bytesMax: 1) },
            ] as [@Sendable () async throws -> Void] {
                let error = try await logError(body)
                #expect(error.code == .unavailable && error.message.contains(folder) && error.message.contains("removed, replaced or overwritten"))
            }
            // The log stays closed when the folder is back, because it is unknown what was lost.
            if loss == .renamed { try FileManager.default.moveItem(atPath: folder + "-aside", toPath: folder) }
            #expect(try await logError { try await log.append(events("a", 1, 2...2, at: 1)) }.code == .unavailable)
            #expect(await log.metrics.error?.contains(folder) == true)
            let before = try? Set(FileManager.default.contentsOfDirectory(atPath: folder))
            await log.close()
            if loss == .replaced {
                #expect(try Set(FileManager.default.contentsOfDirectory(atPath: folder)) == before, "the replacement is not changed")
                let next = try SQLiteLog(folder: folder, limits: Limits())
                #expect(try await next.sealed(oneGrant).headsByName == ["a": position(1, 1)])
                await next.close()
            }
        }
    }

    /// Overwrites the open files with older copies. The inodes stay the same, but the database becomes smaller.
    @Test func anOlderCopyOverTheFilesIsDetected() async throws {
        try await withTemporaryFolder { folder in
            let database = folder + "/log.sqlite"
            try await SQLiteLog(folder: folder, limits: Limits()).close()
            let older = try Data(contentsOf: URL(fileURLWithPath: database))
            let log = try SQLiteLog(folder: folder, limits: Limits())
            _ = try await log.sealed(oneGrant)
            // The WAL is large enough for a checkpoint.
            for offset in 1...UInt64(40) { try await log.append([large(offset)]) }
            try await eventually("a checkpoint") { try size(of: database) >= 1 << 20 }
            // Waits until the log has checked its files.
            try await Task.sleep(for: .milliseconds(1200))
            try overwrite(database, with: older)
            try await eventually("the log reports the loss") { await log.metrics.error != nil }
            let error = try await logError { try await log.append(events("a", 1, 41...41, at: 1)) }
            #expect(error.code == .unavailable && error.message.contains("\(database) is smaller than it was"))
            await log.close()
            #expect(try Data(contentsOf: URL(fileURLWithPath: database)) == older, "the replacement is not changed")
        }
    }

    /// Damage that a reader or the writer finds ends the log. No check of the files is needed.
    @Test(arguments: ["read", "write"])
    func damageThatACallFindsEndsTheLog(by: String) async throws {
        try await withTemporaryFolder { folder in
            let database = folder + "/log.sqlite"
            let first = try SQLiteLog(folder: folder, limits: Limits())
            _ = try await first.sealed(oneGrant)
            for offset in 1...UInt64(40) { try await first.append([large(offset)]) }
            await first.close()
            var limits = Limits()
            limits.historyBytesMax = 8 << 20
            let log = try SQLiteLog(folder: folder, limits: limits)
            _ = try await log.sealed(oneGrant)
            // The size does not change, so a check of the files finds nothing.
            try overwrite(database, with: Data(repeating: 0x5A, count: size(of: database)))
            let met = try await logError {
                if by == "read" {
                    _ = try await log.read(channel("a"), after: position(1, 0), limit: 40, bytesMax: .max)
                } else {
                    try await log.trim(now: 1)
                }
            }
            #expect(met.code == .unusable && met.message.contains("is damaged"))
            for body in [
                { try await log.append(events("a", 1, 2000...2000, at: 1)) },
                { _ = try await log.read(channel("a"), after: position(1, 0), limit: 1, bytesMax: 1) },
            ] as [@Sendable () async throws -> Void] {
                let error = try await logError(body)
                #expect(error.code == .unavailable && error.message.contains("is damaged"))
            }
            #expect(await log.metrics.error?.contains("is damaged") == true)
            await log.close()
        }
    }

    private func size(of file: String) throws -> Int {
        try FileManager.default.attributesOfItem(atPath: file)[.size] as! Int
    }

    private func large(_ offset: UInt64) -> SequencedEvent {
        event("a", position(1, offset), String(repeating: "x", count: 1 << 20), at: Clocks.system.wall())
    }

    /// Overwrites the content. The file keeps its inode.
    private func overwrite(_ file: String, with data: Data) throws {
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: file))
        try handle.write(contentsOf: data)
        try handle.truncate(atOffset: UInt64(data.count))
        try handle.close()
    }

    @Test func anUnchangedFolderIsNotReported() async throws {
        try await withTemporaryFolder { folder in
            let log = try SQLiteLog(folder: folder, limits: Limits())
            _ = try await log.sealed(oneGrant)
            try await Task.sleep(for: .milliseconds(1200))
            try await log.append(events("a", 1, 1...1, at: 1))
            #expect(await log.metrics.error == nil)
            await log.close()
        }
    }
}
