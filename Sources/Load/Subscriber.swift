/// The connection of one subscriber. The struct is small, because the loop handles thousands of them.
struct Subscriber {
    enum State: UInt8 {
        case closed
        /// The request is not sent yet.
        case connecting
        /// Waits for the head of the response.
        case head
        case streaming
        /// Long-poll: waits for the response.
        case polling
    }

    var descriptor: Int32 = -1
    var state = State.closed
    /// The number of stored bytes of an incomplete marker.
    var tailCount: UInt8 = 0
    /// After the first connect all events are expected, even if the connection ends.
    var wasConnected = false
    var firstChannel: UInt32 = 0
    var started: UInt64 = 0
}

/// The connection of one publisher.
struct Publisher {
    enum State: UInt8 { case closed, connecting, idle, inFlight }

    var descriptor: Int32 = -1
    var state = State.closed
    var number = 0
    var schedule = PublishSchedule(start: .max, pace: .closedLoop)
    var scanner = HTTPResponseScanner()
    /// The number of events that were sent. It selects the next stream.
    var eventsSent = 0
    // The request in flight.
    var stream = 0
    var sequence: UInt64 = 0
    var isInWindow = false
    var sent: UInt64 = 0
    /// The time of the last response. If an event is late before this time, the server caused it, not the load tool.
    var idleSince: UInt64 = 0
    var notBefore: UInt64 = 0
}

/// Measures the CPU time of the calling thread during the window.
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
