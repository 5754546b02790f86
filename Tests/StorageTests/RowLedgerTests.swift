import Storage
import TestKit
import Testing

@Suite struct RowLedgerTests {
    private struct Row {
        var number: Int64
        var bytes: Int
        var timestamp: Int64
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func aRandomWalkKeepsRowsWithinBoundsAndDropsOthersSoon(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        let bytesMax = Int.random(in: 10_000...1_000_000, using: &random)
        var ledger = RowLedger(bytesMax: bytesMax)
        var rows: [Row] = []
        var next = Int64.random(in: 1...100, using: &random)
        var now: Int64 = 0

        for _ in 0..<4000 {
            now += Int64.random(in: -1...20, using: &random)
            if Int.random(in: 0..<20, using: &random) > 0 {
                let row = Row(number: next, bytes: Int.random(in: 1...2000, using: &random), timestamp: now)
                ledger.append(row.number, bytes: row.bytes, timestamp: row.timestamp)
                rows.append(row)
                next += 1
            } else {
                let horizon = now - Int64.random(in: 0...20_000, using: &random)
                let limit = Int64.random(in: 1...600, using: &random)
                guard let last = ledger.lastExpendable(before: horizon, bytesMax: bytesMax, limit: limit) else {
                    // The remaining rows are within the limit, and at most one segment of them has expired.
                    try #require(rows.reduce(0) { $0 + $1.bytes } <= bytesMax)
                    let expired = rows.prefix { $0.timestamp < horizon }
                    try #require(expired.count <= RowLedger.segmentRowsMax)
                    continue
                }
                let deleted = rows.prefix { $0.number <= last }
                try #require(!deleted.isEmpty && deleted.count <= limit)
                // Each deleted row has expired, or exceeds the limit, or is in the same segment as such a row.
                var excess = rows.reduce(0) { $0 + $1.bytes } - bytesMax
                for row in deleted {
                    try #require(row.timestamp < horizon + RowLedger.segmentMillisecondsMax || excess > -max(bytesMax / 256, 2000) * 2)
                    excess -= row.bytes
                }
                ledger.removed(through: last)
                rows.removeFirst(deleted.count)
            }
            try #require(ledger.rows == rows.count)
            if let first = rows.first { try #require(ledger.firstRow == first.number) }
            // The bytes of a segment are subtracted when its last row is deleted.
            let bytes = rows.reduce(0) { $0 + $1.bytes }
            try #require(ledger.accountedBytes >= bytes && ledger.accountedBytes <= bytes + max(bytesMax / 256, 2000))
        }
    }
}
