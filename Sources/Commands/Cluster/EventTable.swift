/// Events in rows under a header, batch after batch. A column grows when a later batch needs it, and never shrinks. Pure.
struct EventTable: Sendable {
    private static let header = ["NUMBER", "TIME", "KIND", "NODE", "VIEW", "WHAT"]

    /// What fits most of what may follow, so that columns rarely move.
    private var widths = [6, 20, EventKind.allCases.map(\.rawValue.count).max() ?? 0, 8, 6]
    private var hasHeader = false

    mutating func lines(_ events: [ClusterEvents.Event], on terminal: Terminal) -> [String] {
        let rows = events.map(Self.cells)
        for column in self.widths.indices { self.widths[column] = max(self.widths[column], rows.map(\.[column].count).max() ?? 0) }
        var lines: [String] = []
        if !self.hasHeader {
            self.hasHeader = true
            lines.append(self.line(Self.header) { _, cell in terminal.paint(cell, .dim) })
        }
        for (event, row) in zip(events, rows) {
            lines.append(
                self.line(row) { column, cell in
                    switch column {
                    case 0, 1: terminal.paint(cell, .dim)
                    case 2: terminal.paint(cell, event.isWorrying ? .yellow : .bold)
                    default: cell
                    }
                })
        }
        return lines
    }

    private static func cells(_ event: ClusterEvents.Event) -> [String] {
        [String(event.number), event.time, event.kind, event.node.isEmpty ? "-" : event.node, String(event.view), event.text]
    }

    private func line(_ cells: [String], paint: (Int, String) -> String) -> String {
        cells.enumerated().map { column, cell in
            let gap = column < self.widths.count ? self.widths[column] + 2 - cell.count : 0
            return paint(column, cell) + String(repeating: " ", count: gap)
        }.joined()
    }
}

extension ClusterEvents.Event {
    fileprivate var isWorrying: Bool { EventKind(rawValue: self.kind).map { [.alarm, .evicted, .sessionLost, .blocked].contains($0) } ?? false }
}
