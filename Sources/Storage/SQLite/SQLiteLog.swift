import Dispatch
import GRDB
import GRDBSQLite
import NIOConcurrencyHelpers
package import Pipeline

/// History in a data folder, through SQLite: what `append` returned for is there after the process is killed at any moment.
///
/// Three kinds of threads meet here, none of them an event loop:
/// - the writer's queue, GRDB's for its one writing connection. Appends, trims, forgets and seals run there one after another, in the order in which
///   they were asked for;
/// - the readers' queues, for connections that read what is committed while the writer goes on;
/// - the checkpointer's, see ``Checkpointer``.
///
/// The index of recent history is in memory, rebuilt when the log is sealed. The order around it makes reads exact without keeping anyone waiting:
/// the writer adds to the index after the rows are committed, and takes out of it before the rows are deleted. So what the index
/// names is there, unless a trim came in between; the reader notices that, and looks again.
package final class SQLiteLog: Log {
    /// What every thread looks at. Guarded by its lock, which nobody holds while the disk works.
    struct Shared {
        var history: HistoryIndex<Int64>
        var isSealed = false
        var commits: UInt64 = 0
        var failures: UInt64 = 0
        /// The last failure, until something is written again.
        var error: String?
        /// The files are not those that were opened, or damaged. Nothing ends this but a restart: what is gone is not known.
        var loss: String?
        /// Why the WAL cannot be brought into the database, while that is so.
        var checkpointError: String?
    }

    /// What only the writer's queue touches. Its lock is never contended: it is there so that the compiler sees that it is safe.
    struct Writer {
        var nextRow: Int64 = 1
        var ledger: RowLedger
        /// A commit failed, and what it left in the file is not known yet. Nothing is written before ``SQLiteLog/resolve(_:writer:)`` has looked.
        var isUnresolved = false
        var trim = TrimPace()
        var checkpoint = CheckpointPace()
        var isClosed = false
    }

    let folder: String
    let file: String
    let durability: Durability
    let limits: Limits
    let clocks: Clocks
    let pool: DatabasePool
    let checkpointer: Checkpointer
    let shared: NIOLockedValueBox<Shared>
    let writer: NIOLockedValueBox<Writer>
    private let lock: NIOLockedValueBox<FolderLock?>
    private let watch = NIOLockedValueBox<FolderWatch?>(nil)

    /// Opens the log of a data folder, which is created if it is missing. Blocks for some milliseconds: call it before the loops serve.
    ///
    /// Throws ``LogError/Code/unusable`` with a sentence for a person when the folder cannot be used.
    package init(
        folder: String, durability: Durability = .process, limits: Limits, clocks: Clocks = .system
    ) throws(LogError) {
        let lock = try FolderLock(folder: folder)
        let file = FolderLock.path(folder) + "/log.sqlite"
        do {
            let configuration = SQLiteLog.configuration(file: file)
            let pool = try DatabasePool(path: file, configuration: configuration)
            try pool.writeWithoutTransaction { db in
                // What opening writes is synced whatever the durability: a continuity mark that can be lost marks nothing.
                try db.execute(sql: "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = \(Checkpointer.fileBytesMax)")
                try SQLiteSchema.createIfEmpty(db, epochFloor: UInt64(clamping: clocks.wall()))
                try Continuity.check(db, durability: durability, now: clocks.wall())
                if durability == .process { try db.execute(sql: "PRAGMA synchronous = NORMAL") }
            }
            self.pool = pool
            self.checkpointer = try Checkpointer(file: file, configuration: configuration)
        } catch {
            var failure = SQLiteFailure.logError(error, file: file)
            failure.code = .unusable
            throw failure
        }
        self.folder = folder
        self.file = file
        self.durability = durability
        self.limits = limits
        self.clocks = clocks
        self.lock = NIOLockedValueBox(lock)
        self.shared = NIOLockedValueBox(Shared(history: HistoryIndex(bounds: HistoryIndex.Bounds(limits))))
        self.writer = NIOLockedValueBox(Writer(ledger: RowLedger(costMax: limits.historyBytesMax)))
        self.pool.writeWithoutTransaction { self.checkpointer.watch($0) }
        // Nothing vacuums, so the database never shrinks. The WAL does.
        let files = [WatchedFile(path: file, onlyGrows: true), WatchedFile(path: file + "-wal"), WatchedFile(path: lock.path)]
        self.watch.withLockedValue { $0 = FolderWatch(files: files) { [weak self] in self?.folderLost($0) } }
    }

    private func folderLost(_ reason: String) {
        self.lost(
            "the data folder \(self.folder) was removed, replaced or overwritten while the node runs (\(reason)), so nothing can be stored, and "
                + "what was acknowledged before may be gone: stop the node, put the folder right, then start it again")
    }

    /// Ends reading and writing until a restart: what would be acknowledged now could be gone.
    func lost(_ sentence: String) {
        self.shared.withLockedValue { shared in
            if shared.loss == nil { shared.loss = sentence }
        }
    }

    var isLost: Bool { self.shared.withLockedValue { $0.loss != nil } }

    private static func configuration(file: String) -> Configuration {
        var configuration = Configuration()
        configuration.label = "realertime.log"
        configuration.maximumReaderCount = 4
        // Only other programs lock this file against us, such as a shell someone left open.
        configuration.busyMode = .timeout(0.25)
        // A rollback that fails leaves its transaction open, which GRDB would take for a mistake and stop the process. `resolve` looks after it.
        configuration.allowsUnsafeTransactions = true
        configuration.prepareDatabase { db in
            try SQLiteSchema.check(db, file: file)
            // Distributions build SQLite so that it overwrites what it deletes; with trimming that doubles what is written.
            try db.execute(sql: "PRAGMA secure_delete = OFF")
        }
        return configuration
    }

    // MARK: - Threads

    /// Runs the body on the writer's queue.
    func onWriter<Value: Sendable>(
        _ body: @escaping @Sendable (Database, inout Writer) throws -> Value
    ) async throws(LogError) -> Value {
        let result: Result<Value, LogError> = await withCheckedContinuation { continuation in
            self.pool.asyncWriteWithoutTransaction { db in
                continuation.resume(returning: self.writer.withLockedValue { self.run(db, &$0, body) })
                // After the answer: starting the checkpoint's thread may cost this one its core.
                self.writer.withLockedValue { self.checkpointIfDue(&$0) }
            }
        }
        return try result.get()
    }

    private func run<Value>(
        _ db: Database, _ writer: inout Writer, _ body: (Database, inout Writer) throws -> Value
    ) -> Result<Value, LogError> {
        guard !writer.isClosed else { return .failure(LogError(.unavailable, "the log in \(self.folder) is closed")) }
        if let loss = self.shared.withLockedValue({ $0.loss }) { return .failure(LogError(.unavailable, loss)) }
        do {
            return .success(try body(db, &writer))
        } catch {
            let failure = self.failure(error, db)
            // An owner that was overtaken says nothing about the disk.
            if failure.code != .fenced { self.failed(failure, &writer) }
            return .failure(failure)
        }
    }

    private func failed(_ failure: LogError, _ writer: inout Writer) {
        self.shared.withLockedValue { shared in
            shared.failures += 1
            shared.error = failure.message
        }
        // A full disk may have room in the database: what is in the WAL can go there, and the WAL begin again.
        writer.checkpoint.isWantedNow()
    }

    /// The error in our words. One that says that the file is damaged ends the log, whether a reader or the writer met it.
    func failure(_ error: any Error, _ db: Database?) -> LogError {
        let failure = SQLiteFailure.logError(error, file: self.file, systemCode: db?.sqliteConnection.map { sqlite3_system_errno($0) } ?? 0)
        if failure.code == .unusable { self.lost(failure.message) }
        return failure
    }

    // MARK: - Figures

    package var statistics: LogStatistics {
        get async {
            self.shared.withLockedValue { shared in
                LogStatistics(
                    kind: "sqlite", path: self.folder, durability: self.durability.rawValue, events: shared.history.count,
                    bytes: shared.history.cost, channels: shared.history.channelCount, commits: shared.commits, failures: shared.failures,
                    error: shared.loss ?? shared.error,
                    warning: shared.checkpointError.map { "the WAL cannot be brought into the database, and grows: \($0)" }
                )
            }
        }
    }

    // MARK: - Closing

    /// Brings the WAL into the database and lets go of the folder. What comes after is refused.
    package func close() async {
        await withCheckedContinuation { continuation in
            // It waits for what is under way, which may be the disk: not on the caller's thread.
            DispatchQueue.global().async {
                self.closeAndWait()
                continuation.resume()
            }
        }
    }

    private func closeAndWait() {
        let wasClosed = self.pool.writeWithoutTransaction { _ in
            self.writer.withLockedValue { writer in
                defer { writer.isClosed = true }
                return writer.isClosed
            }
        }
        guard !wasClosed else { return }
        self.watch.withLockedValue { $0 = nil }
        self.checkpointer.close()
        if self.isLost {
            // Closing the last connection would bring the WAL into what is there now. They end with the process.
            _ = Unmanaged.passRetained(self)
        } else {
            self.pool.writeWithoutTransaction { db in
                // If this fails, the WAL stays and the next start finds everything in it.
                try? Continuity.close(db)
                _ = try? db.checkpoint(.truncate)
            }
            try? self.pool.close()
        }
        self.lock.withLockedValue { $0 = nil }
    }
}
