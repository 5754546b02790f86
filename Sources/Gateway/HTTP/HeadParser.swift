import NIOCore
import Pipeline

/// Parses one complete head: request line, fields, empty line. Pure.
enum HeadParser {
    private static let schemes = ["http://", "https://"]

    static func parse(_ bytes: ByteBuffer) throws(HTTPError) -> RequestHead {
        let parsed = bytes.withUnsafeReadableBytes { bytes -> Result<RequestHead, HTTPError> in
            do throws(HTTPError) { return .success(try Self.parse(bytes)) } catch { return .failure(error) }
        }
        var head = try parsed.get()
        head.bytes = bytes
        try Self.checkCounts(head)
        return head
    }

    private static func parse(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) -> RequestHead {
        let lineEnd = try Self.lineEnd(bytes, from: 0)
        guard lineEnd <= FixedLimits.requestLineBytesMax else {
            throw HTTPRequestParser.uriTooLong
        }
        var head = try Self.requestLine(UnsafeRawBufferPointer(rebasing: bytes[..<lineEnd]))
        var start = lineEnd + 2
        head.fields.reserveCapacity(12)
        while true {
            let end = try Self.lineEnd(bytes, from: start)
            if end == start { return head }
            guard head.fields.count < FixedLimits.headerFieldsMax else {
                throw HTTPError(.headersTooLarge, "headers_too_large", "more than \(FixedLimits.headerFieldsMax) header fields")
            }
            head.fields.append(try Self.field(bytes, start, end))
            start = end + 2
        }
    }

    /// The index at which the CRLF of a line begins.
    private static func lineEnd(_ bytes: UnsafeRawBufferPointer, from start: Int) throws(HTTPError) -> Int {
        var index = start
        while index < bytes.count, bytes[index] != 0x0A {
            if bytes[index] == 0x0D, index + 1 >= bytes.count || bytes[index + 1] != 0x0A {
                throw .badRequest("a line has a carriage return without a line feed")
            }
            index += 1
        }
        guard index < bytes.count, index > start, bytes[index - 1] == 0x0D else { throw .badRequest("a line ends in a bare line feed; end it with CR LF") }
        return index - 1
    }

    private static func requestLine(_ line: UnsafeRawBufferPointer) throws(HTTPError) -> RequestHead {
        guard let methodEnd = line.firstIndex(of: 0x20), methodEnd > 0, line[..<methodEnd].allSatisfy(Self.isToken) else {
            throw .badRequest("the request line has no method")
        }
        guard let targetEnd = line.lastIndex(of: 0x20), targetEnd > methodEnd + 1 else { throw .badRequest("the request line is not METHOD TARGET VERSION") }
        let target = UnsafeRawBufferPointer(rebasing: line[(methodEnd + 1)..<targetEnd])
        guard target.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { throw .badRequest("the request target has a byte that must be percent-encoded") }
        let isVersion11 = try Self.version(UnsafeRawBufferPointer(rebasing: line[(targetEnd + 1)...]))
        let (path, query) = try Self.target(String(decoding: target, as: UTF8.self))
        return RequestHead(
            bytes: ByteBuffer(), method: Self.method(UnsafeRawBufferPointer(rebasing: line[..<methodEnd])), path: path, query: query,
            isVersion11: isVersion11, fields: [])
    }

    private static func version(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) -> Bool {
        guard bytes.count == 8, bytes.starts(with: "HTTP/".utf8), bytes[6] == UInt8(ascii: "."), (0x30...0x39).contains(bytes[5]),
            (0x30...0x39).contains(bytes[7])
        else { throw .badRequest("the request line does not end with HTTP/1.1") }
        guard bytes[5] == 0x31 else { throw HTTPError(.versionNotSupported, "bad_version", "this HTTP version is not supported; send HTTP/1.1") }
        guard bytes[7] <= 0x31 else { throw HTTPError(.versionNotSupported, "bad_version", "this HTTP version is not supported; send HTTP/1.1") }
        return bytes[7] == 0x31
    }

