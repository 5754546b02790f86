/// Numbers for people.
extension UInt64 {
    /// 1234567 → 1,234,567
    var grouped: String {
        let digits = Array(String(self))
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return text
    }

    /// `1 channel`, `2 channels`.
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

    /// One decimal for small rates, none for large ones.
    var rate: String { self.fixed(self < 100 ? 1 : 0) }
    /// A share as a percentage.
    var percent: String { (self * 100).fixed(0) + " %" }
}

extension String {
    func padded(_ width: Int, left: Bool = false) -> String {
        let fill = String(repeating: " ", count: max(0, width - self.count))
        return left ? fill + self : self + fill
    }

    /// Lines of at most this many characters, broken between words. Nil does not break.
    func wrapped(to width: Int?) -> [String] {
        guard let width else { return [self] }
        var lines: [String] = []
        for word in self.split(separator: " ", omittingEmptySubsequences: false) {
            if let line = lines.last, line.count + 1 + word.count <= width { lines[lines.count - 1] += " " + word } else { lines.append(String(word)) }
        }
        return lines
    }
}

/// Writes a JSON object in the order in which members are added.
struct JSONObject {
    private var members: [String] = []

    var text: String { "{" + self.members.joined(separator: ",") + "}" }

    mutating func add(_ key: String, _ value: UInt64) { self.put(key, String(value)) }
    mutating func add(_ key: String, _ value: Bool) { self.put(key, value ? "true" : "false") }
    mutating func add(_ key: String, _ value: String) { self.put(key, Self.quoted(value)) }
    mutating func add(_ key: String, _ value: [String]) { self.put(key, "[" + value.map(Self.quoted).joined(separator: ",") + "]") }
    mutating func add(_ key: String, _ value: JSONObject) { self.put(key, value.text) }
    mutating func add(_ key: String, _ value: [JSONObject]) { self.put(key, "[" + value.map(\.text).joined(separator: ",") + "]") }
    mutating func add(_ key: String, _ value: Double) {
        self.put(key, value.isFinite ? String((value * 1000).rounded() / 1000) : "null")
    }

    private mutating func put(_ key: String, _ value: String) { self.members.append(Self.quoted(key) + ":" + value) }

    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case _ where scalar.value < 32: result += "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
