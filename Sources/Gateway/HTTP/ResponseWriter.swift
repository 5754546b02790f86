import JSON
import NIOCore
import Pipeline

/// Writes HTTP responses (RFC 9112 §4) as bytes. Pure.
enum ResponseWriter {
    enum Content: String {
        case json = "application/json"
        case text = "text/plain; charset=utf-8"
        case eventStream = "text/event-stream"
        case html = "text/html; charset=utf-8"
        case metrics = "text/plain; version=0.0.4; charset=utf-8"
    }

    /// Writes a complete response. `headers` contains complete lines with their line ends.
    static func write(
        _ status: HTTPStatus, content: Content, body: ByteBuffer, headers: String = "", keepAlive: Bool, omitBody: Bool = false, into buffer: inout ByteBuffer
    ) {
        self.writeStatus(status, into: &buffer)
        if status != .noContent {
            buffer.writeStaticString("Content-Type: ")
            buffer.writeString(content.rawValue)
            buffer.writeStaticString("\r\nContent-Length: ")
            buffer.writeDecimal(UInt64(body.readableBytes))
            buffer.writeStaticString("\r\n")
        }
        buffer.writeStaticString("Cache-Control: no-store\r\n")
        if !headers.isEmpty { buffer.writeString(headers) }
        buffer.writeStaticString(Self.connection(status, keepAlive: keepAlive))
        buffer.writeStaticString("\r\n")
        if !omitBody { buffer.writeImmutableBuffer(body) }
    }

    static func write(_ failure: HTTPError, headers: String = "", keepAlive: Bool, omitBody: Bool = false, into buffer: inout ByteBuffer) {
        self.write(
            failure.status, content: .json, body: self.errorBody(failure), headers: headers + (failure.header ?? ""), keepAlive: keepAlive,
            omitBody: omitBody, into: &buffer)
    }

    /// Writes the head of a stream. The stream ends when the connection closes.
    static func writeStreamHead(contentType: StaticString, isChunked: Bool, headers: String, into buffer: inout ByteBuffer) {
        self.writeStatus(.ok, into: &buffer)
        buffer.writeStaticString("Content-Type: ")
        buffer.writeStaticString(contentType)
        buffer.writeStaticString("\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\nConnection: close\r\n")
        if isChunked { buffer.writeStaticString("Transfer-Encoding: chunked\r\n") }
        if !headers.isEmpty { buffer.writeString(headers) }
        buffer.writeStaticString("\r\n")
    }

    /// An HTTP/1.0 client keeps its connection only after `Connection: keep-alive`. A response with an `Upgrade` header must list `Upgrade` here too (RFC 9110
    /// §7.8).
    private static func connection(_ status: HTTPStatus, keepAlive: Bool) -> StaticString {
        if status == .upgradeRequired { return keepAlive ? "Connection: Upgrade, keep-alive\r\n" : "Connection: Upgrade, close\r\n" }
        return keepAlive ? "Connection: keep-alive\r\n" : "Connection: close\r\n"
    }

    private static func errorBody(_ failure: HTTPError) -> ByteBuffer {
        var writer = JSONWriter(ByteBuffer())
        writer.object { failure.writeError(to: &$0) }
        return writer.sink
    }

    private static func writeStatus(_ status: HTTPStatus, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("HTTP/1.1 ")
        buffer.writeDecimal(UInt64(status.code))
        buffer.writeStaticString(" ")
        buffer.writeStaticString(status.reason)
        buffer.writeStaticString("\r\n")
    }
}
