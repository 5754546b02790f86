import NIOCore
import Pipeline
import SubscriberAPI

/// Calls from the fanout.
extension SubscriberHandler {
    func subscriberOpened(cursor: String) {
        guard let framing = self.subscriber?.framing else { return }
        guard self.phase == .opening else {
            // The response has begun without this cursor.
            var buffer = ByteBuffer()
            FrameEncoder.writeOpening(cursor: cursor, framing: framing, retryMilliseconds: nil, into: &buffer)
            self.context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
            return
        }
        if self.transport == .longPoll {
            self.phase = .polling
        } else {
            self.beginStream(cursor: cursor, framing)
        }
    }

    /// The owner of a channel has not reported its head in time. A stream begins: its subscriber gets heartbeats, so that neither the client nor a proxy takes the
    /// connection for a dead one. A poll ends.
    func openingTimedOut() {
        guard let subscriber else { return }
        let resumed = subscriber.resumedCursor
        switch self.transport {
        case .sse:
            // A client that follows the standard forgets its last event id at the first empty line of a stream without an `id`. So a stream that resumes repeats
            // the cursor that it came with.
            self.beginStream(cursor: resumed, subscriber.framing)
        case .stream, .webSocket:
            self.beginStream(cursor: nil, subscriber.framing)
        case .longPoll:
            guard let resumed else {
                return self.refuse(
                    .unavailable("no node that owns one of these channels can be reached at present, and this poll has no cursor yet; try again"))
            }
            self.phase = .polling
            self.pollCompleted(elements: ByteBuffer(), cursor: resumed)
        }
    }

    /// Writes the head of the response, and the opening.
    private func beginStream(cursor: String?, _ framing: Framing) {
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
