import GRDB
import NIOConcurrencyHelpers
import NIOCore
package import Pipeline

extension SQLiteLog {
    package func read(
        _ channel: ChannelName, after position: Position, limit: Int, bytesMax: Int
    ) async throws(LogError) -> LogSlice {
        var missing: Int64?
        while true {
            let slice = try self.find(channel, after: position, limit: limit)
            guard let first = slice.elements.first else { return LogSlice(events: [], oldest: slice.oldest) }
            if let events = try await self.fetch(slice.elements, of: channel, bytesMax: bytesMax) {
                return LogSlice(events: events, oldest: slice.oldest)
            }
            // A row was deleted between the look-up and the read. A trim removes rows from the index first, so the next look-up does not find it.
            guard missing != first.number else {
                let failure = LogError(
                    .unusable, "\(self.file) has lost row \(first.number): stop the node and restore a backup, or move the file away")
                throw self.failure(failure, nil)
            }
            missing = first.number
        }
    }

    private func find(_ channel: ChannelName, after position: Position, limit: Int) throws(LogError) -> HistoryIndex<IndexedRow>.Slice {
        let now = self.clocks.steady()
        return try self.shared.withLockedValue { shared -> Result<HistoryIndex<IndexedRow>.Slice, LogError> in
            // The path may lead to another file now, and a new reader would open that file.
            if let loss = shared.loss { return .failure(LogError(.unavailable, loss)) }
            guard shared.fence.isSealed else { return .failure(.notSealed) }
            return .success(shared.history.elements(of: channel, after: position, limit: limit, now: now))
        }.get()
    }

    /// The rows' events, or nil if a row was deleted. Runs on a reader's queue.
    private func fetch(_ rows: [IndexedRow], of channel: ChannelName, bytesMax: Int) async throws(LogError) -> [SequencedEvent]? {
        try await self.onReader { db in try SQLiteLog.events(rows, of: channel, bytesMax: bytesMax, db) }
    }

    private static func events(_ rows: [IndexedRow], of channel: ChannelName, bytesMax: Int, _ db: Database) throws -> [SequencedEvent]? {
        let statement = try RawStatement(db, #"SELECT epoch, "offset", at, type, message_id, payload FROM event WHERE seq = ?1"#)
        defer { statement.reset() }
        var events: [SequencedEvent] = []
        events.reserveCapacity(rows.count)
        var bytes = 0
        for row in rows {
            statement.reset()
            statement.bind(row.number, at: 1)
            guard try statement.step() else { return nil }
            let payload = statement.bytes(5)
            bytes += payload.count
            if bytes > bytesMax, !events.isEmpty { break }
            var buffer = ByteBufferAllocator().buffer(capacity: payload.count)
            buffer.writeBytes(payload)
            events.append(
                SequencedEvent(
                    event: Event(channel: channel, payload: buffer, type: statement.text(3), messageID: statement.text(4)),
                    position: Position(epoch: UInt64(bitPattern: statement.int64(0)), offset: UInt64(bitPattern: statement.int64(1))),
                    timestamp: statement.int64(2)
                )
            )
        }
        return events
    }
}
