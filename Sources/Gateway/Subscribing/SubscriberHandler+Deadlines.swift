import NIOCore
import Pipeline

/// Calls of the loop.
extension SubscriberHandler {
    func deadlineReached() {
        if self.http.isEnded { return self.requestDeadlineReached(isOwed: false) }
        switch self.phase {
        case .requests:
            self.requestDeadlineReached(isOwed: false)
        case .opening:
            self.loop.setDeadline(of: self, in: self.loop.limits.handshakeSecondsMax)
        case .streaming:
            self.heartbeat()
        case .polling:
            self.answerNow()
        }
    }

    func heartbeat() {
        if self.http.isBlocked { return self.closeIfStalled() }
        self.loop.setHeartbeat(of: self)
        switch self.transport {
        case .sse, .stream:
            guard let framing = self.subscriber?.framing else { return }
            self.context.writeAndFlush(self.wrapOutboundOut(self.port.heartbeats[framing]), promise: nil)
        case .webSocket:
            self.missedPongs += 1
            // Counted when the next ping is due: the second ping without a pong ends the connection.
            if self.missedPongs > 2 { return self.closeWebSocket(1001) }
            self.writeFrame(.ping, ByteBuffer())
        case .longPoll:
            break
        }
    }

    /// A long-poll's time is up: the answer with what it has gathered in this turn, which its cursor is past already.
    func answerNow() {
        guard let subscriber else { return }
        self.pollCompleted(elements: subscriber.gathered, cursor: subscriber.cursor)
    }

    /// Ends a stream gracefully, with the transport's last message.
    func endStream(_ lastWords: ByteBuffer) {
        guard let framing = self.subscriber?.framing else { return }
        var buffer = ByteBuffer()
        if lastWords.readableBytes > 0 { FrameEncoder.writeStream(lastWords, framing: framing, into: &buffer) }
        if framing.isChunked { buffer.writeStaticString(ChunkedCoding.end) }
        self.context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
        self.closeSubscriber()
    }

    func drain() {
        switch self.phase {
        case .streaming, .polling:
            guard !self.http.isEnded else { return }
            self.loop.metrics.drained += 1
            self.stop()
        case .requests, .opening:
            // Nothing to lose elsewhere, and nothing to say yet: the next round meets it.
            break
        }
    }

    func stop() {
        guard !self.http.isEnded else { return }
        switch self.phase {
        case .requests:
            self.endRequests()
            self.loop.closeWhenWritten(self, self.context)
        case .opening:
            self.context.close(promise: nil)
        case .polling:
            self.keepsAlive = false
            self.answerNow()
        case .streaming:
            switch self.transport {
            case .sse:
                self.endStream(ByteBuffer(string: "retry: \(Reconnect.retryMilliseconds(stopping: true))\n\n"))
            case .stream:
                self.endStream(ByteBuffer())
            case .webSocket:
                self.closeWebSocket(1012)
            case .longPoll:
                break
            }
        }
    }
}
