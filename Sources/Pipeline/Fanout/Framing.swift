/// How events are framed for a subscriber. One encoding of an event serves every subscriber with the same framing.
package enum Framing: UInt8, CaseIterable, Sendable {
    /// Server-Sent Events, the payload as it is.
    case sse
    /// Server-Sent Events, the envelope as data.
    case sseEnvelope
    /// WebSocket text frames, an envelope each.
    case webSocket
    /// The envelope and a line feed.
    case line
    /// The envelope and a comma: elements of a long-poll's array.
    case element

    /// Which shared body the framing puts behind its own beginning.
    var body: Body { self == .sse ? .lines : .envelopeTail }

    /// The parts of a frame that do not depend on the subscriber's cursor.
    enum Body: UInt8, Sendable {
        /// `event:` and `data:` lines and the empty line.
        case lines
        /// `,"channel":…}`, what follows the `id` of an envelope.
        case envelopeTail
    }
}
