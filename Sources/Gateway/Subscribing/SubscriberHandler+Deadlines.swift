import NIOCore
import Pipeline

/// Calls of the loop.
extension SubscriberHandler {
    func deadlineReached() {
        switch self.phase {
        case .reading where self.stall.isBlocked:
            self.closeIfStalled()
        case .reading:
            self.loop.metrics.timedOut += 1
            // Between two requests no response is due; in the middle of one there is.
            if self.isOverLimit || self.parser?.isBetweenRequests ?? true {
                self.context.close(promise: nil)
            } else {
                self.refuse(.timeout)
            }
        case .opening:
            self.loop.setDeadline(of: self, in: self.loop.limits.handshakeSecondsMax)
        case .streaming:
            self.heartbeat()
        case .polling:
            self.answerNow()
        case .closing:
            self.context.close(promise: nil)
        }
    }

    func heartbeat() {
        if self.stall.isBlocked { return self.closeIfStalled() }
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

    func closeIfStalled() {
        let left = self.loop.limits.stalledSecondsMax - self.stall.seconds(at: self.loop.second, waiting: self.context.waitingBytes)
        guard left > 0 else {
            self.loop.metrics.stalled += 1
            return self.context.close(promise: nil)
        }
        self.loop.setDeadline(of: self, in: min(left, self.loop.limits.heartbeatSeconds))
    }

    /// A long-poll's time is over: responds with the events that it has collected in this turn, because its cursor is already after them.
    func answerNow() {
        guard let subscriber else { return }
        self.subscriberAnswered(elements: subscriber.gathered, cursor: subscriber.cursor)
    }

    /// Ends a stream gracefully, with the transport's last message.
    func endStream(_ lastWords: ByteBuffer) {
        guard let framing = self.subscriber?.framing else { return }
        var buffer = ByteBuffer()
        if lastWords.readableBytes > 0 { FrameEncoder.writeStream(lastWords, framing: framing, into: &buffer) }
        if framing.isChunked { buffer.writeStaticString(ChunkedCoding.end) }
        self.context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
        self.closeGently()
    }

    func drain() {
        switch self.phase {
        case .streaming, .polling:
            self.loop.metrics.drained += 1
            self.stop()
        case .reading, .opening, .closing:
            // The subscription is still opening: the next round handles it.
            break
        }
    }

    func stop() {
        switch self.phase {
        case .reading:
            self.phase = .closing
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
        case .closing:
            break
        }
    }
}
