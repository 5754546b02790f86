/// Rows with their columns aligned.
struct Columns {
    private var rows: [[String]] = []

    mutating func add(_ row: String...) {
        self.rows.append(row)
    }

    mutating func add(_ row: [String]) {
        self.rows.append(row)
    }

    /// The rows; `paint` colours a cell after it was aligned, so that colours take no room.
    ///
    /// - Parameter labelWidth: at least so wide is the first column, as another table stands above or below.
    func text(labelWidth: Int = 0, paint: (_ row: Int, _ column: Int, _ cell: String) -> String = { $2 }) -> String {
        let count = self.rows.map(\.count).max() ?? 0
        let widths = (0..<count).map { column in
            max(self.rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0, column == 0 ? labelWidth : 0)
        }
        return self.rows.enumerated().map { index, row in
            row.enumerated().map { column, cell in
                let gap = column == row.count - 1 ? 0 : widths[column] + 2 - cell.count
                return paint(index, column, cell) + String(repeating: " ", count: gap)
            }.joined()
        }.joined(separator: "\n")
    }
}

/// Numbers as people read them.
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

    /// `1 channel`, `2 channels`.
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
