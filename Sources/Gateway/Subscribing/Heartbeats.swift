import NIOCore
import Pipeline

/// The heartbeat of each framing, encoded once.
struct Heartbeats: Sendable {
    private let buffers: [ByteBuffer]

    init() {
        self.buffers = Framing.allCases.map { framing in
            var buffer = ByteBuffer()
            switch framing {
            case .sse, .sseEnvelope, .sseChunked, .sseEnvelopeChunked: FrameEncoder.writeStream(ByteBuffer(string: ":\n\n"), framing: framing, into: &buffer)
            case .line, .lineChunked: FrameEncoder.writeStream(ByteBuffer(string: "\n"), framing: framing, into: &buffer)
            case .webSocket, .element: break
            }
            return buffer
        }
    }

    subscript(framing: Framing) -> ByteBuffer { self.buffers[Int(framing.rawValue)] }
}
