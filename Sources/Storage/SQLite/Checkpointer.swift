import GRDB
import GRDBSQLite
import NIOConcurrencyHelpers
import Pipeline
import Synchronization

/// Copies committed pages from the WAL into the database, on its own thread and connection, while the writer continues.
///
/// SQLite itself would checkpoint inside the commit that exceeds a thousand pages, and that commit would wait for all these pages and for two syncs. Here most
/// of the copying and syncing runs in parallel to commits. The writer does only the rest, between two commits. Then the WAL restarts at its beginning and does
/// not grow.
final class Checkpointer: Sendable {
    /// A checkpoint starts at this number of pages in the WAL (16 MiB). With fewer pages it would not be worth its syncs.
    static let pagesMin = 4096
    /// The most pages that are left to the writer, which copies them in about a millisecond, plus two syncs.
    static let pagesLeftMax = 128
    /// The most bytes of the WAL's file that are kept when the WAL restarts. A burst may have made the file larger.
    static let fileBytesMax = 64 * 1024 * 1024

    private let queue: DatabaseQueue
    /// Pages in the WAL after the last commit. Written by the writer's thread, also read by the checkpoint thread.
    private let walPages = Atomic<Int>(0)

    init(file: String, configuration: Configuration) throws {
        self.queue = try DatabaseQueue(path: file, configuration: configuration)
    }

    var pages: Int { self.walPages.load(ordering: .relaxed) }

    /// Makes SQLite report the size of the WAL after each commit. This replaces SQLite's own checkpoints, which use the same hook.
    ///
    /// The writing connection keeps a pointer to this object, and is closed before this object is released: both belong to the log.
    func watch(_ db: Database) {
        let context = Unmanaged.passUnretained(self).toOpaque()
        _ = sqlite3_wal_hook(
            db.sqliteConnection,
            { context, _, _, pages in
                Unmanaged<Checkpointer>.fromOpaque(context!).takeUnretainedValue().walPages.store(Int(pages), ordering: .relaxed)
                return SQLITE_OK
            },
            context
        )
    }

    /// Copies pages in the background until few are left, or until the writer adds pages faster than they are copied. Then calls `done` on the checkpoint
    /// thread.
    func run(then done: @escaping @Sendable () -> Void) {
        self.queue.asyncWriteWithoutTransaction { db in
            self.copyMostPages(db)
            done()
        }
    }

    private func copyMostPages(_ db: Database) {
        for _ in 0..<8 {
            guard let copied = try? Checkpointer.copyPages(db) else { return }
            guard self.pages - copied > Self.pagesLeftMax else { break }
        }
        // SQLite syncs the database only after all pages of the WAL were copied. Here some pages are left. Without this sync, the writer's sync would have to
        // write all pages that were copied.
        Checkpointer.sync(db)
        _ = try? Checkpointer.copyPages(db)
    }

    /// Syncs the pages that were copied to the database. The checkpoint on the writer's queue syncs again, and SQLite relies only on that sync.
    private static func sync(_ db: Database) {
        var file: UnsafeMutablePointer<sqlite3_file>?
        guard sqlite3_file_control(db.sqliteConnection, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK, let file else { return }
        _ = file.pointee.pMethods?.pointee.xSync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY)
    }

    /// Copies all pages of the WAL except those whose former version a reader still needs. Does not wait for readers. Returns how many pages of the WAL are
    /// now in the database.
    static func copyPages(_ db: Database) throws -> Int {
        var copied: CInt = 0
        let code = sqlite3_wal_checkpoint_v2(db.sqliteConnection, nil, SQLITE_CHECKPOINT_PASSIVE, nil, &copied)
        guard code == SQLITE_OK else { throw DatabaseError(resultCode: ResultCode(rawValue: code), message: db.lastErrorMessage) }
        return Int(copied)
    }

    /// Waits for a running checkpoint.
    func close() {
        try? self.queue.close()
    }
}

/// Decides when the next checkpoint is due.
struct CheckpointPace {
    private var isRunning = false
    private var pagesSeen = 0
    private var pagesDue = Checkpointer.pagesMin

    /// Returns true if a checkpoint must start now.
    mutating func committed(pages: Int) -> Bool {
        // Fewer pages than before mean that the WAL has restarted.
        if pages < self.pagesSeen { self.pagesDue = Checkpointer.pagesMin }
        self.pagesSeen = pages
        guard !self.isRunning, pages >= self.pagesDue else { return false }
        self.isRunning = true
        return true
    }

    /// Makes a checkpoint due at the next commit, because a commit failed and a checkpoint may help. A running checkpoint ends first.
    mutating func requestSoon() {
        self.pagesDue = 0
    }

    /// Called when a checkpoint has ended. The next commit restarts the WAL, unless a reader prevents it. In that case, and after a failure, the next
    /// checkpoint is due only after more pages.
    mutating func finished(pages: Int, failed: Bool) {
        self.isRunning = false
        self.pagesDue = pages + (failed ? Checkpointer.pagesLeftMax : Checkpointer.pagesMin / 4)
    }
}

extension SQLiteLog {
    /// Called on the writer's queue after each commit.
    func checkpointIfDue(_ writer: inout Writer) {
        guard !writer.isClosed, writer.checkpoint.committed(pages: self.checkpointer.pages), !self.isLost else { return }
        self.checkpointer.run {
            self.pool.asyncWriteWithoutTransaction { db in
                self.writer.withLockedValue { self.finishCheckpoint(db, &$0) }
            }
        }
    }

    /// Copies the remaining pages, between two commits. When all pages are in the database, the next commit restarts the WAL.
    private func finishCheckpoint(_ db: Database, _ writer: inout Writer) {
        guard !writer.isClosed, !self.isLost else { return }
        var error: String?
        do {
            _ = try Checkpointer.copyPages(db)
        } catch let failure {
            error = self.failure(failure, db).message
        }
        self.shared.withLockedValue { $0.checkpointError = error }
        writer.checkpoint.finished(pages: self.checkpointer.pages, failed: error != nil)
    }
}
