/// Scans HTTP/1.1 responses on one connection for the status and the end of each response. Stores only its state and no bytes.
struct HTTPResponseScanner: Sendable {
    enum Progress: Equatable {
        case more
        /// The head is complete. The body follows.
        case head
        /// The response is complete. The next response follows.
        case complete
    }

    private enum State: UInt8 {
        case status, statusEnd, lineStart, name, value, headEnd, chunkSize, chunkSizeEnd, chunk, chunkEnd, trailerStart, trailer, body, done
    }

    private enum Field: Int {
        case contentLength, transferEncoding, connection, other
    }

    private static let names = [Array("content-length".utf8), Array("transfer-encoding".utf8), Array("connection".utf8)]
    private static let chunkedWord = Array("chunked".utf8)
    private static let closeWord = Array("close".utf8)

    private(set) var status: Int = 0
    /// Whether the server closes the connection after this response.
    private(set) var closes = false
    private var state = State.status
    private var field = Field.other
    private var candidates: UInt8 = 0
    private var position = 0
    private var word = 0
    private var length: UInt64?
    private var chunked = false
    private var remaining: UInt64 = 0

    init() {}

    /// Whether no byte of a response has been read yet.
    var isAtStart: Bool { self.state == .status && self.position == 0 }
    /// Whether the head contains the length of the body.
    var hasLength: Bool { self.length != nil }
    /// Whether the body ends only when the connection ends.
    var endsWithConnection: Bool { self.state == .body && self.length == nil }

    /// Reads up to the end of the head or of the response, whichever is first. Returns the number of bytes read.
    mutating func consume(_ bytes: UnsafePointer<UInt8>, count: Int) -> (used: Int, progress: Progress) {
        var index = 0
        if self.state == .done { self = HTTPResponseScanner() }
        if self.state == .headEnd { if self.enterBody() { return (0, .complete) } }
        while index < count {
            switch self.state {
            case .body, .chunk:
                let taken = min(self.remaining, UInt64(count - index))
                self.remaining -= taken
                index += Int(taken)
                if self.remaining > 0 { return (index, .more) }
                if self.state == .body { return (index, self.finish()) }
                self.state = .chunkEnd
            default:
                let byte = bytes[index]
                index += 1
                self.step(byte)
                if self.state == .headEnd { return (index, .head) }
                if self.state == .done { return (index, .complete) }
            }
        }
        return (index, .more)
    }

    /// Completes a response that has no body. Returns false if the response has a body. Call after ``Progress/head``.
    mutating func endsAtHead() -> Bool {
        guard self.state == .headEnd, self.isBodyless || (self.length == 0 && !self.chunked) else { return false }
        self.state = .done
        return true
    }

    // MARK: Steps

    private var isBodyless: Bool { self.status == 204 || self.status == 304 || self.status < 200 }

    private mutating func finish() -> Progress {
        self.state = .done
        return .complete
    }

    /// Returns true if the response has no body.
    private mutating func enterBody() -> Bool {
        if self.endsAtHead() { return true }
        if self.chunked {
            self.state = .chunkSize
            self.remaining = 0
        } else {
            self.state = .body
            self.remaining = self.length ?? .max
        }
        return false
    }

    private mutating func step(_ byte: UInt8) {
        switch self.state {
        case .status:
            if self.position >= 9, self.position < 12 { self.status = self.status * 10 + Int(byte & 15) }
            self.position += 1
            if self.position == 12 { self.state = .statusEnd }
        case .statusEnd:
            if byte == 10 { self.state = .lineStart }
        case .lineStart:
            self.startLine(byte)
        case .name:
            self.stepName(byte)
        case .value:
            self.stepValue(byte)
        case .chunkSize, .chunkSizeEnd, .chunkEnd:
            self.stepChunk(byte)
        case .trailerStart:
            if byte == 10 { self.state = .done } else if byte != 13 { self.state = .trailer }
        case .trailer:
            if byte == 10 { self.state = .trailerStart }
        case .headEnd, .chunk, .body, .done:
            break
        }
    }

    private mutating func startLine(_ byte: UInt8) {
        switch byte {
        case 13: break
        case 10:
            // 100 Continue and similar responses come before the final response.
            if self.status < 200, self.status != 101 { self = HTTPResponseScanner() } else { self.state = .headEnd }
        default:
            self.state = .name
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
            self.state = .value
            return
        }
        if byte == 10 { self.state = .lineStart }
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
            self.state = .lineStart
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

    /// Returns true if this byte completes the word.
    private mutating func match(_ byte: UInt8, _ letters: [UInt8]) -> Bool {
        let lower = byte | 0x20
        if self.word < letters.count, letters[self.word] == lower { self.word += 1 } else { self.word = letters[0] == lower ? 1 : 0 }
        return self.word == letters.count
    }

    private mutating func stepChunk(_ byte: UInt8) {
        switch (self.state, byte) {
        case (.chunkEnd, 10):
            self.state = .chunkSize
            self.remaining = 0
        case (.chunkEnd, _):
            break
        case (_, 10):
            self.state = self.remaining == 0 ? .trailerStart : .chunk
        case (.chunkSize, 48...57), (.chunkSize, 65...70), (.chunkSize, 97...102):
            let digit = byte < 58 ? byte & 15 : (byte & 15) + 9
            self.remaining = self.remaining << 4 | UInt64(digit)
        default:
            self.state = .chunkSizeEnd
        }
    }
}
