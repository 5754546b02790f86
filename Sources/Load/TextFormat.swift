/// Formats numbers for output.
extension UInt64 {
    /// The number with separators: 1234567 becomes `1,234,567`.
    var grouped: String {
        let digits = Array(String(self))
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return text
    }

    /// The number with a noun, such as `1 channel` or `2 channels`.
    func counted(_ thing: String) -> String { "\(self.grouped) \(thing)\(self == 1 ? "" : "s")" }

    var mebibytes: String { (Double(self) / 1_048_576).fixed(1) }

    /// Nanoseconds with a suitable unit.
    var asTime: String {
        switch self {
        case ..<1_000_000: (Double(self) / 1e3).fixed(1) + " µs"
        case ..<1_000_000_000: (Double(self) / 1e6).fixed(2) + " ms"
        default: (Double(self) / 1e9).fixed(2) + " s"
        }
    }
}

extension Double {
    func fixed(_ places: Int) -> String {
        guard self.isFinite, self.magnitude < 1e15 else { return "-" }
        let scale = (0..<places).reduce(1.0) { value, _ in value * 10 }
        let scaled = (self.magnitude * scale).rounded()
        let whole = UInt64(scaled / scale)
        let rest = UInt64(scaled) - whole * UInt64(scale)
        let sign = self < 0 && scaled > 0 ? "-" : ""
        return sign + whole.grouped + (places > 0 ? "." + String(repeating: "0", count: places - String(rest).count) + String(rest) : "")
    }

    /// A rate with one decimal. From 100 upwards, a rate without decimals.
    var rate: String { self.fixed(self < 100 ? 1 : 0) }
    /// A share in percent: 0.5 becomes `50 %`.
    var percent: String { (self * 100).fixed(0) + " %" }
}

extension String {
    func padded(_ width: Int, left: Bool = false) -> String {
        let fill = String(repeating: " ", count: max(0, width - self.count))
        return left ? fill + self : self + fill
    }

    /// Lines of at most this number of characters, broken between words. Nil is no limit.
    func wrapped(to width: Int?) -> [String] {
        guard let width else { return [self] }
        var lines: [String] = []
        for word in self.split(separator: " ", omittingEmptySubsequences: false) {
            if let line = lines.last, line.count + 1 + word.count <= width { lines[lines.count - 1] += " " + word } else { lines.append(String(word)) }
        }
        return lines
    }
}
