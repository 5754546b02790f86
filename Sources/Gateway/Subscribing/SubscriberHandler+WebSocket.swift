import NIOCore
import Pipeline

extension SubscriberHandler {
    func readFrames(_ bytes: ByteBuffer) {
        self.webSocket?.feed(bytes)
        while let step = self.webSocket?.next() {
            switch step {
            case .needMore:
                return
            case .message:
                continue
            case .pong:
                self.missedPongs = 0
            case .ping(let payload):
                // Pongs are sent only while the channel is writable. Otherwise pongs to a client that does not read could fill the memory.
                guard self.context.channel.isWritable else { continue }
                self.writeFrame(.pong, payload)
            case .close(let code):
                self.closeWebSocket(code)
            }
        }
    }

    func closeWebSocket(_ code: UInt16) {
        self.writeFrame(.close, ByteBuffer(integer: code))
        self.closeSubscriber()
    }

    func writeFrame(_ opcode: WebSocketFrame.Opcode, _ payload: ByteBuffer) {
        var buffer = ByteBufferAllocator().buffer(capacity: payload.readableBytes + 2)
        WebSocketFrame.writeHeader(opcode, payloadLength: payload.readableBytes, into: &buffer)
        buffer.writeImmutableBuffer(payload)
        self.context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
    }
}
