/// Scans JSON text (RFC 8259) without building objects: it finds where values begin and end, and whether the text is valid.
///
/// The payload of a publish is a JSON value that is delivered unchanged. Decoding the payload into objects and encoding it again would cost more than the rest
/// of the publish, and could change the payload. The depth is bounded, so that hostile nesting cannot exhaust the stack.
package struct JSONScanner {
    package static let depthMax = 128

    package let bytes: UnsafeRawBufferPointer
    private let depthMax: Int
    package private(set) var index = 0
    /// The text has a raw line break between two tokens. Such a line break is valid JSON, but a line-framed transport must replace it.
    package private(set) var sawLineBreak = false

    package init(_ bytes: UnsafeRawBufferPointer, depthMax: Int = JSONScanner.depthMax) {
        self.bytes = bytes
        self.depthMax = depthMax
    }

    /// Whether the bytes are exactly one JSON value. The bytes must be valid UTF-8.
    package static func isValue(_ bytes: UnsafeRawBufferPointer) -> (valid: Bool, hasLineBreaks: Bool) {
        var scanner = JSONScanner(bytes)
        let valid = scanner.skipValue() && scanner.isAtEnd()
        return (valid, scanner.sawLineBreak)
    }

    package mutating func isAtEnd() -> Bool {
        self.skipSpace()
        return self.index == self.bytes.count
    }

    /// The next byte that is not white space. Nil at the end.
    package mutating func peek() -> UInt8? {
        self.skipSpace()
        return self.index < self.bytes.count ? self.bytes[self.index] : nil
    }

    /// If the next byte is `byte`, moves past it and returns true. Otherwise returns false.
    package mutating func take(_ byte: UInt8) -> Bool {
        guard self.peek() == byte else { return false }
        self.index += 1
        return true
    }

    /// The range of the next value, without the white space around it. Nil if the value is not valid.
    package mutating func value() -> Range<Int>? {
        self.skipSpace()
        let start = self.index
        return self.skipValue() ? start..<self.index : nil
    }

    /// The text of the next value. Nil if the value is not a valid string.
    package mutating func string() -> String? {
        guard let range = self.value(), self.bytes[range.lowerBound] == UInt8(ascii: "\"") else { return nil }
        return JSONScanner.unescape(UnsafeRawBufferPointer(rebasing: self.bytes[range.lowerBound + 1..<range.upperBound - 1]))
    }

    /// Calls `field` for each field of the next value, with its name and the range of its value. Returns false if the value is not a valid object.
    @inlinable
    package mutating func object<Failure: Error>(_ field: (String, Range<Int>) throws(Failure) -> Void) throws(Failure) -> Bool {
        guard self.take(UInt8(ascii: "{")) else { return false }
        if self.take(UInt8(ascii: "}")) { return true }
        repeat {
            guard let name = self.string(), self.take(UInt8(ascii: ":")), let range = self.value() else { return false }
            try field(name, range)
        } while self.take(UInt8(ascii: ","))
        return self.take(UInt8(ascii: "}"))
    }

    /// The ranges of the next value's elements. Nil if the value is not a valid array.
    package mutating func array() -> [Range<Int>]? {
        guard self.take(UInt8(ascii: "[")) else { return nil }
        var ranges: [Range<Int>] = []
        if self.take(UInt8(ascii: "]")) { return ranges }
        repeat {
            guard let range = self.value() else { return nil }
            ranges.append(range)
        } while self.take(UInt8(ascii: ","))
        return self.take(UInt8(ascii: "]")) ? ranges : nil
    }

    package mutating func skipValue(depth: Int = 0) -> Bool {
        guard depth < self.depthMax, let byte = self.peek() else { return false }
        switch byte {
        case UInt8(ascii: "{"): return self.skipObject(depth)
        case UInt8(ascii: "["): return self.skipArray(depth)
        case UInt8(ascii: "\""): return self.skipString()
        case UInt8(ascii: "t"): return self.skipWord("true")
        case UInt8(ascii: "f"): return self.skipWord("false")
        case UInt8(ascii: "n"): return self.skipWord("null")
        default: return self.skipNumber()
        }
    }

    // MARK: - Parts

    private mutating func skipSpace() {
        while self.index < self.bytes.count {
            switch self.bytes[self.index] {
            case 0x20, 0x09: break
            case 0x0A, 0x0D: self.sawLineBreak = true
            default: return
            }
            self.index += 1
        }
    }

    private mutating func skipObject(_ depth: Int) -> Bool {
        self.index += 1
        if self.take(UInt8(ascii: "}")) { return true }
        repeat {
            guard self.peek() == UInt8(ascii: "\""), self.skipString(), self.take(UInt8(ascii: ":")), self.skipValue(depth: depth + 1) else { return false }
        } while self.take(UInt8(ascii: ","))
        return self.take(UInt8(ascii: "}"))
    }

    private mutating func skipArray(_ depth: Int) -> Bool {
        self.index += 1
        if self.take(UInt8(ascii: "]")) { return true }
        repeat {
            guard self.skipValue(depth: depth + 1) else { return false }
        } while self.take(UInt8(ascii: ","))
        return self.take(UInt8(ascii: "]"))
    }

    private mutating func skipString() -> Bool {
        self.index += 1
        while self.index < self.bytes.count {
            let byte = self.bytes[self.index]
            self.index += 1
            switch byte {
            case UInt8(ascii: "\""): return true
            case UInt8(ascii: "\\"): guard self.skipEscape() else { return false }
            case 0..<0x20: return false
            default: break
            }
        }
        return false
    }

    private mutating func skipEscape() -> Bool {
        guard self.index < self.bytes.count else { return false }
        let byte = self.bytes[self.index]
        self.index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"),
            UInt8(ascii: "t"):
            return true
        case UInt8(ascii: "u"):
            guard self.index + 4 <= self.bytes.count else { return false }
            for digit in self.bytes[self.index..<self.index + 4] where JSONScanner.hexValue(digit) == nil { return false }
            self.index += 4
            return true
        default:
            return false
        }
    }

    private mutating func skipWord(_ word: StaticString) -> Bool {
        guard self.index + word.utf8CodeUnitCount <= self.bytes.count else { return false }
        for offset in 0..<word.utf8CodeUnitCount where self.bytes[self.index + offset] != word.utf8Start[offset] { return false }
        self.index += word.utf8CodeUnitCount
        return true
    }

    private mutating func skipNumber() -> Bool {
        if self.next == UInt8(ascii: "-") { self.index += 1 }
        if self.next == UInt8(ascii: "0") {
            self.index += 1
        } else if self.skipDigits() == 0 {
            return false
        }
        if self.next == UInt8(ascii: ".") {
            self.index += 1
            if self.skipDigits() == 0 { return false }
        }
        if self.next == UInt8(ascii: "e") || self.next == UInt8(ascii: "E") {
            self.index += 1
            if self.next == UInt8(ascii: "+") || self.next == UInt8(ascii: "-") { self.index += 1 }
            if self.skipDigits() == 0 { return false }
        }
        return true
    }

    private var next: UInt8? { self.index < self.bytes.count ? self.bytes[self.index] : nil }

    private mutating func skipDigits() -> Int {
        let start = self.index
        while let digit = self.next, (0x30...0x39).contains(digit) { self.index += 1 }
        return self.index - start
    }

    static func hexValue(_ byte: UInt8) -> UInt32? {
        switch byte {
        case 0x30...0x39: UInt32(byte - 0x30)
        case 0x41...0x46: UInt32(byte - 0x41 + 10)
        case 0x61...0x66: UInt32(byte - 0x61 + 10)
        default: nil
        }
    }

    /// The text inside the quotes of a valid JSON string. Nil for a lone surrogate or bytes that are not UTF-8.
    private static func unescape(_ bytes: UnsafeRawBufferPointer) -> String? {
        guard bytes.contains(UInt8(ascii: "\\")) else { return String(validating: bytes, as: UTF8.self) }
        var units: [UInt8] = []
        units.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            guard byte == UInt8(ascii: "\\") else {
                units.append(byte)
                continue
            }
            let escape = bytes[index]
            index += 1
            switch escape {
            case UInt8(ascii: "b"): units.append(0x08)
            case UInt8(ascii: "f"): units.append(0x0C)
            case UInt8(ascii: "n"): units.append(0x0A)
            case UInt8(ascii: "r"): units.append(0x0D)
            case UInt8(ascii: "t"): units.append(0x09)
            case UInt8(ascii: "u"):
                guard let scalar = codePoint(bytes, &index) else { return nil }
                units.append(contentsOf: String(Character(scalar)).utf8)
            default: units.append(escape)
            }
        }
        return String(validating: units, as: UTF8.self)
    }

    private static func codePoint(_ bytes: UnsafeRawBufferPointer, _ index: inout Int) -> Unicode.Scalar? {
        func unit() -> UInt32? {
            guard index + 4 <= bytes.count else { return nil }
            defer { index += 4 }
            return bytes[index..<index + 4].reduce(0) { $0 << 4 | (hexValue($1) ?? 0) }
        }
        guard let first = unit() else { return nil }
        guard (0xD800..<0xDC00).contains(first) else { return Unicode.Scalar(first) }
        guard index + 2 <= bytes.count, bytes[index] == UInt8(ascii: "\\"), bytes[index + 1] == UInt8(ascii: "u") else { return nil }
        index += 2
        guard let second = unit(), (0xDC00..<0xE000).contains(second) else { return nil }
        return Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
    }
}
