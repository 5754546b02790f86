import NIOCore
import Pipeline
import SubscriberAPI

/// The functions that the loop calls.
extension SubscriberHandler {
    func deadlineReached() {
        if self.http.isEnded { return self.requestDeadlineReached(hasPendingResponse: false) }
        switch self.phase {
        case .requests:
            self.requestDeadlineReached(hasPendingResponse: false)
        case .opening:
            self.openingTimedOut()
        case .streaming:
            self.heartbeat()
        case .polling:
            self.respondToPoll()
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
            // This ping is counted as missed until its pong arrives. Two missed pongs end the connection when the third ping is due.
            if self.missedPongs > 2 { return self.closeWebSocket(1001) }
            self.writeFrame(.ping, ByteBuffer())
        case .longPoll:
            break
        }
    }

    /// Ends a long-poll. The response contains the events collected in this turn of the loop, because the cursor is already after these events.
    func respondToPoll() {
        guard let subscriber else { return }
        self.pollCompleted(elements: subscriber.gathered, cursor: subscriber.cursor)
    }

    /// Ends a stream gracefully. `notice` is written before the end of the stream.
    func endStream(_ notice: ByteBuffer) {
        guard let framing = self.subscriber?.framing else { return }
        var buffer = ByteBuffer()
        if notice.readableBytes > 0 { FrameEncoder.writeStream(notice, framing: framing, into: &buffer) }
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
            // There is no subscription yet. The next round of the drain visits the connection again.
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
            self.respondToPoll()
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
