import DequeModule

/// Sizes and ages of the rows in the table of events, in segments of consecutive rows. The ledger decides which prefix of the table can be deleted. It uses a
/// few bytes for each hundred rows.
///
/// The table may have more rows than the ``HistoryIndex``. A row beyond its channel's limit on the number of events stays until its prefix is deleted.
package struct RowLedger {
    private struct Segment {
        var lastRow: Int64
        var rows: Int
        var accountedBytes: Int
        var oldest: Int64
        var newest: Int64
    }

    package static let segmentRowsMax = 256
    package static let segmentMillisecondsMax: Int64 = 1000

    /// The lowest row number. All row numbers from here to the last row are consecutive.
    package private(set) var firstRow: Int64 = 1
    package private(set) var rows = 0
    package private(set) var accountedBytes = 0
    private var segments: Deque<Segment> = []
    private let segmentBytesMax: Int

    /// A segment has at most 1/256 of the limit on the bytes, so that only a little more is deleted than necessary.
    package init(bytesMax: Int) {
        self.segmentBytesMax = max(1, min(bytesMax / 256, 256 * 1024))
    }

    package mutating func append(_ row: Int64, bytes: Int, timestamp: Int64) {
        if self.rows == 0 { self.firstRow = row }
        self.rows += 1
        self.accountedBytes += bytes
        if let last = self.segments.last, last.rows < Self.segmentRowsMax, last.accountedBytes + bytes <= self.segmentBytesMax,
            timestamp - last.oldest < Self.segmentMillisecondsMax
        {
            let index = self.segments.count - 1
            self.segments[index].lastRow = row
            self.segments[index].rows += 1
            self.segments[index].accountedBytes += bytes
            self.segments[index].oldest = min(last.oldest, timestamp)
            self.segments[index].newest = max(last.newest, timestamp)
        } else {
            self.segments.append(Segment(lastRow: row, rows: 1, accountedBytes: bytes, oldest: timestamp, newest: timestamp))
        }
    }

    /// The last row of the prefix that has expired or exceeds the limit on the bytes, at most `limit` rows from the first. Nil if no row has to be deleted.
    package func lastExpendable(before horizon: Int64, bytesMax: Int, limit: Int64) -> Int64? {
        var excess = self.accountedBytes - bytesMax
        var last: Int64?
        for segment in self.segments {
            guard segment.newest < horizon || excess > 0 else { break }
            last = segment.lastRow
            excess -= segment.accountedBytes
            if segment.lastRow >= self.firstRow + limit - 1 { return self.firstRow + limit - 1 }
        }
        return last
    }

    /// Removes the prefix up to this row, which was deleted.
    package mutating func removed(through row: Int64) {
        while let first = self.segments.first, first.lastRow <= row {
            self.segments.removeFirst()
            self.rows -= first.rows
            self.accountedBytes -= first.accountedBytes
            self.firstRow = first.lastRow + 1
        }
        guard row >= self.firstRow, !self.segments.isEmpty else { return }
        // Only a part of this segment was deleted. Its rows are subtracted now. Its bytes are subtracted when its last row is deleted.
        let deleted = Int(row - self.firstRow + 1)
        self.segments[0].rows -= deleted
        self.rows -= deleted
        self.firstRow = row + 1
    }
}
