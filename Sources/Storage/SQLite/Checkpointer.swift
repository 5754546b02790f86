import GRDB
import GRDBSQLite
import NIOConcurrencyHelpers
import Pipeline
import Synchronization

/// Copies committed pages from the WAL into the database, on its own thread and connection, while the writer continues.
///
/// SQLite would do it inside the commit that exceeds a thousand pages, and that commit would wait for all these pages and for two syncs. Here most of
/// both happens in parallel to commits, and the writer only does the rest between two commits. Then the WAL restarts at its beginning
/// and does not grow.
final class Checkpointer: Sendable {
    /// The pages in the WAL that make a checkpoint worth its syncs: 16 MiB.
    static let pagesMin = 4096
    /// So few pages that the writer may copy them: a millisecond, if the disk syncs in that time.
    static let pagesLeftMax = 128
    /// A burst may grow the WAL. This much of the file is kept when it restarts.
    static let fileBytesMax = 64 * 1024 * 1024

    private let queue: DatabaseQueue
    /// Pages in the WAL after the last commit. Written by the writer's thread, read by this thread.
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

    /// Checkpoints in the background until little is left, or until the writer proves faster. Then calls back on this thread.
    func run(then done: @escaping @Sendable () -> Void) {
        self.queue.asyncWriteWithoutTransaction { db in
            self.moveTheBulk(db)
            done()
        }
    }

    private func moveTheBulk(_ db: Database) {
        for _ in 0..<8 {
            guard let moved = try? Checkpointer.moveWhatIsFree(db) else { return }
            guard self.pages - moved > Self.pagesLeftMax else { break }
        }
        // SQLite syncs the database only when it has caught up with the WAL. Here it never does, so the writer's sync would have to write all these pages.
        Checkpointer.sync(db)
        _ = try? Checkpointer.moveWhatIsFree(db)
    }

    /// Starts syncing what was written to the database. The final checkpoint syncs again; only that one counts.
    private static func sync(_ db: Database) {
        var file: UnsafeMutablePointer<sqlite3_file>?
        guard sqlite3_file_control(db.sqliteConnection, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK, let file else { return }
        _ = file.pointee.pMethods?.pointee.xSync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY)
    }

    /// Copies the pages that no reader still needs in their old form, without waiting. Returns how many pages of the WAL are now in the database.
    static func moveWhatIsFree(_ db: Database) throws -> Int {
        var moved: CInt = 0
        let code = sqlite3_wal_checkpoint_v2(db.sqliteConnection, nil, SQLITE_CHECKPOINT_PASSIVE, nil, &moved)
        guard code == SQLITE_OK else { throw DatabaseError(resultCode: ResultCode(rawValue: code), message: db.lastErrorMessage) }
        return Int(moved)
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
        // Fewer pages than before: the WAL has restarted.
        if pages < self.pagesSeen { self.pagesDue = Checkpointer.pagesMin }
        self.pagesSeen = pages
        guard !self.isRunning, pages >= self.pagesDue else { return false }
        self.isRunning = true
        return true
    }

    /// A commit failed: another checkpoint may help, as soon as none is running.
    mutating func isWantedNow() {
        self.pagesDue = 0
    }

    /// The next commit restarts the WAL, unless a reader prevents it. In that case, or after a failure, it is not tried again at every commit.
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

    /// The rest of a checkpoint, between two commits. When all pages are in the database, the next commit restarts the WAL.
    private func finishCheckpoint(_ db: Database, _ writer: inout Writer) {
        guard !writer.isClosed, !self.isLost else { return }
        var error: String?
        do {
            _ = try Checkpointer.moveWhatIsFree(db)
        } catch let failure {
            error = self.failure(failure, db).message
        }
        self.shared.withLockedValue { $0.checkpointError = error }
        writer.checkpoint.finished(pages: self.checkpointer.pages, failed: error != nil)
    }
}
