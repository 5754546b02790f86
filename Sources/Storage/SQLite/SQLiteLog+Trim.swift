import GRDB
import NIOConcurrencyHelpers
package import Pipeline

extension SQLiteLog {
    package func trim(now: Int64) async throws(LogError) {
        // One chunk at a time: an append that arrives meanwhile waits for one chunk at most.
        while try await self.onWriter({ db, writer in try self.trimChunk(now: now, db, &writer) }) {}
    }

    /// Deletes the oldest rows that may be deleted, in a bounded number. Returns true if there are more.
    private func trimChunk(now: Int64, _ db: Database, _ writer: inout Writer) throws -> Bool {
        try self.tryAgainIfFailing(db, &writer)
        let horizon = HistoryIndex<Int64>.Bounds(self.limits).horizon(now: now)
        let found = writer.ledger.lastExpendable(before: horizon, costMax: self.limits.historyBytesMax, limit: writer.trim.rows)
        guard let last = found else { return false }

        // First from the index, so that no reader is sent to deleted rows. If deleting fails, the ledger still has them for the next time.
        self.shared.withLockedValue { shared in _ = shared.history.removeOldest(limit: .max) { $0.element <= last } }
        let began = ContinuousClock.now
        try self.withoutSync(db) {
            try db.inTransaction(.immediate) {
                try self.rememberHeads(through: last, db)
                let deletion = try RawStatement(db, "DELETE FROM event WHERE seq <= ?1")
                defer { deletion.reset() }
                deletion.bind(last, at: 1)
                _ = try deletion.step()
                return .commit
            }
        }
        writer.trim.took(ContinuousClock.now - began)
        writer.ledger.removed(through: last)
        return true
    }

    /// After a failure, writes an unused number, to check whether writing works again.
    ///
    /// A node whose log fails is not ready, so it gets no publishes, and no append would find out that the disk works again.
    private func tryAgainIfFailing(_ db: Database, _ writer: inout Writer) throws {
        if writer.isUnresolved { try self.resolve(db, &writer) }
        let (isFailing, isCheckpointFailing) = self.shared.withLockedValue { ($0.error != nil, $0.checkpointError != nil) }
        if isCheckpointFailing { writer.checkpoint.isWantedNow() }
        guard isFailing else { return }
        try db.inTransaction(.immediate) {
            // A different number each time: SQLite does not write an unchanged value.
            try Meta.tries.write(db, (Meta.tries.read(db, as: Int64.self) ?? 0) + 1)
            return .commit
        }
        self.shared.withLockedValue { $0.error = nil }
    }

    /// Stores the heads of channels whose newest row is about to be deleted.
    ///
    /// Forgotten channels have no head, and none is stored. Their rows may outlive them: a restart before the trim remembers them again, at their
    /// real head, because rows are deleted oldest first.
    private func rememberHeads(through last: Int64, _ db: Database) throws {
        var rows: [StoredRow] = []
        try StoredRow.forEach(db, in: 0...last) { rows.append($0) }
        let heads = self.shared.withLockedValue { [rows] shared in
            rows.filter { shared.history.head(of: $0.channel) == $0.position }
        }
        let upsert = try RawStatement(
            db,
            #"""
            INSERT INTO head (channel, epoch, "offset", at) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (channel) DO UPDATE SET epoch = excluded.epoch, "offset" = excluded."offset", at = excluded.at
            """#
        )
        for head in heads {
            var channel = head.channel.string
            try channel.withUTF8 { channel in
                defer { upsert.reset() }
                upsert.bind(channel, at: 1)
                upsert.bind(Int64(bitPattern: head.position.epoch), at: 2)
                upsert.bind(Int64(bitPattern: head.position.offset), at: 3)
                upsert.bind(head.timestamp, at: 4)
                _ = try upsert.step()
            }
        }
    }

    package func forget(_ channels: [ChannelName], epochFloor: UInt64) async throws(LogError) {
        var rest = channels[...]
        repeat {
            let chunk = Array(rest.prefix(512))
            rest = rest.dropFirst(chunk.count)
            try await self.onWriter { db, writer in try self.forgetChunk(chunk, epochFloor: epochFloor, db, &writer) }
        } while !rest.isEmpty
    }

    /// The floor is raised with the first deleted heads, so that no channel can return under an epoch that it had.
    private func forgetChunk(_ channels: [ChannelName], epochFloor: UInt64, _ db: Database, _ writer: inout Writer) throws {
        if writer.isUnresolved { try self.resolve(db, &writer) }
        try db.inTransaction(.immediate) {
            let floor = UInt64(bitPattern: try Meta.epochFloor.read(db, as: Int64.self) ?? 0)
            if epochFloor > floor { try Meta.epochFloor.write(db, Int64(bitPattern: epochFloor)) }
            for channel in channels {
                try db.cachedStatement(sql: "DELETE FROM head WHERE channel = ?").execute(arguments: [channel.string])
            }
            return .commit
        }
        self.shared.withLockedValue { shared in
            for channel in channels { shared.history.forget(channel) }
        }
    }

    /// A lost trim is repeated, so it does not wait for the disk. It is synced with the next commit.
    private func withoutSync(_ db: Database, _ body: () throws -> Void) throws {
        guard self.durability == .power else { return try body() }
        try db.execute(sql: "PRAGMA synchronous = NORMAL")
        defer { try? db.execute(sql: "PRAGMA synchronous = FULL") }
        try body()
    }
}

/// Adapts the number of rows in a chunk of a trim, so that a chunk takes about half a millisecond on this disk with these channels.
struct TrimPace {
    private(set) var rows: Int64 = 128

    mutating func took(_ duration: Duration) {
        if duration > .microseconds(700) {
            self.rows = max(32, self.rows / 2)
        } else if duration < .microseconds(350) {
            self.rows = min(1024, self.rows * 2)
        }
    }
}
