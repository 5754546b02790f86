import NIOCore

/// One HTTP/1.1 connection of either port: whether its socket is read, what its client has time for, whether it takes what is written. A pure value:
/// ``HTTPHandler`` executes what it decides.
struct HTTPConnection {
    enum State {
        /// Bytes are read, and requests are taken as they come.
        /// Can transition to: paused, ended.
        case reading
        /// The socket is not read: the client takes no responses, or has as many outstanding as it may.
        /// Can transition to: reading, ended.
        case paused
        /// No further request is taken. What still arrives is thrown away.
        case ended
    }

    enum Step {
        case request(Request)
        /// Stop reading the socket until ``resume()``.
        case pause
        /// More bytes have to come. The client has as long as `wait` says; nil when its time runs already.
        case needMore(wantsContinue: Bool, Wait?)
        /// The client has closed its side, and all that it sent has been taken.
        case inputEnded
    }

    /// What the client is given time for.
    enum Wait {
        /// The rest of a request, from its first byte: a client that sends byte by byte does not buy time with each of them.
        case request
        /// The first byte of the next request.
        case nextRequest
    }

    /// What is to be done at the connection's deadline.
    enum Expiry {
        /// The socket takes nothing: look whether that has lasted too long.
        case lookAtStall
        /// The client waits for this node.
        case waitOn
        /// A request did not arrive in time: say so and close.
        case refuse
        /// No client waits for a response.
        case close(isLate: Bool)
    }

    private(set) var state = State.reading
    /// Over the connection limit: the client is told so and disconnected.
    let isOverLimit: Bool
    private(set) var isInputClosed = false
    /// Which of the client's deadlines runs.
    private enum Timer {
        case none, request, nextRequest
    }

    private var timer = Timer.request
    private var stall = StallWatch()
    /// Nil when the connection no longer speaks HTTP: a stream should weigh little while it is idle.
    private var parser: HTTPRequestParser?

    init(headerBytesMax: Int, bodyBytesMax: Int, isOverLimit: Bool) {
        self.parser = HTTPRequestParser(headerBytesMax: headerBytesMax, bodyBytesMax: bodyBytesMax)
        self.isOverLimit = isOverLimit
    }

    var isEnded: Bool { self.state == .ended }

    /// A client over the limit gets one response, and makes room.
    func keepsAlive(after head: RequestHead) -> Bool { head.keepsAlive && !self.isOverLimit }

    // MARK: - Reading

    mutating func receive(_ bytes: ByteBuffer) { self.parser?.feed(bytes) }

    /// Bytes received and not taken.
    var bufferedBytes: Int { self.parser?.bufferedBytes ?? 0 }

    mutating func inputClosed() { self.isInputClosed = true }

    /// The next request. Nil when none is taken any more. After a failure the connection can only be closed.
    ///
    /// - Parameter hasRoom: the client takes its responses, and may have another one outstanding.
    mutating func next(hasRoom: Bool) throws(HTTPFailure) -> Step? {
        guard self.state != .ended, self.parser != nil else { return nil }
        guard hasRoom else {
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

    /// Only a taken request gives the client time for the next one. Empty lines before a request do not: the parser skips them, and a client could send
    /// one from time to time and keep its connection.
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

    /// There is room again.
    mutating func resume() {
        if self.state == .paused { self.state = .reading }
    }

    /// From here on the connection is a stream. Returns what the client sent behind its request.
    mutating func leaveHTTP() -> ByteBuffer {
        defer { self.parser = nil }
        return self.parser?.takeRest() ?? ByteBuffer()
    }

    /// No further request is taken. True when the socket has to be read again, because unread bytes would make the kernel reset the connection
    /// and discard the last response.
    mutating func end() -> Bool {
        defer { self.state = .ended }
        self.parser = nil
        return self.state == .paused
    }

    // MARK: - Time

    /// - Parameter isOwed: the client waits for responses.
    func expired(isOwed: Bool) -> Expiry {
        if self.stall.isBlocked { return .lookAtStall }
        if isOwed || self.state == .paused { return .waitOn }
        guard self.state == .reading, self.timer == .request else { return .close(isLate: false) }
        // Between two requests there is nothing to respond to; in the middle of one there is.
        return self.isOverLimit || self.parser?.isBetweenRequests ?? true ? .close(isLate: true) : .refuse
    }

    // MARK: - Writing

    var isBlocked: Bool { self.stall.isBlocked }

    /// The socket takes no more, and that many bytes wait for it.
    mutating func block(at second: Int, waiting bytes: Int) { self.stall.block(at: second, waiting: bytes) }

    mutating func unblock() { self.stall.unblock() }

    /// For how many seconds the socket has taken nothing.
    mutating func secondsStalled(at second: Int, waiting bytes: Int) -> Int { self.stall.seconds(at: second, waiting: bytes) }
}
