/// A list of facts: a column of labels and a column of texts. A long text is wrapped within its column.
struct Facts {
    /// The width of the labels of `status`, so that the cluster's and the node's facts have the same columns.
    static let statusLabelWidth = "subscriptions".count

    private var rows: [(label: String, text: String, colour: Terminal.Colour?)] = []

    mutating func add(_ label: String, _ text: String, _ colour: Terminal.Colour? = nil) {
        self.rows.append((label, text, colour))
    }

    /// - Parameter labelWidth: the minimum width of the labels, to align several lists.
    func text(on terminal: Terminal, labelWidth: Int = 0) -> String {
        let indent = max(self.rows.map { displayWidth($0.label) }.max() ?? 0, labelWidth) + 2
        return self.rows.map { row in
            let lines = wrapped(row.text, to: terminal.width.map { $0 - indent }).map { line in row.colour.map { terminal.paint(line, $0) } ?? line }
            let gap = String(repeating: " ", count: indent - displayWidth(row.label))
            return terminal.paint(row.label, .dim) + gap + lines.joined(separator: "\n" + String(repeating: " ", count: indent))
        }.joined(separator: "\n")
    }
}

/// A table with a header. The columns are in order of importance. A narrow terminal gets only the first columns. A line below the table names the others.
struct Table {
    struct Column: Sendable {
        var header: String
        /// The minimum width. It is enough for most cells, so that the columns to the right do not move when a cell changes.
        var widthMin = 0

        init(_ header: String, widthMin: Int = 0) {
            self.header = header
            self.widthMin = max(widthMin, header.count)
        }
    }

    /// On a narrow terminal, names are first shortened to this width. If the table is still too wide, columns are left out.
    private static let nameWidth = 24

    var columns: [Column]
    /// The index of the column whose cells are names. A name can have any length, so this column is shortened first.
    var names: Int?
    private var rows: [[String]] = []

    init(_ columns: [Column], names: Int? = nil) {
        self.columns = columns
        self.names = names
    }

    mutating func add(_ row: [String]) {
        self.rows.append(row)
    }

    /// The table as text.
    ///
    /// - Parameter paint: colours a cell. It is called after the alignment, because colour codes must not count as width. Row 0 is the first row below the header.
    func text(on terminal: Terminal, paint: (_ row: Int, _ column: Int, _ cell: String) -> String = { $2 }) -> String {
        var rows = self.rows
        var widths = self.columns.indices.map { column in
            max(self.columns[column].widthMin, rows.map { displayWidth($0[column]) }.max() ?? 0)
        }
        if let limit = terminal.tableWidth, let names, self.width(widths) > limit, widths[names] > Self.nameWidth {
            widths[names] = Self.nameWidth
            for row in rows.indices { rows[row][names] = cutMiddle(rows[row][names], to: Self.nameWidth) }
        }
        var count = widths.count
        if let limit = terminal.tableWidth { while count > 1, self.width(widths.prefix(count)) > limit { count -= 1 } }
        let header = self.line(self.columns.map(\.header), widths, count) { terminal.paint($1, .dim) }
        let lines = [header] + rows.enumerated().map { index, row in self.line(row, widths, count) { paint(index, $0, $1) } }
        guard count < self.columns.count else { return lines.joined(separator: "\n") }
        let left = self.columns[count...].map { $0.header.lowercased() }.joined(separator: ", ")
        return (lines + [terminal.sentence("not shown (use -w): \(left)", lead: " ", .dim)]).joined(separator: "\n")
    }

    private func width(_ widths: some Collection<Int>) -> Int { widths.reduce(0, +) + 2 * (widths.count - 1) }

    private func line(_ cells: [String], _ widths: [Int], _ count: Int, _ paint: (Int, String) -> String) -> String {
        cells.prefix(count).enumerated().map { column, cell in
            let gap = column == count - 1 ? 0 : widths[column] + 2 - displayWidth(cell)
            return paint(column, cell) + String(repeating: " ", count: max(gap, 0))
        }.joined()
    }
}

/// Formats numbers for output.
enum Readable {
    static func count(_ number: Int) -> String {
        let digits = String(number.magnitude)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3) { text.append(",") }
            text.append(digit)
        }
        return number < 0 ? "-\(text)" : text
    }

    /// The number with a noun, such as `1 channel` or `2 channels`.
    static func count(_ number: Int, _ thing: String) -> String { "\(self.count(number)) \(thing)\(number == 1 ? "" : "s")" }

    static func bytes(_ bytes: Int) -> String {
        var value = Double(bytes)
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if value < 1024 { return unit == "B" ? "\(bytes) B" : "\(fixed(value, 1)) \(unit)" }
            value /= 1024
        }
        return "\(fixed(value, 1)) TiB"
    }

    static func rate(_ perSecond: Double) -> String {
        perSecond >= 100 ? "\(count(Int(perSecond.rounded())))/s" : "\(fixed(perSecond, 1))/s"
    }

    static func duration(seconds: Int) -> String {
        let parts = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")]
        let shown = parts.drop { $0.0 == 0 }.prefix(2)
        return shown.isEmpty ? "0s" : shown.map { "\($0.0)\($0.1)" }.joined(separator: " ")
    }

    static func milliseconds(_ duration: Duration) -> String {
        "\(fixed(duration.seconds * 1000, 1)) ms"
    }

    static func fixed(_ value: Double, _ places: Int) -> String {
        var scale = 1.0
        for _ in 0..<places { scale *= 10 }
        let scaled = Int((value.magnitude * scale).rounded())
        let fraction = String(scaled % Int(scale))
        let sign = value < 0 && scaled != 0 ? "-" : ""
        return "\(sign)\(scaled / Int(scale)).\(String(repeating: "0", count: places - fraction.count))\(fraction)"
    }
}

extension Duration {
    var seconds: Double {
        Double(self.components.seconds) + Double(self.components.attoseconds) / 1e18
    }
}
