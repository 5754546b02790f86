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
    /// The envelope and a comma: elements of a long-poll's array.
    case element
    /// The three streams in HTTP/1.1's chunked coding, one chunk for each frame. Without it a client cannot tell where a frame ends, and many clients that read
    /// in blocks would delay events until a block is full. HTTP/1.0 has no chunks.
    case sseChunked
    case sseEnvelopeChunked
    case lineChunked

    /// The same frames in chunks.
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
        /// `,"channel":…}`, what follows the `id` of an envelope.
        case envelopeTail
    }
}
