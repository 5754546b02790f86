import GRDB
import GRDBSQLite
import NIOConcurrencyHelpers
import Pipeline
import Synchronization

/// Brings committed pages from the WAL into the database, on a thread and a connection of its own, while the writer goes on.
///
/// SQLite would do it inside the commit that passes some thousand pages, which then waits for all these pages and for two syncs. Here the bulk of
/// both is done beside the commits, and the writer only does the last stretch between two of them, so that the WAL can begin again at its start
/// and stays as large as it is.
final class Checkpointer: Sendable {
    /// Pages in the WAL from which on a checkpoint is worth its syncs: 16 MiB.
    static let pagesMin = 4096
    /// So few that the writer may do them: a millisecond, if the disk can sync in that time.
    static let pagesLeftMax = 128
    /// A burst may let the WAL grow; this much of the file is kept when it begins again.
    static let fileBytesMax = 64 * 1024 * 1024

    private let queue: DatabaseQueue
    /// Pages in the WAL after the last commit. Stored by the writer's thread, read by this one's.
    private let walPages = Atomic<Int>(0)

    init(file: String, configuration: Configuration) throws {
        self.queue = try DatabaseQueue(path: file, configuration: configuration)
    }

    var pages: Int { self.walPages.load(ordering: .relaxed) }

    /// Has SQLite tell how far the WAL has grown after each commit. This replaces SQLite's own checkpoints, which hang on the same hook.
    ///
    /// The writing connection keeps a pointer to this object, and is closed before it goes: both belong to the log.
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

    /// Checkpoints in the background until little is left, or until it is clear that the writer is faster; then calls back on this thread.
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
        // SQLite syncs the database when it has caught up with the WAL, which here it never has: all these pages would be left to the writer's sync.
        Checkpointer.sync(db)
        _ = try? Checkpointer.moveWhatIsFree(db)
    }

    /// Asks for what was written to the database to reach the disk. The checkpoint that ends it all asks again, and is the one that matters.
    private static func sync(_ db: Database) {
        var file: UnsafeMutablePointer<sqlite3_file>?
        guard sqlite3_file_control(db.sqliteConnection, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK, let file else { return }
        _ = file.pointee.pMethods?.pointee.xSync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY)
    }

    /// Moves what no reader still needs in its old form, waiting for nobody. Answers how many pages of the WAL are in the database now.
    static func moveWhatIsFree(_ db: Database) throws -> Int {
        var moved: CInt = 0
        let code = sqlite3_wal_checkpoint_v2(db.sqliteConnection, nil, SQLITE_CHECKPOINT_PASSIVE, nil, &moved)
        guard code == SQLITE_OK else { throw DatabaseError(resultCode: ResultCode(rawValue: code), message: db.lastErrorMessage) }
        return Int(moved)
    }

    /// Waits for a checkpoint that is under way.
    func close() {
        try? self.queue.close()
    }
}

/// When the next checkpoint is due.
struct CheckpointPace {
    private var isRunning = false
    private var pagesSeen = 0
    private var pagesDue = Checkpointer.pagesMin

    /// True if one is to be started now.
    mutating func committed(pages: Int) -> Bool {
        // Fewer than before: the WAL has begun again.
        if pages < self.pagesSeen { self.pagesDue = Checkpointer.pagesMin }
        self.pagesSeen = pages
        guard !self.isRunning, pages >= self.pagesDue else { return false }
        self.isRunning = true
        return true
    }

    /// A commit failed: as soon as none is running, another checkpoint may help.
    mutating func isWantedNow() {
        self.pagesDue = 0
    }

    /// The next commit begins the WAL again, if no reader is in the way. If one is, or if this failed, there is no use in trying at every commit.
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

    /// The last stretch, between two commits: when all is in the database, the next commit begins the WAL again.
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
