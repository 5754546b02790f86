/// Follows HTTP/1.1 answers on one connection: the status, and where an answer ends. Keeps no bytes, only where it is.
struct HTTPResponseScanner: Sendable {
    enum Progress: Equatable {
        case more
        /// The head ended; what follows is the body.
        case head
        /// The answer ended; what follows is the next answer.
        case complete
    }

    private enum Place: UInt8 {
        case status, statusEnd, lineStart, name, value, headEnd, chunkSize, chunkSizeEnd, chunk, chunkEnd, trailerStart, trailer, body, done
    }

    private enum Field: Int {
        case contentLength, transferEncoding, connection, other
    }

    private static let names = [Array("content-length".utf8), Array("transfer-encoding".utf8), Array("connection".utf8)]
    private static let chunkedWord = Array("chunked".utf8)
    private static let closeWord = Array("close".utf8)

    private(set) var status: Int = 0
    /// The server closes the connection after this answer.
    private(set) var closes = false
    private var place = Place.status
    private var field = Field.other
    private var candidates: UInt8 = 0
    private var position = 0
    private var word = 0
    private var length: UInt64?
    private var chunked = false
    private var remaining: UInt64 = 0

    init() {}

    /// Nothing of an answer has been read yet.
    var isAtStart: Bool { self.place == .status && self.position == 0 }
    /// The head says how long the body is.
    var hasLength: Bool { self.length != nil }
    /// The body ends only with the connection.
    var endsWithConnection: Bool { self.place == .body && self.length == nil }

    /// Reads up to the end of the head or of the answer, whichever is first, and says how many bytes that took.
    mutating func consume(_ bytes: UnsafePointer<UInt8>, count: Int) -> (used: Int, progress: Progress) {
        var index = 0
        if self.place == .done { self = HTTPResponseScanner() }
        if self.place == .headEnd { if self.enterBody() { return (0, .complete) } }
        while index < count {
            switch self.place {
            case .body, .chunk:
                let taken = min(self.remaining, UInt64(count - index))
                self.remaining -= taken
                index += Int(taken)
                if self.remaining > 0 { return (index, .more) }
                if self.place == .body { return (index, self.finish()) }
                self.place = .chunkEnd
            default:
                let byte = bytes[index]
                index += 1
                self.step(byte)
                if self.place == .headEnd { return (index, .head) }
                if self.place == .done { return (index, .complete) }
            }
        }
        return (index, .more)
    }

    /// For an answer whose body is known to be empty: call after ``Progress/head``.
    mutating func endsAtHead() -> Bool {
        guard self.place == .headEnd, self.isBodyless || (self.length == 0 && !self.chunked) else { return false }
        self.place = .done
        return true
    }

    // MARK: Steps

    private var isBodyless: Bool { self.status == 204 || self.status == 304 || self.status < 200 }

    private mutating func finish() -> Progress {
        self.place = .done
        return .complete
    }

    /// True when there is no body.
    private mutating func enterBody() -> Bool {
        if self.endsAtHead() { return true }
        if self.chunked {
            self.place = .chunkSize
            self.remaining = 0
        } else {
            self.place = .body
            self.remaining = self.length ?? .max
        }
        return false
    }

    private mutating func step(_ byte: UInt8) {
        switch self.place {
        case .status:
            if self.position >= 9, self.position < 12 { self.status = self.status * 10 + Int(byte & 15) }
            self.position += 1
            if self.position == 12 { self.place = .statusEnd }
        case .statusEnd:
            if byte == 10 { self.place = .lineStart }
        case .lineStart:
            self.startLine(byte)
        case .name:
            self.stepName(byte)
        case .value:
            self.stepValue(byte)
        case .chunkSize, .chunkSizeEnd, .chunkEnd:
            self.stepChunk(byte)
        case .trailerStart:
            if byte == 10 { self.place = .done } else if byte != 13 { self.place = .trailer }
        case .trailer:
            if byte == 10 { self.place = .trailerStart }
        case .headEnd, .chunk, .body, .done:
            break
        }
    }

    private mutating func startLine(_ byte: UInt8) {
        switch byte {
        case 13: break
        case 10:
            // 100 Continue and its like come before the answer proper.
            if self.status < 200, self.status != 101 { self = HTTPResponseScanner() } else { self.place = .headEnd }
        default:
            self.place = .name
            self.candidates = 0b111
            self.position = 0
            self.stepName(byte)
        }
    }

    private mutating func stepName(_ byte: UInt8) {
        guard byte != UInt8(ascii: ":") else {
            self.field = .other
            for (index, name) in Self.names.enumerated() where self.candidates & (1 << UInt8(index)) != 0 && name.count == self.position {
                self.field = Field(rawValue: index) ?? .other
            }
            if self.field == .contentLength { self.length = 0 }
            self.word = 0
            self.place = .value
            return
        }
        if byte == 10 { self.place = .lineStart }
        if self.candidates != 0 {
            let lower = byte | 0x20
            for index in 0..<3 where self.position >= Self.names[index].count || Self.names[index][self.position] != lower {
                self.candidates &= ~(1 << UInt8(index))
            }
        }
        self.position += 1
    }

    private mutating func stepValue(_ byte: UInt8) {
        if byte == 10 {
            self.place = .lineStart
            return
        }
        switch self.field {
        case .contentLength:
            if (48...57).contains(byte) { self.length = (self.length ?? 0) &* 10 &+ UInt64(byte & 15) }
        case .transferEncoding:
            if self.match(byte, Self.chunkedWord) { self.chunked = true }
        case .connection:
            if self.match(byte, Self.closeWord) { self.closes = true }
        case .other:
            break
        }
    }

    /// True when the last byte completes the word.
    private mutating func match(_ byte: UInt8, _ letters: [UInt8]) -> Bool {
        let lower = byte | 0x20
        if self.word < letters.count, letters[self.word] == lower { self.word += 1 } else { self.word = letters[0] == lower ? 1 : 0 }
        return self.word == letters.count
    }

    private mutating func stepChunk(_ byte: UInt8) {
        switch (self.place, byte) {
        case (.chunkEnd, 10):
            self.place = .chunkSize
            self.remaining = 0
        case (.chunkEnd, _):
            break
        case (_, 10):
            self.place = self.remaining == 0 ? .trailerStart : .chunk
        case (.chunkSize, 48...57), (.chunkSize, 65...70), (.chunkSize, 97...102):
            let digit = byte < 58 ? byte & 15 : (byte & 15) + 9
            self.remaining = self.remaining << 4 | UInt64(digit)
        default:
            self.place = .chunkSizeEnd
        }
    }
}
