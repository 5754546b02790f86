import GRDB
import NIOConcurrencyHelpers
package import Partitioning
package import Pipeline

/// Seals partitions. The fence is stored in the table `owner`. While the file is open, a copy of the fence is in memory. The copy cannot be outdated, because
/// the lock on the folder excludes other processes.
extension SQLiteLog {
    package func seal(_ grants: [Grant]) async -> [Result<SealedPartition, LogError>] {
        do {
            return try await self.onWriter { db, writer in
                if writer.isUnresolved { try self.resolve(db, &writer) }
                return try self.store(grants, db)
            }
        } catch {
            return grants.map { _ in .failure(error) }
        }
    }

    /// Stores the owner epochs that are new, in one transaction.
    private func store(_ grants: [Grant], _ db: Database) throws -> [Result<SealedPartition, LogError>] {
        let refusals = self.shared.withLockedValue { shared in grants.map { shared.fence.refusal(sealing: $0) } }
        let accepted = zip(grants, refusals).filter { $0.1 == nil }.map(\.0)
        let changed = self.shared.withLockedValue { shared in accepted.filter { shared.fence.ownerEpoch(of: $0.partition) != $0.ownerEpoch } }
        if !changed.isEmpty {
            try db.inTransaction(.immediate) {
                let statement = try RawStatement(
                    db, "INSERT INTO owner (partition, epoch) VALUES (?1, ?2) ON CONFLICT (partition) DO UPDATE SET epoch = excluded.epoch")
                for grant in changed {
                    defer { statement.reset() }
                    statement.bind(Int64(grant.partition), at: 1)
                    statement.bind(grant.ownerEpoch, at: 2)
                    _ = try statement.step()
                }
                return .commit
            }
        }
        return self.shared.withLockedValue { shared in
            zip(grants, refusals).map { grant, refusal in
                if let refusal { return .failure(refusal) }
                let previous = shared.fence.ownerEpoch(of: grant.partition)
                shared.fence.seal(grant)
                return .success(
                    SealedPartition(
                        epochFloor: max(shared.epochFloor, UInt64(clamping: grant.ownerEpoch)), previousOwnerEpoch: previous,
                        keptEverything: previous != nil && !self.hasLostHistory))
            }
        }
    }

    package func release(_ grants: [Grant]) async {
        self.shared.withLockedValue { shared in
            for grant in grants { shared.fence.release(grant) }
        }
    }

    // MARK: - Heads

    /// Heads are in memory. Message ids are only in the rows, so the rows with a message id are read.
    package func heads(of channels: [ChannelOfPartition]) async throws(LogError) -> LogHeads {
        let now = self.clocks.steady()
        var (heads, rows) = try self.shared.withLockedValue { shared -> Result<(LogHeads, [RowOfHead]), LogError> in
            if let loss = shared.loss { return .failure(LogError(.unavailable, loss)) }
            var heads = LogHeads(heads: [], channelCount: shared.history.channelCount)
            heads.heads.reserveCapacity(channels.count)
            var rows: [RowOfHead] = []
            for requested in channels {
                guard shared.fence.refusal(using: requested.grant) == nil else {
                    heads.heads.append(nil)
                    continue
                }
                guard let head = shared.history.head(of: requested.channel) else {
                    heads.heads.append(ChannelHead(head: Position(epoch: max(shared.epochFloor, UInt64(clamping: requested.grant.ownerEpoch)), offset: 0)))
                    continue
                }
                Self.addRows(
                    of: shared.history.entries(of: requested.channel), to: &rows, index: heads.heads.count, head,
                    horizon: shared.history.bounds.horizon(now: now))
                heads.heads.append(ChannelHead(head: head))
            }
            return .success((heads, rows))
        }.get()
        guard !rows.isEmpty else { return heads }
        for (row, messageID) in zip(rows, try await self.messageIDs(of: rows)) {
            // A row that a trim has deleted meanwhile is too old to detect duplicates.
            if let messageID { heads.heads[row.index]?.messageIDs.append((messageID, row.position, row.timestamp)) }
        }
        return heads
    }

    /// A row whose message id belongs to one of the heads.
    private struct RowOfHead: Sendable {
        var number: Int64
        var index: Int
        var position: Position
        var timestamp: Int64
    }

    private static func addRows(
        of entries: some RandomAccessCollection<HistoryIndex<IndexedRow>.Entry>, to rows: inout [RowOfHead], index: Int, _ head: Position, horizon: Int64
    ) {
        var offset = head.offset - UInt64(entries.count)
        for entry in entries {
            offset += 1
            guard entry.element.hasMessageID, entry.timestamp >= horizon else { continue }
            rows.append(
                RowOfHead(number: entry.element.number, index: index, position: Position(epoch: head.epoch, offset: offset), timestamp: entry.timestamp))
        }
    }

    /// Runs on a reader's queue.
    private func messageIDs(of rows: [RowOfHead]) async throws(LogError) -> [String?] {
        try await self.onReader { db in
            let statement = try RawStatement(db, "SELECT message_id FROM event WHERE seq = ?1")
            defer { statement.reset() }
            return try rows.map { row in
                statement.reset()
                statement.bind(row.number, at: 1)
                return try statement.step() ? statement.text(0) : nil
            }
        }
    }
}
