import GRDB
import NIOConcurrencyHelpers
package import Partitioning
package import Pipeline

extension SQLiteLog {
    package func trim(_ grants: [Grant], now: Int64) async throws(LogError) {
        // One chunk at a time: an append that arrives meanwhile waits for one chunk at most.
        while try await self.onWriter({ db, writer in try self.trimChunk(now: now, db, &writer) }) {}
    }

    /// Deletes the oldest rows that may be deleted, in a bounded number. Returns true if there are more.
    private func trimChunk(now: Int64, _ db: Database, _ writer: inout Writer) throws -> Bool {
        try self.retryIfFailing(db, &writer)
        let horizon = HistoryIndex<IndexedRow>.Bounds(self.limits).horizon(now: now)
        let found = writer.ledger.lastExpendable(before: horizon, bytesMax: self.limits.historyBytesMax, limit: writer.trim.rows)
        guard let last = found else { return false }

        // Removes the rows from the index first, so that no reader looks for deleted rows. If deleting fails, `writer.ledger` still lists the rows for the next trim.
        self.shared.withLockedValue { shared in _ = shared.history.removeOldest(limit: .max) { $0.element.number <= last } }
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

    /// After a failure, writes a number that nothing else uses, to check whether writing works again.
    ///
    /// A node whose log fails is not ready, so it gets no publishes. Without this write, no append would discover that the disk works again.
    private func retryIfFailing(_ db: Database, _ writer: inout Writer) throws {
        if writer.isUnresolved { try self.resolve(db, &writer) }
        let (isFailing, isCheckpointFailing) = self.shared.withLockedValue { ($0.error != nil, $0.checkpointError != nil) }
        if isCheckpointFailing { writer.checkpoint.requestSoon() }
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
    /// A forgotten channel has no head, so no head is stored for it. Its rows may still exist. If the node restarts before they are deleted, the log remembers
    /// the channel again. The head is then correct, because rows are deleted oldest first.
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

    package func forget(_ channels: [Grant: [ChannelName]], writtenBefore oldest: Int64) async throws(LogError) {
        var rest = channels.flatMap { grant, names in names.map { ChannelOfPartition($0, grant) } }[...]
        while !rest.isEmpty {
            let chunk = Array(rest.prefix(512))
            rest = rest.dropFirst(chunk.count)
            try await self.onWriter { db, writer in try self.forgetChunk(chunk, writtenBefore: oldest, db, &writer) }
        }
    }

    /// Raises the epoch floor in the same transaction, so that no forgotten channel can use a former epoch again. Ages are tested here, on the writer's queue,
    /// because an append may have been committed after the caller chose these channels.
    private func forgetChunk(_ channels: [ChannelOfPartition], writtenBefore oldest: Int64, _ db: Database, _ writer: inout Writer) throws {
        if writer.isUnresolved { try self.resolve(db, &writer) }
        let (names, floor) = self.shared.withLockedValue { shared in
            let names = channels.filter { shared.fence.refusal(using: $0.grant) == nil && shared.history.isIdle($0.channel, since: oldest) }.map(\.channel)
            return (names, max(shared.epochFloor, shared.history.floor(forgetting: names)))
        }
        guard !names.isEmpty else { return }
        try db.inTransaction(.immediate) {
            try Meta.epochFloor.write(db, Int64(bitPattern: floor))
            for channel in names {
                try db.cachedStatement(sql: "DELETE FROM head WHERE channel = ?").execute(arguments: [channel.string])
            }
            return .commit
        }
        self.shared.withLockedValue { shared in
            shared.epochFloor = floor
            for channel in names { shared.history.forget(channel) }
        }
    }

    package func verify(_ grants: [Grant]) async -> [Result<Void, LogError>] {
        self.shared.withLockedValue { $0.fence.verify(grants) }
    }

    package func remembered(from place: RememberedPlace, count: Int) async throws(LogError) -> RememberedSlice {
        self.shared.withLockedValue { $0.history.remembered(from: place, count: count) }
    }

    /// Runs a transaction that does not wait for the disk. If a power cut undoes a trim, the rows are deleted again after the next start. The next synced
    /// commit also syncs the trim.
    private func withoutSync(_ db: Database, _ body: () throws -> Void) throws {
        guard self.durability == .power else { return try body() }
        try db.execute(sql: "PRAGMA synchronous = NORMAL")
        defer { try? db.execute(sql: "PRAGMA synchronous = FULL") }
        try body()
    }
}

/// Adapts the number of rows that a trim deletes in one transaction. One transaction should take about half a millisecond on this disk with these channels.
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
