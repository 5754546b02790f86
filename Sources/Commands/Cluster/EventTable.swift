import AdminAPI

/// Formats events as rows under one header, batch by batch. A column becomes wider if a later batch needs it, and never narrower. Pure.
struct EventTable: Sendable {
    private static let header = ["NUMBER", "TIME", "KIND", "NODE", "VIEW", "WHAT"]
    private static let (time, node, what) = (1, 3, 5)
    /// The columns that a narrow terminal leaves out. -w and -o json show them.
    private static let optional: Set<Int> = [0, 4]
    /// If the column WHAT would be narrower than this, the optional columns are left out.
    private static let whatWidth = 40
    /// If the column WHAT would still be narrower than this, the text of each event is printed on its own lines.
    private static let whatWidthMin = 20
    /// Times have no date if the terminal is narrower than this.
    private static let dateWidthMin = 46
    private static let dateCount = "2026-01-01T".count
    /// A longer node name is shortened in its middle if a row has no space for it.
    private static let (nameWidthMin, nameWidth) = (8, 24)

    /// The initial widths fit most events, so that columns rarely move.
    private var widths = [6, 20, ClusterEvent.Kind.allCases.map(\.rawValue.count).max() ?? 0, 8, 6]
    /// The visible columns. They are chosen when the header is written, because all later rows are below this header.
    private var shown: [Int]?

    /// Whether columns were left out.
    var isNarrow: Bool { self.shown.map { $0.count < Self.header.count } ?? false }

    mutating func lines(_ events: [ClusterEvent], on terminal: Terminal) -> [String] {
        let rows = events.map(Self.cells)
        for column in self.widths.indices { self.widths[column] = max(self.widths[column], rows.map { displayWidth($0[column]) }.max() ?? 0) }
        var lines: [String] = []
        let all = Array(Self.header.indices)
        if self.shown == nil {
            let space = terminal.tableWidth.map { $0 - Self.indent(self.widths, all) } ?? .max
            self.shown = space < Self.whatWidth ? all.filter { !Self.optional.contains($0) } : all
            lines += self.lines(Self.header, on: terminal) { _, cell in terminal.paint(cell, .dim) }
        }
        for (event, row) in zip(events, rows) {
            lines += self.lines(row, on: terminal) { column, cell in
                switch column {
                case 0, 1: terminal.paint(cell, .dim)
                case 2: terminal.paint(cell, event.needsAttention ? .yellow : .bold)
                default: cell
                }
            }
        }
        return lines
    }

    private static func cells(_ event: ClusterEvent) -> [String] {
        [String(event.number), event.time, event.kind.rawValue, event.node.isEmpty ? "-" : event.node, String(event.viewVersion), event.text]
    }

    /// The column where the text begins.
    private static func indent(_ widths: [Int], _ columns: [Int]) -> Int {
        columns.filter { $0 != Self.what }.reduce(0) { $0 + widths[$1] + 2 }
    }

    /// The widths of the columns in a terminal of this width.
    private func widths(_ columns: [Int], in limit: Int) -> [Int] {
        var widths = self.widths
        if limit < Self.dateWidthMin { widths[Self.time] -= Self.dateCount }
        let others = Self.indent(widths, columns) - widths[Self.node]
        let space = self.isNarrow ? min(Self.nameWidth, limit - others) : limit - others - Self.whatWidthMin
        widths[Self.node] = min(widths[Self.node], max(Self.nameWidthMin, space))
        return widths
    }

    /// The lines of one row. The event's text is wrapped within its column. If the column is too narrow, the text is below the other columns.
    private func lines(_ cells: [String], on terminal: Terminal, _ paint: (Int, String) -> String) -> [String] {
        let columns = self.shown ?? Array(cells.indices)
        let limit = terminal.tableWidth
        let widths = limit.map { self.widths(columns, in: $0) } ?? self.widths
        let indent = Self.indent(widths, columns)
        let isBeside = limit.map { $0 - indent >= Self.whatWidthMin } ?? true
        var lines = [""]
        var width = 0
        for column in columns where column != Self.what {
            if let limit, width > 0, width + widths[column] > limit {
                lines.append("")
                width = 0
            }
            let cell = Self.fitted(cells[column], column, to: widths[column])
            lines[lines.count - 1] += paint(column, cell) + String(repeating: " ", count: max(widths[column] + 2 - displayWidth(cell), 0))
            width += widths[column] + 2
        }
        let gap = String(repeating: " ", count: isBeside ? indent : 4)
        var text = wrapped(cells[Self.what], to: limit.map { $0 - gap.count })
        if isBeside { lines[lines.count - 1] += text.removeFirst() }
        return (lines + text.map { gap + $0 }).map(Self.withoutTrailingSpaces)
    }

    private static func fitted(_ cell: String, _ column: Int, to width: Int) -> String {
        switch column {
        case Self.node: cutMiddle(cell, to: width)
        case Self.time where displayWidth(cell) > width: String(cell.dropFirst(Self.dateCount))
        default: cell
        }
    }

    private static func withoutTrailingSpaces(_ line: String) -> String {
        var line = line
        while line.hasSuffix(" ") { line.removeLast() }
        return line
    }
}

extension ClusterEvent {
    fileprivate var needsAttention: Bool { [.alarm, .evicted, .sessionLost, .blocked, .waiting].contains(self.kind) }
}
