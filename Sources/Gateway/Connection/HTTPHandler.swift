import NIOCore
import Pipeline

/// Executes the decisions of an ``HTTPConnection``, for the handlers of both ports. Confined to its event loop.
protocol HTTPHandler: LoopConnection {
    var http: HTTPConnection { get set }
    var context: ChannelHandlerContext! { get }
    var loop: LoopContext { get }
    /// True if the connection is not a stream and no request blocks the next request.
    var takesRequests: Bool { get }
    /// Whether one more response may be outstanding.
    var canTakeRequest: Bool { get }
    /// Whether a paused connection may continue. Stricter than ``canTakeRequest``, so that the connection is not paused again immediately.
    var canResume: Bool { get }

    func handle(_ request: Request)
    /// Called when the client waits for `100 Continue` before it sends a body.
    func sendContinue()
    /// Responds with the failure and closes the connection. Called for invalid bytes and for late requests.
    func refuse(_ failure: HTTPError)
    /// Called after the client has closed its side. Closes the connection after the last outstanding response.
    func finish()
}

extension HTTPHandler {
    // MARK: - Reading

    func readRequests() {
        do throws(HTTPError) {
            // Requests are handled only while the channel is writable. Otherwise the responses to a client that does not read them could fill the memory.
            while self.takesRequests, let step = try self.http.next(canTakeRequest: self.canTakeRequest && self.context?.channel.isWritable ?? false) {
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
        guard self.http.state == .paused, self.canResume, self.context?.channel.isWritable ?? false else { return }
        self.http.resume()
        self.readRequests()
        if self.http.state != .paused { self.setAutoRead(true) }
    }

    private func setAutoRead(_ isOn: Bool) { _ = try? self.context?.channel.syncOptions?.setOption(ChannelOptions.autoRead, value: isOn) }

    // MARK: - Time

    /// The longest time from accepting the connection to a complete request.
    var firstDeadlineSeconds: Int { self.http.isOverLimit ? 2 : self.loop.limits.handshakeSecondsMax }

    /// Handles the deadline of a connection that is not a stream.
    func requestDeadlineReached(hasPendingResponse: Bool) {
        switch self.http.expired(hasPendingResponse: hasPendingResponse) {
        case .checkStall:
            self.closeIfStalled()
        case .extend:
            self.loop.setDeadline(of: self, in: self.loop.limits.handshakeSecondsMax)
        case .refuse:
            self.loop.metrics.timedOut += 1
            self.refuse(.timeout)
        case .close(let isLate):
            if isLate { self.loop.metrics.timedOut += 1 }
            self.context.close(promise: nil)
        }
    }

    /// Closes a socket that has accepted no bytes for too long. Otherwise sets the deadline of the next check.
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

    /// After this call no further request is handled. Outstanding responses can still be written.
    func endRequests() {
        if self.http.end() { self.setAutoRead(true) }
    }

    func closeGently() {
        self.endRequests()
        if let context { self.loop.closeGently(self, context) }
    }
}
