import GRDB
import NIOCore
import Pipeline

/// A row of the table of events, without type and payload, which the index does not need.
struct StoredRow {
    var number: Int64
    var channel: ChannelName
    var position: Position
    /// On the wall clock, as stored.
    var timestamp: Int64
    /// Equal to ``Event/accountedBytes`` of the event.
    var accountedBytes: Int
    var hasMessageID: Bool

    /// The rows with these numbers, in order. Payloads are not read: they are last in a row, and their length is at its beginning.
    static func forEach(_ db: Database, in numbers: ClosedRange<Int64>, _ body: (StoredRow) throws -> Void) throws {
        let statement = try RawStatement(
            db,
            """
            SELECT seq, epoch, "offset", at, length(payload), channel, message_id IS NOT NULL FROM event
            WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq
            """
        )
        defer { statement.reset() }
        statement.bind(numbers.lowerBound, at: 1)
        statement.bind(numbers.upperBound, at: 2)
        while try statement.step() {
            let name = statement.bytes(5)
            let row = StoredRow(
                number: statement.int64(0), channel: try ChannelName.stored(name),
                position: Position(epoch: UInt64(bitPattern: statement.int64(1)), offset: UInt64(bitPattern: statement.int64(2))),
                timestamp: statement.int64(3), accountedBytes: Event.accountedBytes(payloadBytes: Int(statement.int64(4)), channelBytes: name.count),
                hasMessageID: statement.int64(6) != 0
            )
            try body(row)
        }
    }

    /// - Parameter timestamp: on the steady clock.
    func index(in history: inout HistoryIndex<IndexedRow>, timestamp: Int64) {
        history.append(
            IndexedRow(number: self.number, hasMessageID: self.hasMessageID), to: self.channel, at: self.position, timestamp: timestamp,
            bytes: self.accountedBytes)
    }
}

/// The stored head of a channel whose newest row was deleted.
struct StoredHead {
    var channel: ChannelName
    var position: Position
    /// On the wall clock, as stored.
    var timestamp: Int64

    static func forEach(_ db: Database, _ body: (StoredHead) -> Void) throws {
        let statement = try RawStatement(db, #"SELECT epoch, "offset", at, channel FROM head"#)
        defer { statement.reset() }
        while try statement.step() {
            let position = Position(epoch: UInt64(bitPattern: statement.int64(0)), offset: UInt64(bitPattern: statement.int64(1)))
            body(StoredHead(channel: try ChannelName.stored(statement.bytes(3)), position: position, timestamp: statement.int64(2)))
        }
    }
}

extension ChannelName {
    /// The channel name. It was valid when it was stored.
    static func stored(_ bytes: UnsafeRawBufferPointer) throws -> ChannelName {
        guard let name = ChannelName(bytes: bytes) else {
            throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "a stored channel name is not valid")
        }
        return name
    }
}

extension Event {
    /// ``accountedBytes`` of an event, computed from the sizes of its parts.
    static func accountedBytes(payloadBytes: Int, channelBytes: Int) -> Int { payloadBytes + channelBytes + 64 }
}
