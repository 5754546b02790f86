import NIOCore
import Pipeline

/// What the loop tells.
extension APIHandler {
    func deadlineReached() {
        switch self.phase {
        case .serving where self.stall.isBlocked, .closing where self.stall.isBlocked:
            self.closeIfStalled()
        // The client waits for us, and we do not read what it has sent meanwhile.
        case .serving where self.responses.count > 0 || self.isReadPaused, .closing where self.responses.count > 0:
            self.loop.setDeadline(of: self, in: self.loop.limits.handshakeSecondsMax)
        case .serving where !self.parser.isBetweenRequests:
            self.loop.metrics.timedOut += 1
            self.phase = .closing
            self.respond(self.responses.reserve(), .timeout, keepAlive: false)
        case .serving, .closing:
            self.context.close(promise: nil)
        }
    }

    private func closeIfStalled() {
        let left = self.loop.limits.stalledSecondsMax - self.stall.seconds(at: self.loop.second, waiting: self.context.waitingBytes)
        guard left > 0 else {
            self.loop.metrics.stalled += 1
            return self.context.close(promise: nil)
        }
        self.loop.setDeadline(of: self, in: min(left, self.loop.limits.handshakeSecondsMax))
    }

    /// Who publishes here goes on publishing here.
    func drain() {}

    func stop() {
        self.phase = .closing
        self.closesAfterFlush = true
        if self.responses.count == 0, self.output.readableBytes == 0 { self.loop.closeWhenWritten(self, self.context) }
    }
}
