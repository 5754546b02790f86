import Foundation
import GRDB
import Pipeline
import Storage
import TestKit
import Testing

/// Folders and files that the log must refuse, and its error messages.
@Suite struct OpeningTests {
    private func refusal(_ folder: String) async throws -> LogError {
        let error = try await logError { await (try SQLiteLog(folder: folder, limits: Limits())).close() }
        #expect(error.code == .unusable)
        #expect(error.message.contains(folder))
        return error
    }

    @Test func aMissingFolderIsCreatedForThisUserOnly() async throws {
        try await withTemporaryFolder { folder in
            let log = try SQLiteLog(folder: folder + "/x/y", limits: Limits())
            let attributes = try FileManager.default.attributesOfItem(atPath: folder + "/x/y")
            #expect(attributes[.posixPermissions] as? Int == 0o700)
            await log.close()
        }
    }

    @Test func aFolderInUseIsRefusedAndItsProcessIsNamed() async throws {
        try await withTemporaryFolder { folder in
            let log = try SQLiteLog(folder: folder, limits: Limits())
            let error = try await self.refusal(folder)
            #expect(error.message.contains("in use by process \(ProcessInfo.processInfo.processIdentifier)"))
            await log.close()
        }
    }

    @Test func aLockFileOfAnEndedProcessIsReused() async throws {
        try await withTemporaryFolder { folder in
            try Data("1\n".utf8).write(to: URL(fileURLWithPath: folder + "/lock"))
            let log = try SQLiteLog(folder: folder, limits: Limits())
            #expect(try String(contentsOfFile: folder + "/lock", encoding: .utf8) == "\(ProcessInfo.processInfo.processIdentifier)\n")
            await log.close()
        }
    }

    @Test func aFolderWithSlashesAtTheEndIsForThisUserOnly() async throws {
        try await withTemporaryFolder { folder in
            await (try SQLiteLog(folder: folder + "/x//", limits: Limits())).close()
            #expect(try FileManager.default.attributesOfItem(atPath: folder + "/x")[.posixPermissions] as? Int == 0o700)
        }
    }

    /// Names that SQLite would read as a URI. Only a relative name can be a URI, so these folders are in the process's working folder.
    @Test(arguments: ["file:data", "file:///srv/data", "file:data?mode=memory", ":memory:", "a?b=c#d%41"])
    func aNameIsReadAsAPathAndNotAsAURI(name: String) async throws {
        let name = name + UUID().uuidString
        let first = String(name.split(separator: "/")[0])
        defer { try? FileManager.default.removeItem(atPath: "./" + first) }
        let log = try SQLiteLog(folder: name, limits: Limits())
        #expect(try Set(FileManager.default.contentsOfDirectory(atPath: "./" + name)).isSuperset(of: ["lock", "log.sqlite"]))
        #expect(try await self.refusal(name).message.contains("in use by process"))
        await log.close()
    }

    @Test func aFileInPlaceOfTheFolderIsRefused() async throws {
        let folder = TemporaryFolder.path()
        try Data("x".utf8).write(to: URL(fileURLWithPath: folder))
        let file = try await self.refusal(folder)
        #expect(file.message.contains("not a folder"))
        let below = try await self.refusal(folder + "/below")
        #expect(below.message.contains("cannot create"))
    }

    @Test func aFolderThatCannotBeWrittenIsRefused() async throws {
        // Even root cannot create files here.
        let error = try await self.refusal("/proc/self")
        #expect(error.message.contains("cannot write"))
    }

    @Test func aFileThatIsNoDatabaseIsRefusedAndNotChanged() async throws {
        try await withTemporaryFolder { folder in
            let garbage = Data((0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
            try garbage.write(to: URL(fileURLWithPath: folder + "/log.sqlite"))
            let error = try await self.refusal(folder)
            #expect(error.message.contains("damaged or not a database"))
            #expect(FileManager.default.contents(atPath: folder + "/log.sqlite") == garbage)
        }
    }

    @Test func theDatabaseOfAnotherProgramIsRefusedAndNotChanged() async throws {
        try await withTemporaryFolder { folder in
            let queue = try DatabaseQueue(path: folder + "/log.sqlite")
            try await queue.write { try $0.execute(sql: "CREATE TABLE bookmark (url TEXT)") }
            try queue.close()
            let before = FileManager.default.contents(atPath: folder + "/log.sqlite")
            let error = try await self.refusal(folder)
            #expect(error.message.contains("another program"))
            #expect(FileManager.default.contents(atPath: folder + "/log.sqlite") == before)
        }
    }

    @Test func aNewerSchemaIsRefused() async throws {
        try await withTemporaryFolder { folder in
            await (try SQLiteLog(folder: folder, limits: Limits())).close()
            let queue = try DatabaseQueue(path: folder + "/log.sqlite")
            try await queue.write { try $0.execute(sql: "PRAGMA user_version = 99") }
            try queue.close()
            let error = try await self.refusal(folder)
            #expect(error.message.contains("newer version"))
            #expect(error.message.contains("99"))
        }
    }

    @Test func aDamagedPageIsDetectedWhenTheLogIsOpened() async throws {
        try await withTemporaryFolder { folder in
            let log = try SQLiteLog(folder: folder, limits: Limits())
            _ = try await log.sealed(oneGrant)
            try await log.append(events("a", 5, 1...5000, at: WallClock.now()))
            await log.close()
            let file = try #require(FileHandle(forUpdatingAtPath: folder + "/log.sqlite"))
            for page in [20, 21, 22] as [UInt64] {
                try file.seek(toOffset: page * 4096)
                try file.write(contentsOf: Data(repeating: 0xEE, count: 4096))
            }
            try file.close()

            let error = try await logError { _ = try SQLiteLog(folder: folder, limits: Limits()) }
            #expect(error.code == .unusable)
            #expect(error.message.contains(folder + "/log.sqlite"))
            #expect(error.message.contains("restore a backup"))
        }
    }
}
