import GRDB
import NIOConcurrencyHelpers
import NIOCore
package import Pipeline

extension SQLiteLog {
    /// One sequencer's batch on its way to the writer.
    struct WaitingAppend: Sendable {
        var batch: LogBatch
        var continuation: CheckedContinuation<[Result<Void, LogError>], Never>
    }

    /// The batches that several sequencers append while the writer is busy are committed in one transaction, so the disk is written once.
    package func append(_ batch: LogBatch) async -> [Result<Void, LogError>] {
        guard !batch.isEmpty else { return [] }
        return await withCheckedContinuation { continuation in
            let isFirst = self.waitingAppends.withLockedValue { waiting in
                waiting.append(WaitingAppend(batch: batch, continuation: continuation))
                return waiting.count == 1
            }
            // The writer takes all waiting batches when it starts the job of the first one.
            guard isFirst else { return }
            self.pool.asyncWriteWithoutTransaction { db in self.commitWaiting(db) }
        }
    }

    private func commitWaiting(_ db: Database) {
        let appends = self.waitingAppends.withLockedValue { waiting in
            defer { waiting.removeAll(keepingCapacity: true) }
            return waiting
        }
        // A refusal by the fence is not a failure of the disk, so each batch's refusals are kept apart from the transaction's result.
        var checks: [BatchCheck] = []
        let result = self.writer.withLockedValue { writer in
            self.run(db, &writer) { db, writer in
                if writer.isUnresolved { try self.resolve(db, &writer) }
                checks = self.shared.withLockedValue { shared in appends.map { shared.history.check($0.batch, shared.fence) } }
                guard checks.contains(where: { $0.refusals.contains { $0 == nil } }) else { return }
                try self.commit(zip(appends, checks).map { self.newEvents(of: $0.batch, $1) }, db, &writer)
            }
        }
        for (index, append) in appends.enumerated() {
            let results = append.batch.grants.indices.map { grant -> Result<Void, LogError> in
                if checks.indices.contains(index), let refusal = checks[index].refusals[grant] { return .failure(refusal) }
                return result
            }
            append.continuation.resume(returning: results)
        }
        // Only after the callers are resumed, because the checkpoint's thread may take this thread's core.
        self.writer.withLockedValue { self.checkpointIfDue(&$0) }
    }

    /// Commits all groups in one transaction. If this returns, all events are stored and in the index. If it throws ``LogError/Code/unavailable``, no event is
    /// stored.
    private func commit(_ groups: [[SequencedEvent]], _ db: Database, _ writer: inout Writer) throws {
        let count = groups.reduce(0) { $0 + $1.count }
        guard count > 0 else { return self.succeeded() }
        let firstRow = writer.nextRow
        do {
            try RawStatement.run(db, "BEGIN IMMEDIATE")
            var row = firstRow
            for events in groups {
                try EventInsertion.insert(events, from: row, db)
                row += Int64(events.count)
            }
        } catch {
            let failure = self.failure(error, db)
            try? RawStatement.run(db, "ROLLBACK")
            // The transaction was not committed. If the rollback failed too, the transaction is still open.
            writer.isUnresolved = db.isInsideTransaction
            throw failure
        }
        do {
            try RawStatement.run(db, "COMMIT")
        } catch {
            let failure = self.failure(error, db)
            writer.isUnresolved = true
            try self.resolve(db, &writer)
            guard writer.nextRow == firstRow + Int64(count) else { throw failure }
            return self.succeeded()
        }
        self.index(groups, &writer)
    }

    /// The events of a batch that must be written: all of them, unless the batch is repeated or a partition is refused.
    ///
    /// Only the writer changes heads, and this method runs on the writer's thread. Two batches that wait together have different partitions, because each
    /// partition has one owner.
    private func newEvents(of batch: LogBatch, _ check: BatchCheck) -> [SequencedEvent] {
        if check.isWholeAndNew { return batch.events }
        return self.shared.withLockedValue { shared in
            func isStored(_ event: SequencedEvent) -> Bool { shared.history.head(of: event.event.channel).map { event.position <= $0 } ?? false }
            return zip(batch.events, batch.grantIndices).filter { check.refusals[Int($1)] == nil && !isStored($0) }.map(\.0)
        }
    }