    private static func method(_ bytes: UnsafeRawBufferPointer) -> RequestHead.Method {
        switch String(decoding: bytes, as: UTF8.self) {
        case "GET": .get
        case "HEAD": .head
        case "POST": .post
        case "PUT": .put
        case "OPTIONS": .options
        case let other: .other(other)
        }
    }

    /// Path and query. A server must also accept the absolute form (RFC 9112 §3.2.2); its authority is ignored.
    private static func target(_ target: String) throws(HTTPError) -> (String, String?) {
        var target = Substring(target)
        if target.first != "/", target != "*" {
            guard let authority = Self.schemes.lazy.compactMap(target.without).first else { throw .badRequest("the request target must begin with /") }
            let end = authority.firstIndex { $0 == "/" || $0 == "?" } ?? authority.endIndex
            guard end > authority.startIndex else { throw .badRequest("the request target has no host") }
            target = authority[end...]
        }
        guard let mark = target.firstIndex(of: "?") else { return (Self.path(target), nil) }
        return (Self.path(target[..<mark]), String(target[target.index(after: mark)...]))
    }

    /// `http://h` and `http://h/` have the same path (RFC 9110 §4.2.3).
    private static func path(_ path: Substring) -> String { path.isEmpty ? "/" : String(path) }

    private static func field(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ end: Int) throws(HTTPError) -> RequestHead.Field {
        guard bytes[start] != 0x20, bytes[start] != 0x09 else { throw .badRequest("a header line is folded; send each field on one line") }
        guard let colon = bytes[start..<end].firstIndex(of: UInt8(ascii: ":")), colon > start else { throw .badRequest("a header line has no name") }
        guard bytes[start..<colon].allSatisfy(Self.isToken) else { throw .badRequest("a header name contains a byte that is not allowed in a name") }
        var valueStart = colon + 1
        var valueEnd = end
        while valueStart < valueEnd, bytes[valueStart] == 0x20 || bytes[valueStart] == 0x09 { valueStart += 1 }
        while valueEnd > valueStart, bytes[valueEnd - 1] == 0x20 || bytes[valueEnd - 1] == 0x09 { valueEnd -= 1 }
        for byte in bytes[valueStart..<valueEnd] where (byte < 0x20 && byte != 0x09) || byte == 0x7F {
            throw .badRequest("a header value has a control byte")
        }
        return RequestHead.Field(
            nameStart: UInt16(start), nameEnd: UInt16(colon), valueStart: UInt16(valueStart), valueEnd: UInt16(valueEnd))
    }

    /// Checks a trailer field by the rules of header fields. Valid trailer fields are ignored.
    static func checkField(_ line: ByteBuffer) throws(HTTPError) {
        let checked = line.withUnsafeReadableBytes { bytes -> HTTPError? in
            do throws(HTTPError) { _ = try Self.field(bytes, 0, bytes.count) } catch { return error }
            return nil
        }
        if let checked { throw checked }
    }

    /// Fields that must occur at most once. If a field occurred twice, a proxy in front of this node might use the other value.
    private static let singleFields: [StaticString] = [
        "host", "content-length", "origin", "authorization", "x-api-key", "message-id", "event-type", "last-event-id", "sec-websocket-key",
        "sec-websocket-version",
    ]

    private static func checkCounts(_ head: RequestHead) throws(HTTPError) {
        if let name = head.firstRepeated(of: Self.singleFields) { throw .badRequest("the header \(name) occurs more than once; send it once") }
        guard head.count("host") == 1 || !head.isVersion11 else { throw .badRequest("a request must have exactly one Host header") }
    }

    /// Whether the byte may occur in a token (RFC 9110 §5.6.2).
    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x41...0x5A, 0x61...0x7A, 0x30...0x39: true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "*"),
            UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"),
            UInt8(ascii: "~"):
            true
        default: false
        }
    }
}

extension Substring {
    /// The text after a prefix. Case is ignored. Nil if the text does not begin with the prefix.
    fileprivate func without(_ prefix: String) -> Substring? {
        guard self.prefix(prefix.count).asciiLowercased() == prefix else { return nil }
        return self.dropFirst(prefix.count)
    }
}
