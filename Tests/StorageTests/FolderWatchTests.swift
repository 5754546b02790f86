import Foundation
import Pipeline
import Storage
import Testing

/// A data folder that is taken away, or replaced, while its log is open.
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
    func nothingIsStoredAnyMore(loss: Loss) async throws {
        try await withTemporaryFolder { folder in
            let log = try SQLiteLog(folder: folder, limits: Limits())
            _ = try await log.seal(oneGrant)
            try await log.append(events("a", 1, 1...1, at: 1))
            #expect(await log.statistics.error == nil)
            try Self.lose(loss, folder)
            // It looks twice a second.
            while await log.statistics.error == nil { try await Task.sleep(for: .milliseconds(20)) }
            for body in [
                { try await log.append(events("a", 1, 2...2, at: 1)) }, { try await log.trim(now: 1) },
                { _ = try await log.read(channel("a"), after: position(1, 0), limit: 1, bytesMax: 1) },
            ] as [@Sendable () async throws -> Void] {
                let error = try await logError(body)
                #expect(error.code == .unavailable && error.message.contains(folder) && error.message.contains("removed or replaced"))
            }
            // It stays so when the folder is back: what went is not known.
            if loss == .renamed { try FileManager.default.moveItem(atPath: folder + "-aside", toPath: folder) }
            #expect(try await logError { try await log.append(events("a", 1, 2...2, at: 1)) }.code == .unavailable)
            #expect(await log.statistics.error?.contains(folder) == true)
            let there = try? Set(FileManager.default.contentsOfDirectory(atPath: folder))
            await log.close()
            if loss == .replaced {
                #expect(try Set(FileManager.default.contentsOfDirectory(atPath: folder)) == there, "what was put there is not touched")
                let next = try SQLiteLog(folder: folder, limits: Limits())
                #expect(try await next.seal(oneGrant).headsByName == ["a": position(1, 1)])
                await next.close()
            }
        }
    }

    @Test func aFolderThatStaysIsNotMissed() async throws {
        try await withTemporaryFolder { folder in
            let log = try SQLiteLog(folder: folder, limits: Limits())
            _ = try await log.seal(oneGrant)
            try await Task.sleep(for: .milliseconds(1200))
            try await log.append(events("a", 1, 1...1, at: 1))
            #expect(await log.statistics.error == nil)
            await log.close()
        }
    }
}
