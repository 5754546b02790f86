/// A value in Redis' protocol, version 2.
public indirect enum RESPValue: Hashable, Sendable, CustomStringConvertible {
    case null
    case integer(Int64)
    case status(String)
    case string(String)
    case error(String)
    case array([RESPValue])

    /// Of a string or a status.
    public var string: String? {
        switch self {
        case .string(let text), .status(let text): text
        case .null, .integer, .error, .array: nil
        }
    }

    public var integer: Int64? { if case .integer(let value) = self { value } else { nil } }

    public var error: String? { if case .error(let text) = self { text } else { nil } }

    public var array: [RESPValue]? { if case .array(let values) = self { values } else { nil } }

    public var description: String {
        switch self {
        case .null: "null"
        case .integer(let value): "\(value)"
        case .status(let text): "+\(text)"
        case .string(let text): "\"\(text)\""
        case .error(let text): "-\(text)"
        case .array(let values): "\(values)"
        }
    }
}

/// A blocking connection to a Redis server.
///
/// The connection shares no code with the client under test, so a test can compare what that client reports with what is stored.
public final class RESPConnection {
    private let socket: LoopbackSocket
    private var received: [UInt8] = []
    private var index = 0

    /// The connection ended, or no reply came in time, or what came is no reply.
    public struct NoReply: Error, CustomStringConvertible {
        public let description: String
    }

    /// Nil if no process listens. Waits for a reply for at most `seconds`.
    public init?(to port: UInt16, seconds: Int = 10) {
        guard let socket = LoopbackSocket.connected(to: port, seconds: seconds) else { return nil }
        self.socket = socket
    }

    /// Sends a command: words with spaces between them.
    public func send(_ line: String) { self.send(line.split(separator: " ").map(String.init)) }

    public func send(_ words: [String]) { _ = self.socket.send(Self.request(words)) }

    /// Sends any bytes, for example a part of a request.
    public func send(bytes: [UInt8]) { _ = self.socket.send(bytes) }

    public static func request(_ words: [String]) -> [UInt8] {
        Array("*\(words.count)\r\n".utf8) + words.flatMap { Array("$\($0.utf8.count)\r\n".utf8) + Array($0.utf8) + Array("\r\n".utf8) }
    }

    /// The next reply.
    public func receive() throws(NoReply) -> RESPValue {
        let line = try self.line()
        guard let type = line.first else { throw NoReply(description: "an empty line") }
        let rest = String(decoding: line.dropFirst(), as: UTF8.self)
        switch (type, Int64(rest)) {
        case (UInt8(ascii: "+"), _): return .status(rest)
        case (UInt8(ascii: "-"), _): return .error(rest)
        case (UInt8(ascii: ":"), let number?): return .integer(number)
        case (UInt8(ascii: "$"), -1), (UInt8(ascii: "*"), -1): return .null
        case (UInt8(ascii: "$"), let count?):
            let bytes = try self.bytes(Int(count) + 2)
            return .string(String(decoding: bytes.dropLast(2), as: UTF8.self))
        case (UInt8(ascii: "*"), let count?):
            var values: [RESPValue] = []
            for _ in 0..<count { values.append(try self.receive()) }
            return .array(values)
        default: throw NoReply(description: "no reply of Redis: \(String(decoding: line, as: UTF8.self))")
        }
    }

    public func command(_ line: String) throws(NoReply) -> RESPValue { try self.command(line.split(separator: " ").map(String.init)) }

    public func command(_ words: [String]) throws(NoReply) -> RESPValue {
        self.send(words)
        return try self.receive()
    }

    /// Returns bytes that no reply has consumed, without waiting. `.nothing` means that the connection is open.
    public func look() -> LoopbackSocket.Received {
        if self.index < self.received.count { return .bytes(Array(self.received[self.index...])) }
        let next = self.socket.receive(waiting: false)
        if case .bytes(let bytes) = next { self.received += bytes }
        return next
    }

    private func line() throws(NoReply) -> ArraySlice<UInt8> {
        var end = self.index
        while true {
            while end + 1 < self.received.count {
                if self.received[end] == UInt8(ascii: "\r") {
                    defer { self.index = end + 2 }
                    return self.received[self.index..<end]
                }
                end += 1
            }
            try self.fill()
        }
    }

    private func bytes(_ count: Int) throws(NoReply) -> ArraySlice<UInt8> {
        while self.received.count - self.index < count { try self.fill() }
        defer { self.index += count }
        return self.received[self.index..<self.index + count]
    }

    private func fill() throws(NoReply) {
        switch self.socket.receive() {
        case .bytes(let bytes): self.received += bytes
        case .end: throw NoReply(description: "the server closed the connection")
        case .reset: throw NoReply(description: "the connection was reset")
        case .nothing: throw NoReply(description: "no reply in time")
        }
    }
}
