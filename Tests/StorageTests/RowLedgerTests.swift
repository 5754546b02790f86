import Storage
import TestKit
import Testing

@Suite struct RowLedgerTests {
    private struct Row {
        var number: Int64
        var cost: Int
        var timestamp: Int64
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func aRandomWalkKeepsWhatItMustAndLetsGoSoon(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        let bytesMax = Int.random(in: 10_000...1_000_000, using: &random)
        var ledger = RowLedger(bytesMax: bytesMax)
        var rows: [Row] = []
        var next = Int64.random(in: 1...100, using: &random)
        var now: Int64 = 0

        for _ in 0..<4000 {
            now += Int64.random(in: -1...20, using: &random)
            if Int.random(in: 0..<20, using: &random) > 0 {
                let row = Row(number: next, cost: Int.random(in: 1...2000, using: &random), timestamp: now)
                ledger.append(row.number, bytes: row.cost, timestamp: row.timestamp)
                rows.append(row)
                next += 1
            } else {
                let horizon = now - Int64.random(in: 0...20_000, using: &random)
                let limit = Int64.random(in: 1...600, using: &random)
                guard let last = ledger.lastExpendable(before: horizon, bytesMax: bytesMax, limit: limit) else {
                    // What stays is within the bound, and what has expired is at most a segment's time and rows.
                    try #require(rows.reduce(0) { $0 + $1.cost } <= bytesMax)
                    let expired = rows.prefix { $0.timestamp < horizon }
                    try #require(expired.count <= RowLedger.segmentRowsMax)
                    continue
                }
                let going = rows.prefix { $0.number <= last }
                try #require(!going.isEmpty && going.count <= limit)
                // Each of them has expired, or the bound wants it gone but for the segment that it is in.
                var excess = rows.reduce(0) { $0 + $1.cost } - bytesMax
                for row in going {
                    try #require(row.timestamp < horizon + RowLedger.segmentMillisecondsMax || excess > -max(bytesMax / 256, 2000) * 2)
                    excess -= row.cost
                }
                ledger.removed(through: last)
                rows.removeFirst(going.count)
            }
            try #require(ledger.rows == rows.count)
            if let first = rows.first { try #require(ledger.firstRow == first.number) }
            // The cost of a segment leaves with its last row.
            let cost = rows.reduce(0) { $0 + $1.cost }
            try #require(ledger.accountedBytes >= cost && ledger.accountedBytes <= cost + max(bytesMax / 256, 2000))
        }
    }
}
