/// Events in rows under a header, batch after batch. A column grows when a later batch needs it, and never shrinks. Pure.
struct EventTable: Sendable {
    private static let header = ["NUMBER", "TIME", "KIND", "NODE", "VIEW", "WHAT"]
    private static let what = 5
    /// What a narrow terminal can do without: -w shows it, and -o json.
    private static let optional: Set<Int> = [0, 4]
    /// Below it the columns that can be left out are.
    private static let whatWidth = 40
    /// Below it the text stands on lines of its own.
    private static let whatWidthMin = 20

    /// What fits most of what may follow, so that columns rarely move.
    private var widths = [6, 20, EventKind.allCases.map(\.rawValue.count).max() ?? 0, 8, 6]
    /// Decided with the header, as it stands above all that follows.
    private var shown: [Int]?

    /// Whether columns were left out.
    var isNarrow: Bool { self.shown.map { $0.count < Self.header.count } ?? false }

    mutating func lines(_ events: [ClusterEvents.Event], on terminal: Terminal) -> [String] {
        let rows = events.map(Self.cells)
        for column in self.widths.indices { self.widths[column] = max(self.widths[column], rows.map { displayWidth($0[column]) }.max() ?? 0) }
        var lines: [String] = []
        let all = Array(Self.header.indices)
        if self.shown == nil {
            let room = terminal.tableWidth.map { $0 - self.indent(all) } ?? .max
            self.shown = room < Self.whatWidth ? all.filter { !Self.optional.contains($0) } : all
            lines += self.lines(Self.header, on: terminal) { _, cell in terminal.paint(cell, .dim) }
        }
        for (event, row) in zip(events, rows) {
            lines += self.lines(row, on: terminal) { column, cell in
                switch column {
                case 0, 1: terminal.paint(cell, .dim)
                case 2: terminal.paint(cell, event.isWorrying ? .yellow : .bold)
                default: cell
                }
            }
        }
        return lines
    }

    private static func cells(_ event: ClusterEvents.Event) -> [String] {
        [String(event.number), event.time, event.kind, event.node.isEmpty ? "-" : event.node, String(event.view), event.text]
    }

    /// Where the text begins.
    private func indent(_ columns: [Int]) -> Int { columns.filter { $0 != Self.what }.reduce(0) { $0 + self.widths[$1] + 2 } }

    /// A row: its text goes on under its beginning, or below the other columns where these leave it no room.
    private func lines(_ cells: [String], on terminal: Terminal, _ paint: (Int, String) -> String) -> [String] {
        let columns = self.shown ?? Array(cells.indices)
        let start = columns.filter { $0 != Self.what }.map { column in
            paint(column, cells[column]) + String(repeating: " ", count: max(self.widths[column] + 2 - displayWidth(cells[column]), 0))
        }.joined()
        let indent = self.indent(columns)
        guard let limit = terminal.tableWidth else { return [start + cells[Self.what]] }
        let isBeside = limit - indent >= Self.whatWidthMin
        let gap = String(repeating: " ", count: isBeside ? indent : 4)
        let text = wrapped(cells[Self.what], to: limit - gap.count)
        return isBeside ? [start + text[0]] + text.dropFirst().map { gap + $0 } : [start] + text.map { gap + $0 }
    }
}

extension ClusterEvents.Event {
    fileprivate var isWorrying: Bool { EventKind(rawValue: self.kind).map { [.alarm, .evicted, .sessionLost, .blocked, .waiting].contains($0) } ?? false }
}
