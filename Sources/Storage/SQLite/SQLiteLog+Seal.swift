import DequeModule
import GRDB
import NIOConcurrencyHelpers
package import Partitioning
package import Pipeline

extension SQLiteLog {
    package func seal(_ grants: [Grant]) async throws(LogError) -> LogContents {
        let now = self.clocks.steady()
        let ages = self.clocks.ages
        return try await self.onWriter { db, writer in
            let newest = try self.take(grants, db)
            return try self.load(db, &writer, now: now, ages, newestOwnerEpoch: newest)
        }
    }

    /// Stores the owner epochs and answers the highest of all, or throws if one is older than what is stored.
    private func take(_ grants: [Grant], _ db: Database) throws -> OwnerEpoch {
        var stored: [PartitionID: OwnerEpoch] = [:]
        for row in try Row.fetchAll(db, sql: "SELECT partition, epoch FROM owner") { stored[row[0]] = row[1] }
        for grant in grants {
            if let newer = stored[grant.partition], newer > grant.ownerEpoch { throw LogError.fenced(grant, by: newer) }
        }
        let changed = grants.filter { stored[$0.partition] != $0.ownerEpoch }
        if !changed.isEmpty {
            try db.inTransaction(.immediate) {
                for grant in changed {
                    try db.execute(
                        sql: "INSERT INTO owner (partition, epoch) VALUES (?, ?) ON CONFLICT (partition) DO UPDATE SET epoch = excluded.epoch",
                        arguments: [grant.partition, grant.ownerEpoch]
                    )
                }
                return .commit
            }
        }
        for grant in changed { stored[grant.partition] = grant.ownerEpoch }
        return stored.values.max() ?? 0
    }

    /// Rebuilds the index in memory: first the heads, then all rows in order.
    private func load(_ db: Database, _ writer: inout Writer, now: Int64, _ ages: StoredAges, newestOwnerEpoch: OwnerEpoch) throws -> LogContents {
        if db.isInsideTransaction { try RawStatement.run(db, "ROLLBACK") }
        let continuity = UInt64(bitPattern: try Meta.continuity.read(db, as: Int64.self) ?? 0)
        let floor = UInt64(bitPattern: try Meta.epochFloor.read(db, as: Int64.self) ?? 0)
        var history = HistoryIndex<Int64>(bounds: HistoryIndex.Bounds(self.limits))
        var ledger = RowLedger(costMax: self.limits.historyBytesMax)
        var nextRow: Int64 = 1
        var messageIDs: Deque<(channel: ChannelName, messageID: String, position: Position, timestamp: Int64)> = []
        let horizon = history.bounds.horizon(now: now)

        try StoredHead.forEach(db) { history.remember($0.channel, head: $0.position, timestamp: ages.steady(of: $0.timestamp)) }
        try StoredRow.forEach(db, in: 0...(.max), withMessageIDs: true) { row in
            nextRow = row.number + 1
            let timestamp = ages.steady(of: row.timestamp)
            ledger.append(row.number, cost: row.cost, timestamp: timestamp)
            guard row.position.epoch >= continuity else { return }
            row.index(in: &history, timestamp: timestamp)
            guard let messageID = row.messageID, timestamp >= horizon else { return }
            messageIDs.append((channel: row.channel, messageID: messageID, position: row.position, timestamp: timestamp))
            if messageIDs.count > self.limits.messageIDsMax { messageIDs.removeFirst() }
        }

        writer.ledger = ledger
        writer.nextRow = nextRow
        writer.isUnresolved = false
        let contents = LogContents(heads: history.heads, messageIDs: Array(messageIDs), epochFloor: max(floor, UInt64(clamping: newestOwnerEpoch)))
        self.shared.withLockedValue { [history] shared in
            shared.history = history
            shared.isSealed = true
        }
        return contents
    }
}
