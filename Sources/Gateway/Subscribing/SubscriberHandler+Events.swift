import NIOCore
import Pipeline
import SubscriberAPI

/// Calls from the fanout.
extension SubscriberHandler {
    func subscriberOpened(cursor: String) {
        guard let framing = self.subscriber?.framing else { return }
        var buffer = ByteBuffer()
        switch self.transport {
        case .sse:
            self.writeStreamHead("text/event-stream", framing, into: &buffer)
        case .stream:
            self.writeStreamHead("application/x-ndjson", framing, into: &buffer)
        case .webSocket:
            buffer.writeString(self.upgradeResponse)
            self.upgradeResponse = ""
            self.webSocket = WebSocketParser(messageBytesMax: self.loop.limits.clientMessageBytesMax)
        case .longPoll:
            self.phase = .polling
            self.loop.setPollEnd(of: self)
            return
        }
        self.phase = .streaming
        let rest = self.http.leaveHTTP()
        self.loop.setHeartbeat(of: self)
        FrameEncoder.writeOpening(
            cursor: cursor, framing: framing, retryMilliseconds: Reconnect.retryMilliseconds(stopping: false), into: &buffer)
        self.context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
        // A client may send its first frames together with its handshake.
        if self.webSocket != nil, rest.readableBytes > 0 { self.readFrames(rest) }
    }

    func writeStreamHead(_ contentType: StaticString, _ framing: Framing, into buffer: inout ByteBuffer) {
        ResponseWriter.writeStreamHead(contentType: contentType, isChunked: framing.isChunked, headers: self.crossOriginHeaders, into: &buffer)
    }

    func pollCompleted(elements: ByteBuffer, cursor: String) {
        guard self.phase == .polling else { return }
        self.endSubscriber()
        var body = ByteBufferAllocator().buffer(capacity: elements.readableBytes + cursor.utf8.count + 32)
        FrameEncoder.writePollResponse(elements: elements, cursor: cursor, into: &body)
        self.phase = .requests
        self.respond(.ok, content: .json, body: body)
        self.readRequests()
    }
}
