import Foundation

/// Cuts JSON text at its outermost commas without rewriting it, so that a payload is shown exactly as it came.
enum RawJSON {
    /// The members of an object, each value as its text. Nil if it is not an object.
    static func members(_ text: some Collection<UInt8>) -> [String: [UInt8]]? {
        var scan = Scan(Array(text))
        guard scan.take(UInt8(ascii: "{")) else { return nil }
        var members: [String: [UInt8]] = [:]
        if scan.take(UInt8(ascii: "}")) { return scan.isAtEnd ? members : nil }
        repeat {
            guard let name = scan.value().flatMap({ self.string($0) }), scan.take(UInt8(ascii: ":")), let value = scan.value() else { return nil }
            members[name] = Array(value)
        } while scan.take(UInt8(ascii: ","))
        return scan.take(UInt8(ascii: "}")) && scan.isAtEnd ? members : nil
    }

    /// The elements of an array, each as its text. Nil if it is not an array.
    static func elements(_ text: some Collection<UInt8>) -> [[UInt8]]? {
        var scan = Scan(Array(text))
        guard scan.take(UInt8(ascii: "[")) else { return nil }
        if scan.take(UInt8(ascii: "]")) { return scan.isAtEnd ? [] : nil }
        var elements: [[UInt8]] = []
        repeat {
            guard let value = scan.value() else { return nil }
            elements.append(Array(value))
        } while scan.take(UInt8(ascii: ","))
        return scan.take(UInt8(ascii: "]")) && scan.isAtEnd ? elements : nil
    }

    /// The string that the text is, if it is one.
    static func string(_ text: some Collection<UInt8>) -> String? {
        guard text.first == UInt8(ascii: "\"") else { return nil }
        return (try? JSONSerialization.jsonObject(with: Data(text), options: .fragmentsAllowed)) as? String
    }

    /// The number that the text is, if it is a whole one.
    static func integer(_ text: some Collection<UInt8>) -> Int? {
        Int(String(decoding: text, as: UTF8.self))
    }

    /// The text as a JSON string.
    static func quoted(_ text: String) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        guard let data = try? encoder.encode(text) else { return "\"\"" }
        return String(decoding: data, as: UTF8.self)
    }
}

/// A place in JSON text. It finds where values end; that they are right inside is for who reads them.
private struct Scan {
    private let bytes: [UInt8]
    private var index = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    var isAtEnd: Bool {
        mutating get {
            self.skipSpace()
            return self.index == self.bytes.count
        }
    }

    mutating func take(_ byte: UInt8) -> Bool {
        self.skipSpace()
        guard self.index < self.bytes.count, self.bytes[self.index] == byte else { return false }
        self.index += 1
        return true
    }

    mutating func value() -> ArraySlice<UInt8>? {
        self.skipSpace()
        let start = self.index
        var depth = 0
        while self.index < self.bytes.count {
            switch self.bytes[self.index] {
            case UInt8(ascii: "\""):
                guard self.skipString() else { return nil }
                if depth == 0 { return self.bytes[start..<self.index] }
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if depth == 0 { return self.literal(from: start) }
                depth -= 1
                if depth == 0 {
                    self.index += 1
                    return self.bytes[start..<self.index]
                }
            case UInt8(ascii: ","), UInt8(ascii: ":"), UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"):
                if depth == 0 { return self.literal(from: start) }
            default:
                break
            }
            self.index += 1
        }
        return depth == 0 ? self.literal(from: start) : nil
    }

    private func literal(from start: Int) -> ArraySlice<UInt8>? {
        start == self.index ? nil : self.bytes[start..<self.index]
    }

    private mutating func skipString() -> Bool {
        self.index += 1
        while self.index < self.bytes.count {
            let byte = self.bytes[self.index]
            self.index += byte == UInt8(ascii: "\\") ? 2 : 1
            if byte == UInt8(ascii: "\"") { return true }
        }
        return false
    }

    private mutating func skipSpace() {
        while self.index < self.bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(self.bytes[self.index]) { self.index += 1 }
    }
}
