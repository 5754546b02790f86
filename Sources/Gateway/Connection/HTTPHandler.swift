import NIOCore
import Pipeline

/// What the handlers of both ports do alike: they execute an ``HTTPConnection``. Confined to its event loop.
protocol HTTPHandler: LoopConnection {
    var http: HTTPConnection { get set }
    var context: ChannelHandlerContext! { get }
    var loop: LoopContext { get }
    /// The connection is between requests, or in the middle of one: not a stream.
    var takesRequests: Bool { get }
    /// Another response may be outstanding.
    var hasRoom: Bool { get }
    /// As ``hasRoom``, for a connection that is not read: some responses less, so that it is not paused again immediately.
    var hasRoomAgain: Bool { get }

    func handle(_ request: Request)
    /// The client waits for `100 Continue` before it sends a body.
    func sendContinue()
    /// Responds that what came is not a request, or came too late, and closes.
    func refuse(_ failure: HTTPFailure)
    /// The client has closed its side: closes once it has all that it waits for.
    func finish()
}

extension HTTPHandler {
    // MARK: - Reading

    func readRequests() {
        do throws(HTTPFailure) {
            // A client that asks and does not read must not fill this node's memory.
            while self.takesRequests, let step = try self.http.next(hasRoom: self.hasRoom && self.context?.channel.isWritable ?? false) {
                switch step {
                case .request(let request):
                    self.handle(request)
                case .pause:
                    return self.setAutoRead(false)
                case .needMore(let wantsContinue, let wait):
                    if wantsContinue { self.sendContinue() }
                    return self.setDeadline(wait)
                case .inputEnded:
                    return self.finish()
                }
            }
        } catch {
            self.refuse(error)
        }
    }

    private func setDeadline(_ wait: HTTPConnection.Wait?) {
        switch wait {
        case .request: self.loop.setDeadline(of: self, in: self.loop.limits.handshakeSecondsMax)
        case .nextRequest: self.loop.setDeadline(of: self, in: self.loop.limits.idleSecondsMax)
        case nil: break
        }
    }

    func resumeReading() {
        guard self.http.state == .paused, self.hasRoomAgain, self.context?.channel.isWritable ?? false else { return }
        self.http.resume()
        self.readRequests()
        if self.http.state != .paused { self.setAutoRead(true) }
    }

    private func setAutoRead(_ isOn: Bool) { _ = try? self.context?.channel.syncOptions?.setOption(ChannelOptions.autoRead, value: isOn) }

    // MARK: - Time

    /// The first deadline, from accept to a complete request.
    var firstDeadlineSeconds: Int { self.http.isOverLimit ? 2 : self.loop.limits.handshakeSecondsMax }

    /// The deadline of a connection that is not a stream.
    func requestDeadlineReached(isOwed: Bool) {
        switch self.http.expired(isOwed: isOwed) {
        case .lookAtStall:
            self.closeIfStalled()
        case .waitOn:
            self.loop.setDeadline(of: self, in: self.loop.limits.handshakeSecondsMax)
        case .refuse:
            self.loop.metrics.timedOut += 1
            self.refuse(.timeout)
        case .close(let isLate):
            if isLate { self.loop.metrics.timedOut += 1 }
            self.context.close(promise: nil)
        }
    }

    /// A socket that has taken nothing for too long is closed; one that takes a little is looked at again.
    func closeIfStalled() {
        let left = self.loop.limits.stalledSecondsMax - self.http.secondsStalled(at: self.loop.second, waiting: self.context.waitingBytes)
        guard left > 0 else {
            self.loop.metrics.stalled += 1
            return self.context.close(promise: nil)
        }
        self.loop.setDeadline(of: self, in: min(left, self.loop.limits.heartbeatSeconds, self.loop.limits.handshakeSecondsMax))
    }

    // MARK: - Writing

    func writabilityChanged(_ context: ChannelHandlerContext) {
        if context.channel.isWritable {
            self.http.unblock()
            self.resumeReading()
        } else {
            self.http.block(at: self.loop.second, waiting: context.waitingBytes)
        }
    }

    // MARK: - Closing

    /// No further request is taken. What is owed can still be written.
    func endRequests() {
        if self.http.end() { self.setAutoRead(true) }
    }

    func closeGently() {
        self.endRequests()
        if let context { self.loop.closeGently(self, context) }
    }
}
