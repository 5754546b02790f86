import DequeModule

/// What the table of events holds, in segments of consecutive rows: enough to know which prefix may go, at a few bytes a hundred rows.
///
/// The table holds more than the ``HistoryIndex``: rows that their channel's bound on the count has passed stay until the prefix they are in goes.
package struct RowLedger {
    private struct Segment {
        var lastRow: Int64
        var rows: Int
        var cost: Int
        var oldest: Int64
        var newest: Int64
    }

    package static let segmentRowsMax = 256
    package static let segmentMillisecondsMax: Int64 = 1000

    /// The lowest row there is; rows are consecutive from here on.
    package private(set) var firstRow: Int64 = 1
    package private(set) var rows = 0
    package private(set) var cost = 0
    private var segments: Deque<Segment> = []
    private let segmentCostMax: Int

    /// Segments are small against the bound on the cost, so that little more goes than must.
    package init(costMax: Int) {
        self.segmentCostMax = max(1, min(costMax / 256, 256 * 1024))
    }

    package mutating func append(_ row: Int64, cost: Int, timestamp: Int64) {
        if self.rows == 0 { self.firstRow = row }
        self.rows += 1
        self.cost += cost
        if let last = self.segments.last, last.rows < Self.segmentRowsMax, last.cost + cost <= self.segmentCostMax,
            timestamp - last.oldest < Self.segmentMillisecondsMax
        {
            let index = self.segments.count - 1
            self.segments[index].lastRow = row
            self.segments[index].rows += 1
            self.segments[index].cost += cost
            self.segments[index].oldest = min(last.oldest, timestamp)
            self.segments[index].newest = max(last.newest, timestamp)
        } else {
            self.segments.append(Segment(lastRow: row, rows: 1, cost: cost, oldest: timestamp, newest: timestamp))
        }
    }

    /// The last row of the prefix that has expired or is beyond the bound on the cost, at most `limit` rows from the first. Nil if all may stay.
    package func lastExpendable(before horizon: Int64, costMax: Int, limit: Int64) -> Int64? {
        var excess = self.cost - costMax
        var last: Int64?
        for segment in self.segments {
            guard segment.newest < horizon || excess > 0 else { break }
            last = segment.lastRow
            excess -= segment.cost
            if segment.lastRow >= self.firstRow + limit - 1 { return self.firstRow + limit - 1 }
        }
        return last
    }

    /// The prefix up to this row is gone.
    package mutating func removed(through row: Int64) {
        while let first = self.segments.first, first.lastRow <= row {
            self.segments.removeFirst()
            self.rows -= first.rows
            self.cost -= first.cost
            self.firstRow = first.lastRow + 1
        }
        guard row >= self.firstRow, !self.segments.isEmpty else { return }
        // Part of a segment is gone. Its rows leave now, its cost with its last row.
        let gone = Int(row - self.firstRow + 1)
        self.segments[0].rows -= gone
        self.rows -= gone
        self.firstRow = row + 1
    }
}
