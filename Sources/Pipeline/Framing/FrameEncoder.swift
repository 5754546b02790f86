import JSON
package import NIOCore
import SubscriberAPI

/// Writes events and gaps in each ``Framing``. Pure: bytes in, bytes out.
///
/// A frame consists of a beginning, which contains the cursor, and a body, which does not. Subscribers of one channel share whole frames. Subscribers of
/// several channels have their own cursors and share only the body.
package enum FrameEncoder {
    // MARK: - Bodies, encoded once for each event

    static func writeBody(_ body: Framing.Body, of event: SequencedEvent, into buffer: inout ByteBuffer) {
        switch body {
        case .lines: self.writeLines(of: event.event, into: &buffer)
        case .envelopeTail: self.writeEnvelopeTail(of: event.event, into: &buffer)
        }
    }

    private static func writeLines(of event: Event, into buffer: inout ByteBuffer) {
        if let type = event.type {
            buffer.writeStaticString("event: ")
            buffer.writeString(type)
            buffer.writeInteger(UInt8(ascii: "\n"))
        }
        event.payload.withUnsafeReadableBytes { bytes in
            var start = 0
            var index = 0
            // SSE ends a line at LF, CR or CRLF, so the payload is split at each of them.
            while index < bytes.count {
                let byte = bytes[index]
                guard byte == 0x0A || byte == 0x0D else {
                    index += 1
                    continue
                }
                self.writeLine(UnsafeRawBufferPointer(rebasing: bytes[start..<index]), into: &buffer)
                index += byte == 0x0D && index + 1 < bytes.count && bytes[index + 1] == 0x0A ? 2 : 1
                start = index
            }
            self.writeLine(UnsafeRawBufferPointer(rebasing: bytes[start...]), into: &buffer)
        }
        buffer.writeInteger(UInt8(ascii: "\n"))
    }

    private static func writeLine(_ line: UnsafeRawBufferPointer, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("data: ")
        buffer.writeBytes(line)
        buffer.writeInteger(UInt8(ascii: "\n"))
    }

    private static func writeEnvelopeTail(of event: Event, into buffer: inout ByteBuffer) {
        buffer.writeStaticString(",\"channel\":\"")
        buffer.writeString(event.channel.string)
        buffer.writeInteger(UInt8(ascii: "\""))
        if let type = event.type {
            buffer.writeStaticString(",\"type\":")
            buffer.writeJSONString(type)
        }
        let form = PayloadForm(event.payload)
        switch form {
        case .json, .text: buffer.writeStaticString(",\"data\":")
        case .binary: buffer.writeStaticString(",\"data_base64\":")
        }
        self.writePayload(event.payload, form, into: &buffer)
        buffer.writeInteger(UInt8(ascii: "}"))
    }

    /// Writes a payload as a JSON value, for the field ``PayloadForm/fieldName``.
    package static func writePayload(_ payload: ByteBuffer, _ form: PayloadForm, into buffer: inout ByteBuffer) {
        payload.withUnsafeReadableBytes { bytes in
            switch form {
            case .json(hasLineBreaks: false):
                buffer.writeBytes(bytes)
            case .json(hasLineBreaks: true):
                // In valid JSON raw line breaks occur only between tokens, so a space has the same meaning.
                for byte in bytes { buffer.writeInteger(byte == 0x0A || byte == 0x0D ? 0x20 : byte) }
            case .text:
                buffer.writeJSONString(bytes)
            case .binary:
                buffer.writeInteger(UInt8(ascii: "\""))
                buffer.writeBase64(bytes)
                buffer.writeInteger(UInt8(ascii: "\""))
            }
        }
    }

    /// Writes the response of a long-poll: `elements` are frames in ``Framing/element``, each with a comma after it.
    package static func writePollResponse(elements: ByteBuffer, cursor: String, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("{\"events\":[")
        buffer.writeBytes(elements.readableBytesView.dropLast())
        buffer.writeStaticString("],\"cursor\":\"")
        buffer.writeString(cursor)
        buffer.writeStaticString("\"}")
    }

    // MARK: - Frames

    /// Writes one frame: the cursor's text (as bytes), then the event's shared body.
    static func writeFrame(_ framing: Framing, cursor: ByteBufferView, body: ByteBufferView, into buffer: inout ByteBuffer) {
        if framing.isChunked { ChunkedCoding.writeSize(self.length(framing, cursor: cursor, body: body), into: &buffer) }
        switch framing {
        case .sse, .sseChunked:
            self.writeID(cursor, into: &buffer)
            buffer.writeBytes(body)
        case .sseEnvelope, .sseEnvelopeChunked:
            // No `event:` line: a browser's `onmessage` receives only events without such a line. The type is in the envelope.
            self.writeID(cursor, into: &buffer)
            buffer.writeStaticString("data: ")
            self.writeEnvelope(cursor, body, into: &buffer)
            buffer.writeStaticString("\n\n")
        case .webSocket:
            WebSocketFrame.writeHeader(.text, payloadLength: 7 + cursor.count + 1 + body.count, into: &buffer)
            self.writeEnvelope(cursor, body, into: &buffer)
        case .line, .lineChunked:
            self.writeEnvelope(cursor, body, into: &buffer)
            buffer.writeInteger(UInt8(ascii: "\n"))
        case .element:
            self.writeEnvelope(cursor, body, into: &buffer)
            buffer.writeInteger(UInt8(ascii: ","))
        }
        if framing.isChunked { buffer.writeStaticString("\r\n") }
    }

    /// The length of a stream's frame in bytes. Chunked coding writes this number before the frame.
    private static func length(_ framing: Framing, cursor: ByteBufferView, body: ByteBufferView) -> Int {
        switch framing {
        case .sse, .sseChunked: 5 + cursor.count + body.count
        case .sseEnvelope, .sseEnvelopeChunked:
            // id: C ⏎ data: {"id":"C" … ⏎⏎
            5 + cursor.count + 14 + cursor.count + body.count + 2
        case .line, .lineChunked: 8 + cursor.count + body.count + 1
        case .webSocket, .element: preconditionFailure("Only streams are chunked")
        }
    }

    private static func writeID(_ cursor: ByteBufferView, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("id: ")
        buffer.writeBytes(cursor)
        buffer.writeInteger(UInt8(ascii: "\n"))
    }

    private static func writeEnvelope(_ cursor: ByteBufferView, _ body: ByteBufferView, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("{\"id\":\"")
        buffer.writeBytes(cursor)
        buffer.writeInteger(UInt8(ascii: "\""))
        buffer.writeBytes(body)
    }

    // MARK: - Notices

    /// Writes a gap notice. `cursor` is the cursor after the gap.
    static func writeGap(_ gap: Gap, channel: ChannelName, cursor: ByteBufferView, framing: Framing, into buffer: inout ByteBuffer) {
        var inner = ByteBufferAllocator().buffer(capacity: 128)
        inner.writeStaticString("{\"channel\":\"")
        inner.writeString(channel.string)
        inner.writeStaticString("\",\"from\":\"")
        inner.writePosition(gap.from)
        inner.writeStaticString("\",\"to\":\"")
        inner.writePosition(gap.to)
        inner.writeStaticString("\",\"reason\":\"")
        inner.writeString(gap.reason.rawValue)
        inner.writeStaticString("\"}")
        switch framing {
        case .sse, .sseChunked:
            var notice = ByteBuffer()
            self.writeID(cursor, into: &notice)
            notice.writeStaticString("event: gap\ndata: ")
            notice.writeBuffer(&inner)
            notice.writeStaticString("\n\n")
            self.writeStream(notice, framing: framing, into: &buffer)
        case .sseEnvelope, .sseEnvelopeChunked:
            var notice = ByteBuffer()
            self.writeID(cursor, into: &notice)
            notice.writeStaticString("data: ")
            self.writeGapObject(&inner, cursor, into: &notice)
            notice.writeStaticString("\n\n")
            self.writeStream(notice, framing: framing, into: &buffer)
        case .webSocket, .line, .lineChunked, .element:
            var object = ByteBufferAllocator().buffer(capacity: inner.readableBytes + cursor.count + 16)
            self.writeGapObject(&inner, cursor, into: &object)
            self.writeObject(&object, framing: framing, into: &buffer)
        }
    }

    private static func writeGapObject(_ inner: inout ByteBuffer, _ cursor: ByteBufferView, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("{\"gap\":")
        buffer.writeBuffer(&inner)
        buffer.writeStaticString(",\"id\":\"")
        buffer.writeBytes(cursor)
        buffer.writeStaticString("\"}")
    }

    /// Writes the opening of a stream: the subscriber's first cursor. With this cursor the subscriber can resume even if it has not received an event.
    ///
    /// - Parameters:
    ///   - cursor: Nil if it is not known yet.
    ///   - retryMilliseconds: Nil if it was written before.
    package static func writeOpening(cursor: String?, framing: Framing, retryMilliseconds: Int?, into buffer: inout ByteBuffer) {
        switch framing {
        case .sse, .sseEnvelope, .sseChunked, .sseEnvelopeChunked:
            // An event without data sets the browser's last event id, and the browser dispatches no event (HTML Living Standard §9.2.6).
            let retry = retryMilliseconds.map { "retry: \($0)\n" } ?? ""
            let id = cursor.map { "id: \($0)\n" } ?? ""
            self.writeStream(ByteBuffer(string: retry + id + "\n"), framing: framing, into: &buffer)
        case .webSocket, .line, .lineChunked:
            guard let cursor else { return }
            var object = ByteBuffer(string: "{\"cursor\":\"\(cursor)\"}")
            self.writeObject(&object, framing: framing, into: &buffer)
        case .element:
            break
        }
    }

    /// Writes bytes of a stream, directly or as a chunk.
    package static func writeStream(_ bytes: ByteBuffer, framing: Framing, into buffer: inout ByteBuffer) {
        if framing.isChunked { ChunkedCoding.writeSize(bytes.readableBytes, into: &buffer) }
        buffer.writeImmutableBuffer(bytes)
        if framing.isChunked { buffer.writeStaticString("\r\n") }
    }

    private static func writeObject(_ object: inout ByteBuffer, framing: Framing, into buffer: inout ByteBuffer) {
        switch framing {
        case .webSocket:
            WebSocketFrame.writeHeader(.text, payloadLength: object.readableBytes, into: &buffer)
            buffer.writeBuffer(&object)
        case .line, .lineChunked:
            object.writeInteger(UInt8(ascii: "\n"))
            self.writeStream(object, framing: framing, into: &buffer)
        case .element:
            buffer.writeBuffer(&object)
            buffer.writeInteger(UInt8(ascii: ","))
        case .sse, .sseEnvelope, .sseChunked, .sseEnvelopeChunked:
            preconditionFailure("SSE notices are lines, not objects")
        }
    }
}
