import Dispatch
import GRDB
import GRDBSQLite
import NIOConcurrencyHelpers
package import Pipeline

/// History in a data folder, with SQLite. After `append` has returned, its events stay stored, even if the process is killed at any moment.
///
/// The log uses three kinds of threads. None of them is an event loop:
/// - the writer's queue, which belongs to GRDB's only writing connection. Appends, trims, forgets and seals run there one after another, in the order in which
///   they were requested;
/// - the readers' queues, for connections that read committed data while the writer continues;
/// - the checkpoint thread, see ``Checkpointer``.
///
/// The index of recent history is in memory, and is rebuilt when the log is opened. The writer adds a row to the index after the row is committed, and removes
/// it from the index before the row is deleted. So every row in the index exists, and readers need not block the writer. If a trim runs between a reader's
/// look-up and its read, the reader detects that, and repeats the look-up.
package final class SQLiteLog: Log {
    /// State for all threads. Protected by a lock that is never held during disk access.
    struct Shared {
        var history: HistoryIndex<IndexedRow>
        var fence: Fence
        /// The lowest epoch for channels without a head.
        var epochFloor: UInt64
        var commits: UInt64 = 0
        var failures: UInt64 = 0
        /// The last failure, until a write succeeds.
        var error: String?
        /// The files were replaced or are damaged. Only a restart ends this, because it is unknown what was lost.
        var loss: String?
        /// The reason why the WAL cannot be copied into the database. Nil if it can be copied.
        var checkpointError: String?
    }

    /// State for the writer's queue only. The lock of this state is never contended. The compiler requires the lock.
    struct Writer {
        var nextRow: Int64 = 1
        var ledger: RowLedger
        /// True if a commit has failed, and it is unknown whether the commit was stored. Nothing is written before ``SQLiteLog/resolve(_:_:)`` has checked
        /// this.
        var isUnresolved = false
        var trim = TrimPace()
        var checkpoint = CheckpointPace()
        var isClosed = false
    }

    let folder: String
    let file: String
    let durability: Durability
    /// True if the machine went down while the log was open: the last commits may be lost.
    let hasLostHistory: Bool
    let limits: Limits
    let clocks: Clocks
    let pool: DatabasePool
    let checkpointer: Checkpointer
    let shared: NIOLockedValueBox<Shared>
    let writer: NIOLockedValueBox<Writer>
    /// Batches to append that the writer has not taken yet.
    let waitingAppends = NIOLockedValueBox<[WaitingAppend]>([])
    private let lock: NIOLockedValueBox<FolderLock?>
    private let watch = NIOLockedValueBox<FolderWatch?>(nil)

    /// Opens the log of a data folder, which is created if it is missing. Blocks for some milliseconds: call it before the loops serve.
    ///
    /// Throws ``LogError/Code/unusable`` with a message for a person if the folder cannot be used.
    package init(
        folder: String, durability: Durability = .process, limits: Limits, clocks: Clocks = .system
    ) throws(LogError) {
        let lock = try FolderLock(folder: folder)
        let file = FolderLock.path(folder) + "/log.sqlite"
        let opened: OpenedHistory
        do {
            let configuration = SQLiteLog.configuration(file: file)
            let pool = try DatabasePool(path: file, configuration: configuration)
            (self.hasLostHistory, opened) = try pool.writeWithoutTransaction { db in
                // Writes during opening are synced with every durability: a continuity mark that can be lost would be useless.
                try db.execute(sql: "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = \(Checkpointer.fileBytesMax)")
                try SQLiteSchema.createIfEmpty(db, epochFloor: UInt64(clamping: clocks.wall()))
                let hasLostHistory = try Continuity.check(db, durability: durability, now: clocks.wall())
                if durability == .process { try db.execute(sql: "PRAGMA synchronous = NORMAL") }
                return (hasLostHistory, try OpenedHistory(db, limits: limits, ages: clocks.ages))
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
        self.shared = NIOLockedValueBox(Shared(history: opened.history, fence: opened.fence, epochFloor: opened.epochFloor))
        self.writer = NIOLockedValueBox(Writer(nextRow: opened.nextRow, ledger: opened.ledger))
        self.pool.writeWithoutTransaction { self.checkpointer.watch($0) }
        // The database is never vacuumed, so its file never shrinks. The file of the WAL may shrink.
        let files = [WatchedFile(path: file, onlyGrows: true), WatchedFile(path: file + "-wal"), WatchedFile(path: lock.path)]
        self.watch.withLockedValue { $0 = FolderWatch(files: files) { [weak self] in self?.folderLost($0) } }
    }

    private func folderLost(_ reason: String) {
        self.lost(
            "the data folder \(self.folder) was removed, replaced or overwritten while the node was running (\(reason)), so nothing can be stored, and "
                + "events acknowledged before may be lost: stop the node, repair the folder, then start it again")
    }

    /// Ends reading and writing until a restart: events acknowledged from now on could be lost.
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
        // Only other programs lock this file, such as an open SQLite shell.
        configuration.busyMode = .timeout(0.25)
        // A failed rollback leaves its transaction open. GRDB would treat that as a programming error and stop the process. `resolve` handles it.
        configuration.allowsUnsafeTransactions = true
        configuration.prepareDatabase { db in
            try SQLiteSchema.check(db, file: file)
            // Some distributions build SQLite so that it overwrites deleted data. With trimming that doubles the writes.
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
                // Only after the reply, because the checkpoint's thread may take this thread's core.
                self.writer.withLockedValue { self.checkpointIfDue(&$0) }
            }
        }
        return try result.get()
    }

    /// Runs the body on a reader's queue.
    func onReader<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws(LogError) -> Value {
        let result: Result<Value, LogError> = await withCheckedContinuation { continuation in
            self.pool.asyncRead { reader in
                do {
                    let db = try reader.get()
                    continuation.resume(returning: Result { try body(db) }.mapError { self.failure($0, db) })
                } catch {
                    continuation.resume(returning: .failure(self.failure(error, nil)))
                }
            }
        }
        return try result.get()
    }

    func run<Value>(
        _ db: Database, _ writer: inout Writer, _ body: (Database, inout Writer) throws -> Value
    ) -> Result<Value, LogError> {
        guard !writer.isClosed else { return .failure(LogError(.unavailable, "the log in \(self.folder) is closed")) }
        if let loss = self.shared.withLockedValue({ $0.loss }) { return .failure(LogError(.unavailable, loss)) }
        do {
            return .success(try body(db, &writer))
        } catch {
            let failure = self.failure(error, db)
            // A refusal by the fence is not a failure of the disk.
            if failure.code != .fenced { self.failed(failure, &writer) }
            return .failure(failure)
        }
    }

    private func failed(_ failure: LogError, _ writer: inout Writer) {
        self.shared.withLockedValue { shared in
            shared.failures += 1
            shared.error = failure.message
        }
        // On a full disk the database may still have free pages. Then a checkpoint can copy the WAL into them, and the WAL restarts.
        writer.checkpoint.requestSoon()
    }

    /// Converts an error. An error that means damage ends the log, whether a reader or the writer got the error.
    func failure(_ error: any Error, _ db: Database?) -> LogError {
        let failure = SQLiteFailure.logError(error, file: self.file, systemCode: db?.sqliteConnection.map { sqlite3_system_errno($0) } ?? 0)
        if failure.code == .unusable { self.lost(failure.message) }
        return failure
    }

    // MARK: - Metrics

    package var metrics: LogMetrics {
        get async {
            self.shared.withLockedValue { shared in
                LogMetrics(
                    kind: "sqlite", path: self.folder, durability: self.durability.rawValue, events: shared.history.count,
                    bytes: shared.history.accountedBytes, channels: shared.history.channelCount, commits: shared.commits, failures: shared.failures,
                    error: shared.loss ?? shared.error,
                    warning: shared.checkpointError.map { "the WAL cannot be copied into the database, and grows: \($0)" }
                )
            }
        }
    }

    // MARK: - Closing

    /// Copies the WAL into the database and releases the folder. Later calls are refused.
    package func close() async {
        await withCheckedContinuation { continuation in
            // Not on the caller's thread: closing waits for running work, which may wait for the disk.
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
            // Closing the last connection would copy the WAL into the replaced file. So the connections stay open until the process ends.
            _ = Unmanaged.passRetained(self)
        } else {
            self.pool.writeWithoutTransaction { db in
                // If this fails, the WAL stays, and the next start reads it.
                try? Continuity.close(db)
                _ = try? db.checkpoint(.truncate)
            }
            try? self.pool.close()
        }
        self.lock.withLockedValue { $0 = nil }
    }
}
