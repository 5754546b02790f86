/// Whether bytes are one JSON text, by RFC 8259 and nothing more: no comma too many, no number that only some readers accept, and UTF-8 throughout.
struct JSONGrammar {
    private static let depthMax = 512

    private let bytes: [UInt8]
    private var index = 0

    static func accepts(_ bytes: some Collection<UInt8>) -> Bool {
        let bytes = Array(bytes)
        guard String(validating: bytes, as: UTF8.self) != nil else { return false }
        var grammar = JSONGrammar(bytes: bytes)
        grammar.skipSpace()
        guard grammar.value(depth: 0) else { return false }
        grammar.skipSpace()
        return grammar.index == bytes.count
    }

    private init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    private var byte: UInt8? { self.index < self.bytes.count ? self.bytes[self.index] : nil }

    private mutating func value(depth: Int) -> Bool {
        guard depth < JSONGrammar.depthMax, let byte else { return false }
        switch byte {
        case UInt8(ascii: "{"): return self.list(to: UInt8(ascii: "}"), named: true, depth: depth)
        case UInt8(ascii: "["): return self.list(to: UInt8(ascii: "]"), named: false, depth: depth)
        case UInt8(ascii: "\""): return self.string()
        case UInt8(ascii: "t"): return self.word("true")
        case UInt8(ascii: "f"): return self.word("false")
        case UInt8(ascii: "n"): return self.word("null")
        default: return self.number()
        }
    }

    /// The members of an object, or the elements of an array.
    private mutating func list(to end: UInt8, named: Bool, depth: Int) -> Bool {
        self.index += 1
        self.skipSpace()
        if self.take(end) { return true }
        repeat {
            self.skipSpace()
            if named {
                guard self.byte == UInt8(ascii: "\""), self.string() else { return false }
                self.skipSpace()
                guard self.take(UInt8(ascii: ":")) else { return false }
                self.skipSpace()
            }
            guard self.value(depth: depth + 1) else { return false }
            self.skipSpace()
        } while self.take(UInt8(ascii: ","))
        return self.take(end)
    }

    private mutating func string() -> Bool {
        self.index += 1
        while let byte {
            self.index += 1
            switch byte {
            case UInt8(ascii: "\""): return true
            case UInt8(ascii: "\\"): guard self.escape() else { return false }
            case 0..<0x20: return false
            default: break
            }
        }
        return false
    }

    private mutating func escape() -> Bool {
        guard let byte else { return false }
        self.index += 1
        guard byte == UInt8(ascii: "u") else { return "\"\\/bfnrt".utf8.contains(byte) }
        for _ in 0..<4 {
            guard let digit = self.byte, UnicodeScalar(digit).properties.isASCIIHexDigit else { return false }
            self.index += 1
        }
        return true
    }

    private mutating func number() -> Bool {
        _ = self.take(UInt8(ascii: "-"))
        if !self.take(UInt8(ascii: "0")) {
            guard self.digits() else { return false }
        }
        if self.take(UInt8(ascii: ".")) {
            guard self.digits() else { return false }
        }
        guard self.take(UInt8(ascii: "e")) || self.take(UInt8(ascii: "E")) else { return true }
        if !self.take(UInt8(ascii: "+")) { _ = self.take(UInt8(ascii: "-")) }
        return self.digits()
    }

    private mutating func digits() -> Bool {
        let start = self.index
        while let byte, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { self.index += 1 }
        return self.index > start
    }

    private mutating func word(_ word: String) -> Bool {
        guard self.bytes[self.index...].starts(with: word.utf8) else { return false }
        self.index += word.utf8.count
        return true
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard self.byte == byte else { return false }
        self.index += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte, [0x20, 0x0A, 0x0D, 0x09].contains(byte) { self.index += 1 }
    }
}
