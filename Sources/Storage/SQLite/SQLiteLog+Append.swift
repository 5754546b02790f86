import GRDB
import NIOConcurrencyHelpers
import NIOCore
package import Pipeline

extension SQLiteLog {
    package func append(_ batch: [SequencedEvent]) async throws(LogError) {
        guard !batch.isEmpty else { return }
        try await self.onWriter { db, writer in try self.commit(batch, db, &writer) }
    }

    /// Appends the batch in one transaction. When it returns, all events are stored and in the index. When it throws ``LogError/Code/unavailable``, none is.
    private func commit(_ batch: [SequencedEvent], _ db: Database, _ writer: inout Writer) throws {
        if writer.isUnresolved { try self.resolve(db, &writer) }
        let events = try self.withoutStored(batch)
        guard !events.isEmpty else { return self.succeeded() }
        let firstRow = writer.nextRow
        do {
            try RawStatement.run(db, "BEGIN IMMEDIATE")
            try EventInsertion.insert(events, from: firstRow, db)
        } catch {
            let failure = self.failure(error, db)
            try? RawStatement.run(db, "ROLLBACK")
            // It was not committed. But if the rollback failed too, the transaction is still open.
            writer.isUnresolved = db.isInsideTransaction
            throw failure
        }
        do {
            try RawStatement.run(db, "COMMIT")
        } catch {
            let failure = self.failure(error, db)
            writer.isUnresolved = true
            try self.resolve(db, &writer)
            guard writer.nextRow == firstRow + Int64(events.count) else { throw failure }
            return self.succeeded()
        }
        self.index(events, from: firstRow, &writer)
    }

    /// The events of the batch that are not stored yet: all of them, unless the batch is repeated.
    private func withoutStored(_ batch: [SequencedEvent]) throws -> [SequencedEvent] {
        var storedCount = 0
        try self.shared.withLockedValue { shared in
            guard shared.isSealed else { throw LogError.notSealed }
            for event in batch {
                guard let head = shared.history.head(of: event.event.channel) else { continue }
                if event.position.epoch < head.epoch { throw LogError.overtaken(event, by: head) }
                if event.position <= head { storedCount += 1 }
            }
        }
        if storedCount == 0 { return batch }
        // Only the writer changes heads, and this is its thread: they are unchanged.
        return self.shared.withLockedValue { shared in
            batch.filter { event in shared.history.head(of: event.event.channel).map { event.position > $0 } ?? true }
        }
    }

    private func index(_ events: [SequencedEvent], from firstRow: Int64, _ writer: inout Writer) {
        let now = self.clocks.steady()
        var row = firstRow
        self.shared.withLockedValue { shared in
            for event in events {
                shared.history.append(row, to: event.event.channel, at: event.position, timestamp: now, cost: event.event.cost)
                row += 1
            }
            shared.commits += 1
            shared.error = nil
        }
        row = firstRow
        for event in events {
            writer.ledger.append(row, cost: event.event.cost, timestamp: now)
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

    /// Finds out what a failed commit left in the file, and adds it to the index.
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
                writer.ledger.append(row.number, cost: row.cost, timestamp: now)
                writer.nextRow = row.number + 1
            }
            writer.isUnresolved = false
        } catch {
            let failure = self.failure(error, db)
            throw LogError(.uncertain, "the last commit failed, and it cannot be read whether it was stored: \(failure.message)")
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
                        // Before the bytes go out of scope.
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
