/// One subscribing connection. Small, because the loop goes over thousands of them.
struct Subscriber {
    enum State: UInt8 {
        case closed
        /// The request is not sent yet.
        case connecting
        /// Waits for the response head.
        case head
        case streaming
        /// Long-poll: the server has a request.
        case polling
    }

    var descriptor: Int32 = -1
    var state = State.closed
    /// Bytes of an incomplete marker.
    var tailCount: UInt8 = 0
    /// Events are expected from the moment of connecting, even if the connection ends later.
    var wasConnected = false
    var firstChannel: UInt32 = 0
    var started: UInt64 = 0
}

/// One publishing connection.
struct Publisher {
    enum State: UInt8 { case closed, connecting, idle, inFlight }

    var descriptor: Int32 = -1
    var state = State.closed
    var number = 0
    var schedule = PublishSchedule(start: .max, pace: .closedLoop)
    var scanner = HTTPResponseScanner()
    /// The next of its streams.
    var turn = 0
    // The request in flight.
    var stream = 0
    var sequence: UInt64 = 0
    var isInWindow = false
    var sent: UInt64 = 0
    /// When it could send again. Lateness before this time is caused by the server, not by the load tool.
    var idleSince: UInt64 = 0
    var notBefore: UInt64 = 0
}

/// What the thread itself used during the window.
struct WindowMeter {
    private(set) var isOpen = false
    private(set) var isClosed = false
    private(set) var nanoseconds: UInt64 = 0
    private(set) var cpu: UInt64 = 0
    private(set) var runDelay: UInt64 = 0

    mutating func open(_ now: UInt64) {
        self.isOpen = true
        self.nanoseconds = now
        self.cpu = Clock.threadCPU()
        self.runDelay = Clock.threadRunDelay()
    }

    mutating func close(_ now: UInt64) {
        guard self.isOpen else { return }
        self.isOpen = false
        self.isClosed = true
        self.nanoseconds = max(1, now - self.nanoseconds)
        self.cpu = Clock.threadCPU() - self.cpu
        self.runDelay = Clock.threadRunDelay() - self.runDelay
    }
}
