import GRDB
import Partitioning
import Pipeline

/// The state that a log reads from its data folder when it is opened.
struct OpenedHistory {
    var history: HistoryIndex<IndexedRow>
    var ledger: RowLedger
    var nextRow: Int64 = 1
    var fence: Fence
    var epochFloor: UInt64

    /// Reads the heads, then all rows in their order. The payloads are not read.
    init(_ db: Database, limits: Limits, ages: StoredAges) throws {
        self.history = HistoryIndex(bounds: HistoryIndex.Bounds(limits))
        self.ledger = RowLedger(bytesMax: limits.historyBytesMax)
        self.epochFloor = UInt64(bitPattern: try Meta.epochFloor.read(db, as: Int64.self) ?? 0)
        var owners: [PartitionID: OwnerEpoch] = [:]
        for row in try Row.fetchAll(db, sql: "SELECT partition, epoch FROM owner") { owners[row[0]] = row[1] }
        self.fence = Fence(stored: owners)

        let continuity = UInt64(bitPattern: try Meta.continuity.read(db, as: Int64.self) ?? 0)
        try StoredHead.forEach(db) { self.history.remember($0.channel, head: $0.position, timestamp: ages.steady(of: $0.timestamp)) }
        try StoredRow.forEach(db, in: 0...(.max)) { row in
            self.nextRow = row.number + 1
            let timestamp = ages.steady(of: row.timestamp)
            self.ledger.append(row.number, bytes: row.accountedBytes, timestamp: timestamp)
            if row.position.epoch >= continuity { row.index(in: &self.history, timestamp: timestamp) }
        }
    }
}
