import NIOCore

/// The state of one HTTP/1.1 connection of either port: whether its socket is read, which deadline applies, and whether the socket accepts bytes. A pure
/// value; ``HTTPHandler`` executes its decisions.
struct HTTPConnection {
    enum State {
        /// The socket is read, and requests are handled in order.
        /// Can transition to: paused, ended.
        case reading
        /// The socket is not read, because the client does not read its responses or because no further response may be outstanding.
        /// Can transition to: reading, ended.
        case paused
        /// No further request is handled. Bytes that still arrive are discarded.
        case ended
    }

    enum Step {
        case request(Request)
        /// Stop reading the socket until ``resume()``.
        case pause
        /// The next request is not complete. If the second value is nil, the current deadline continues. Otherwise a new deadline starts.
        case needMore(wantsContinue: Bool, Wait?)
        /// The client has closed its side, and all its requests have been returned.
        case inputEnded
    }

    /// What a deadline waits for.
    enum Wait {
        /// The rest of a request. The deadline is set at the request's first byte. Later bytes do not extend the deadline.
        case request
        /// The first byte of the next request.
        case nextRequest
    }

    /// What happens at the deadline.
    enum Expiry {
        /// The socket accepts no bytes. Close the connection if this state has lasted too long.
        case checkStall
        /// The client waits for a response: set another deadline.
        case extend
        /// A request did not arrive in time: respond with 408 and close.
        case refuse
        /// Close without a response.
        case close(isLate: Bool)
    }

    private(set) var state = State.reading
    /// The port is over its connection limit: the client gets a refusal and is disconnected.
    let isOverLimit: Bool
    private(set) var isInputClosed = false
    /// Which deadline is set.
    private enum Timer {
        case none, request, nextRequest
    }

    private var timer = Timer.request
    private var stall = StallWatch()
    /// Nil after the connection has become a stream or has ended, to save memory.
    private var parser: HTTPRequestParser?

    init(headerBytesMax: Int, bodyBytesMax: Int, isOverLimit: Bool) {
        self.parser = HTTPRequestParser(headerBytesMax: headerBytesMax, bodyBytesMax: bodyBytesMax)
        self.isOverLimit = isOverLimit
    }

    var isEnded: Bool { self.state == .ended }

    /// Whether the connection stays open after the response. A connection over the limit closes after one response.
    func keepsAlive(after head: RequestHead) -> Bool { head.keepsAlive && !self.isOverLimit }

    // MARK: - Reading

    mutating func receive(_ bytes: ByteBuffer) { self.parser?.feed(bytes) }

    /// Received bytes that are not part of a returned request.
    var bufferedBytes: Int { self.parser?.bufferedBytes ?? 0 }

    mutating func inputClosed() { self.isInputClosed = true }

    /// The next step. Nil if no further request is handled. After a failure the connection must be closed.
    ///
    /// - Parameter canTakeRequest: the client reads its responses, and one more response may be outstanding.
    mutating func next(canTakeRequest: Bool) throws(HTTPError) -> Step? {
        guard self.state != .ended, self.parser != nil else { return nil }
        guard canTakeRequest else {
            self.state = .paused
            return .pause
        }
        switch try self.parser!.next() {
        case .request(let request):
            self.timer = .none
            return .request(request)
        case .needMore where self.isInputClosed:
            return .inputEnded
        case .needMore(let wantsContinue):
            return .needMore(wantsContinue: wantsContinue, self.wait())
        }
    }

    /// Starts one deadline for each request. Empty lines before a request do not start a deadline. Otherwise a client could keep its connection open by
    /// sending an empty line from time to time.
    private mutating func wait() -> Wait? {
        if self.parser!.isBetweenRequests {
            guard self.timer == .none else { return nil }
            self.timer = .nextRequest
            return .nextRequest
        }
        guard self.timer != .request else { return nil }
        self.timer = .request
        return .request
    }

    /// Leaves the state `paused`.
    mutating func resume() {
        if self.state == .paused { self.state = .reading }
    }

    /// The connection becomes a stream. Returns the bytes that the client sent after its request.
    mutating func leaveHTTP() -> ByteBuffer {
        defer { self.parser = nil }
        return self.parser?.takeRest() ?? ByteBuffer()
    }

    /// After this call no further request is handled. Returns true if reading was paused. Then the caller must resume reading: if the socket were closed with
    /// unread bytes, the kernel would reset the connection and discard the last response.
    mutating func end() -> Bool {
        defer { self.state = .ended }
        self.parser = nil
        return self.state == .paused
    }

    // MARK: - Time

    /// - Parameter hasPendingResponse: the client waits for a response.
    func expired(hasPendingResponse: Bool) -> Expiry {
        if self.stall.isBlocked { return .checkStall }
        if hasPendingResponse || self.state == .paused { return .extend }
        guard self.state == .reading, self.timer == .request else { return .close(isLate: false) }
        // Only an incomplete request gets the response 408. A connection that has sent no byte of a request is closed without a response.
        return self.isOverLimit || self.parser?.isBetweenRequests ?? true ? .close(isLate: true) : .refuse
    }

    // MARK: - Writing

    var isBlocked: Bool { self.stall.isBlocked }

    /// The socket accepts no more bytes, and `bytes` written bytes wait.
    mutating func block(at second: Int, waiting bytes: Int) { self.stall.block(at: second, waiting: bytes) }

    mutating func unblock() { self.stall.unblock() }

    /// The number of seconds in which the socket has accepted no bytes.
    mutating func secondsStalled(at second: Int, waiting bytes: Int) -> Int { self.stall.seconds(at: second, waiting: bytes) }
}
