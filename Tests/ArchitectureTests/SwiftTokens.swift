/// A word or a mark of Swift source text, with its line.
struct Token: Equatable {
    enum Kind { case word, mark }

    var kind: Kind
    var text: String
    var line: Int
}

/// The words and marks of Swift source text, without comments. A string literal contributes only its interpolations. This is just enough to find the names that
/// a file declares and uses.
struct SwiftTokens {
    private let bytes: [UInt8]
    private var index = 0
    private var line = 1
    private var tokens: [Token] = []

    private init(_ text: String) { self.bytes = Array(text.utf8) }

    static func tokens(of text: String) -> [Token] {
        var reader = SwiftTokens(text)
        reader.read(until: nil)
        return reader.tokens
    }

    private func byte(_ offset: Int = 0) -> UInt8? { self.index + offset < self.bytes.count ? self.bytes[self.index + offset] : nil }

    private mutating func advance() {
        if self.bytes[self.index] == UInt8(ascii: "\n") { self.line += 1 }
        self.index += 1
    }

    /// Reads to the end of the text, or to the parenthesis that closes an interpolation.
    private mutating func read(until closing: UInt8?) {
        var depth = 0
        while let byte = self.byte() {
            switch byte {
            case UInt8(ascii: "/") where self.byte(1) == UInt8(ascii: "/"):
                while let byte = self.byte(), byte != UInt8(ascii: "\n") { self.advance() }
            case UInt8(ascii: "/") where self.byte(1) == UInt8(ascii: "*"):
                self.skipBlockComment()
            case UInt8(ascii: "\""), UInt8(ascii: "#"):
                if !self.readString() { self.mark() }
            case UInt8(ascii: "("):
                depth += 1
                self.mark()
            case UInt8(ascii: ")"):
                if depth == 0, closing == byte { return }
                depth -= 1
                self.mark()
            case UInt8(ascii: "`"), 0...UInt8(ascii: " "):
                self.advance()
            case _ where Self.isWord(byte):
                self.word()
            default:
                self.mark()
            }
        }
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "_"), UInt8(ascii: "$"), 0x80...: true
        default: false
        }
    }

    private mutating func mark() {
        self.tokens.append(Token(kind: .mark, text: String(UnicodeScalar(self.bytes[self.index])), line: self.line))
        self.advance()
    }

    private mutating func word() {
        let start = self.index
        while let byte = self.byte(), Self.isWord(byte) { self.index += 1 }
        self.tokens.append(Token(kind: .word, text: String(decoding: self.bytes[start..<self.index], as: UTF8.self), line: self.line))
    }

    private mutating func skipBlockComment() {
        var depth = 0
        while self.byte() != nil {
            if self.byte() == UInt8(ascii: "/"), self.byte(1) == UInt8(ascii: "*") {
                depth += 1
                self.advance()
            } else if self.byte() == UInt8(ascii: "*"), self.byte(1) == UInt8(ascii: "/") {
                depth -= 1
                self.advance()
            }
            self.advance()
            if depth == 0 { return }
        }
    }

    /// Reads a string literal of any kind: `"…"`, `"""…"""`, `#"…"#`. Returns false if no string literal begins here.
    private mutating func readString() -> Bool {
        var hashes = 0
        while self.byte(hashes) == UInt8(ascii: "#") { hashes += 1 }
        guard self.byte(hashes) == UInt8(ascii: "\"") else { return false }
        let isLong = self.byte(hashes + 1) == UInt8(ascii: "\"") && self.byte(hashes + 2) == UInt8(ascii: "\"")
        let quotes = isLong ? 3 : 1
        for _ in 0..<(hashes + quotes) { self.advance() }
        while let byte = self.byte() {
            if byte == UInt8(ascii: "\\"), self.has(hashes, of: "#", at: 1) {
                for _ in 0..<(1 + hashes) { self.advance() }
                let isInterpolation = self.byte() == UInt8(ascii: "(")
                if self.byte() != nil { self.advance() }
                if isInterpolation { self.read(until: UInt8(ascii: ")")) }
                if isInterpolation, self.byte() != nil { self.advance() }
            } else if self.has(quotes, of: "\"", at: 0), self.has(hashes, of: "#", at: quotes) {
                for _ in 0..<(quotes + hashes) { self.advance() }
                return true
            } else {
                self.advance()
            }
        }
        return true
    }

    private func has(_ count: Int, of mark: UnicodeScalar, at offset: Int) -> Bool {
        (0..<count).allSatisfy { self.byte(offset + $0) == UInt8(ascii: mark) }
    }
}
