/// Parses `text/event-stream` as browsers do. The bytes may be split at any place.
struct EventStreamParser: Sendable {
    enum Item: Equatable, Sendable {
        case event(type: String, data: String, id: String)
        /// An id without data. It sets the cursor and is not an event.
        case id(String)
        case retry(milliseconds: Int)
        case comment
    }

    /// The bytes of the incomplete line.
    private var line: [UInt8] = []
    /// Whether the last byte was a CR, which ended a line. If the next byte is an LF, it belongs to the same line end.
    private var endedInCR = false
    private var isAtStart = true

    private var type = ""
    private var data = ""
    private var hasData = false
    private var hasID = false
    private var lastID = ""

    mutating func feed(_ bytes: some Sequence<UInt8>) -> [Item] {
        var items: [Item] = []
        for byte in bytes {
            let follows = self.endedInCR
            self.endedInCR = byte == UInt8(ascii: "\r")
            switch byte {
            case UInt8(ascii: "\n") where follows:
                break
            case UInt8(ascii: "\n"), UInt8(ascii: "\r"):
                if let item = self.endLine() { items.append(item) }
            default:
                self.line.append(byte)
            }
        }
        return items
    }

    // MARK: helpers

    private mutating func endLine() -> Item? {
        var bytes = self.line[...]
        self.line = []
        if self.isAtStart {
            self.isAtStart = false
            if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes = bytes.dropFirst(3) }
        }
        guard let first = bytes.first else { return self.dispatch() }
        guard first != UInt8(ascii: ":") else { return .comment }
        let colon = bytes.firstIndex(of: UInt8(ascii: ":")) ?? bytes.endIndex
        var value = bytes[min(colon + 1, bytes.endIndex)...]
        if value.first == UInt8(ascii: " ") { value = value.dropFirst() }
        return self.field(String(decoding: bytes[..<colon], as: UTF8.self), String(decoding: value, as: UTF8.self))
    }

    private mutating func field(_ name: String, _ value: String) -> Item? {
        switch name {
        case "event":
            self.type = value
        case "data":
            if self.hasData { self.data += "\n" }
            self.data += value
            self.hasData = true
        case "id":
            guard !value.utf8.contains(0) else { break }
            self.lastID = value
            self.hasID = true
        case "retry":
            guard !value.isEmpty, value.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let wait = Int(value) else { break }
            return .retry(milliseconds: wait)
        default:
            break
        }
        return nil
    }

    private mutating func dispatch() -> Item? {
        defer {
            self.type = ""
            self.data = ""
            self.hasData = false
            self.hasID = false
        }
        if self.hasData { return .event(type: self.type.isEmpty ? "message" : self.type, data: self.data, id: self.lastID) }
        return self.hasID ? .id(self.lastID) : nil
    }
}
