/// How events are framed for a subscriber. One encoding of an event serves every subscriber with the same framing.
package enum Framing: UInt8, CaseIterable, Sendable {
    /// Server-Sent Events with the payload as data.
    case sse
    /// Server-Sent Events with the envelope as data. Every frame has the type `message`.
    case sseEnvelope
    /// WebSocket text frames with one envelope each.
    case webSocket
    /// The envelope and a line feed.
    case line
    /// The envelope and a comma: an element of the array in a long-poll's response.
    case element
    /// This and the next two are the stream framings in HTTP/1.1's chunked coding, one chunk for each frame. Without chunks, many clients read in blocks, and
    /// delay events until a block is full. HTTP/1.0 has no chunks.
    case sseChunked
    case sseEnvelopeChunked
    case lineChunked

    /// The same framing in chunks. WebSocket frames and long-poll elements are never in chunks.
    package var chunked: Framing {
        switch self {
        case .sse, .sseChunked: .sseChunked
        case .sseEnvelope, .sseEnvelopeChunked: .sseEnvelopeChunked
        case .line, .lineChunked: .lineChunked
        case .webSocket, .element: self
        }
    }

    package var isChunked: Bool {
        switch self {
        case .sseChunked, .sseEnvelopeChunked, .lineChunked: true
        case .sse, .sseEnvelope, .line, .webSocket, .element: false
        }
    }

    /// The shared body that follows the framing's own beginning.
    var body: Body {
        switch self {
        case .sse, .sseChunked: .lines
        case .sseEnvelope, .sseEnvelopeChunked, .webSocket, .line, .lineChunked, .element: .envelopeTail
        }
    }

    /// The parts of a frame that do not depend on the subscriber's cursor.
    enum Body: UInt8, Sendable {
        /// `event:` and `data:` lines and the empty line.
        case lines
        /// `,"channel":…}`: the part of an envelope after its `id`.
        case envelopeTail
    }
}
