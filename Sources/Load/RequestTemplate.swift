/// A URL with `http://`, `ws://` or no scheme, and with `{channel}` or `{channels}` in its path. Writes request paths without building strings.
struct RequestTemplate: Sendable, Equatable {
    enum Piece: Sendable, Equatable {
        case text([UInt8])
        case channels
    }

    let host: String
    let port: UInt16
    let authority: String
    let pieces: [Piece]

    init(url: String, option: String) throws(LoadError) {
        guard !url.isEmpty, url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw .usage("\(option) must be a URL such as \(Self.example(option)), in printable ASCII without spaces")
        }
        var rest = url[...]
        if let scheme = url.firstRange(of: "://") {
            guard ["http", "ws"].contains(url[..<scheme.lowerBound]) else {
                throw .usage("\(option) must start with http:// or ws://. The load tool does not support TLS")
            }
            rest = url[scheme.upperBound...]
        }
        let slash = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        self.authority = String(rest[..<slash])
        (self.host, self.port) = try Self.split(authority: self.authority, option: option)
        let path = rest[slash...]
        self.pieces = Self.pieces(path.hasPrefix("/") ? String(path) : "/" + path)
    }

    private static func example(_ option: String) -> String {
        switch option {
        case "--api": "http://127.0.0.1:8081"
        case "--url": "http://127.0.0.1:8080"
        default: "http://127.0.0.1:9080/path/{channel}"
        }
    }

    var hasChannel: Bool { self.pieces.contains(.channels) }

    /// Appends the path with the names of these channels.
    func appendPath(channels: some Sequence<Int>, namePrefix: [UInt8], to bytes: inout [UInt8]) {
        for piece in self.pieces {
            switch piece {
            case .text(let text):
                bytes.append(contentsOf: text)
            case .channels:
                var isFirst = true
                for channel in channels {
                    if !isFirst { bytes.append(UInt8(ascii: "/")) }
                    isFirst = false
                    bytes.append(contentsOf: namePrefix)
                    bytes.appendDecimal(channel)
                }
            }
        }
    }

    /// `{channel}` and `{channels}` have the same meaning: one name, or several names joined by `/`.
    static func pieces(_ text: String) -> [Piece] {
        var pieces: [Piece] = []
        var rest = text[...]
        while let open = rest.firstRange(of: "{channel") {
            let after = rest[open.upperBound...]
            guard let close = after.firstIndex(of: "}"), ["", "s"].contains(after[..<close]) else { break }
            if open.lowerBound > rest.startIndex { pieces.append(.text(Array(rest[..<open.lowerBound].utf8))) }
            pieces.append(.channels)
            rest = after[after.index(after: close)...]
        }
        if !rest.isEmpty { pieces.append(.text(Array(rest.utf8))) }
        return pieces
    }

    private static func split(authority: String, option: String) throws(LoadError) -> (String, UInt16) {
        guard let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") else {
            guard !authority.isEmpty else { throw .usage("\(option) must contain a host") }
            return (authority, 80)
        }
        guard let port = UInt16(authority[authority.index(after: colon)...]), port > 0 else {
            throw .usage("\(option) must have a port from 1 to 65535, not \(authority)")
        }
        return (String(authority[..<colon]).filter { $0 != "[" && $0 != "]" }, port)
    }
}

extension [UInt8] {
    mutating func appendDecimal(_ number: Int) {
        var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
        Swift.withUnsafeMutableBytes(of: &digits) { buffer in
            var index = buffer.count
            var rest = number.magnitude
            repeat {
                index -= 1
                buffer[index] = UInt8(48 + rest % 10)
                rest /= 10
            } while rest > 0
            self.append(contentsOf: buffer[index...])
        }
    }
}