    private func index(_ groups: [[SequencedEvent]], _ writer: inout Writer) {
        let now = self.clocks.steady()
        var row = writer.nextRow
        self.shared.withLockedValue { shared in
            for event in groups.joined() {
                let element = IndexedRow(number: row, hasMessageID: event.event.messageID != nil)
                shared.history.append(element, to: event.event.channel, at: event.position, timestamp: now, bytes: event.event.accountedBytes)
                row += 1
            }
            shared.commits += 1
            shared.error = nil
        }
        row = writer.nextRow
        for event in groups.joined() {
            writer.ledger.append(row, bytes: event.event.accountedBytes, timestamp: now)
            row += 1
        }
        writer.nextRow = row
    }

    private func succeeded() {
        self.shared.withLockedValue { shared in
            shared.commits += 1
            shared.error = nil
        }
    }

    /// Finds the rows that a failed commit left in the file, and adds them to the index.
    ///
    /// A commit that SQLite reports as failed may still be stored: the system may report an error after the last byte was written.
    func resolve(_ db: Database, _ writer: inout Writer) throws {
        do {
            if db.isInsideTransaction { try RawStatement.run(db, "ROLLBACK") }
            var found: [StoredRow] = []
            try StoredRow.forEach(db, in: writer.nextRow...(.max)) { found.append($0) }
            let now = self.clocks.steady()
            self.shared.withLockedValue { [found] shared in
                for row in found { row.index(in: &shared.history, timestamp: now) }
            }
            for row in found {
                writer.ledger.append(row.number, bytes: row.accountedBytes, timestamp: now)
                writer.nextRow = row.number + 1
            }
            writer.isUnresolved = false
        } catch {
            let failure = self.failure(error, db)
            throw LogError(.uncertain, "the last commit failed, and the file cannot be read to check whether the commit was stored: \(failure.message)")
        }
    }
}

/// Writes events into rows, and binds their bytes without copies.
private enum EventInsertion {
    private static let sql = #"""
        INSERT INTO event (seq, channel, epoch, "offset", at, type, message_id, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        """#

    static func insert(_ events: [SequencedEvent], from firstRow: Int64, _ db: Database) throws {
        let statement = try RawStatement(db, self.sql)
        defer { statement.reset() }
        var row = firstRow
        for event in events {
            try self.insert(event, row: row, statement)
            row += 1
        }
    }

    private static func insert(_ event: SequencedEvent, row: Int64, _ statement: RawStatement) throws {
        statement.bind(row, at: 1)
        statement.bind(Int64(bitPattern: event.position.epoch), at: 3)
        statement.bind(Int64(bitPattern: event.position.offset), at: 4)
        statement.bind(event.timestamp, at: 5)
        var channel = event.event.channel.string
        try channel.withUTF8 { channel in
            statement.bind(channel, at: 2)
            try self.withUTF8(event.event.type) { type in
                statement.bind(type, at: 6)
                try self.withUTF8(event.event.messageID) { messageID in
                    statement.bind(messageID, at: 7)
                    try event.event.payload.withUnsafeReadableBytes { payload in
                        statement.bind(payload, at: 8)
                        // SQLite may read the bound bytes until the statement is reset. So the statement is reset before the bytes go out of scope.
                        defer { statement.reset() }
                        _ = try statement.step()
                    }
                }
            }
        }
    }

    private static func withUTF8(_ string: String?, _ body: (UnsafeBufferPointer<UInt8>?) throws -> Void) throws {
        guard var string else { return try body(nil) }
        try string.withUTF8 { try body($0) }
    }
}
