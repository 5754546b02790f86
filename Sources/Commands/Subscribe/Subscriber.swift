/// Runs a subscription over many connections: prints the deliveries, stores the cursor, and reconnects.
actor Subscriber {
    private let subscription: Subscription
    private let printer: DeliveryPrinter
    private let cursorFile: CursorFile?
    private let eventsMax: Int?

    private var cursor: String?
    private var savedCursor: String?
    private var savedAt: ContinuousClock.Instant?
    private var backoff = Backoff()
    private var retryHint: Duration?
    private(set) var events = 0
    private(set) var wasConnected = false
    private var isConnected = false

    init(subscription: Subscription, since cursor: String?, printer: DeliveryPrinter, cursorFile: CursorFile?, eventsMax: Int?) {
        self.subscription = subscription
        self.cursor = cursor
        self.savedCursor = cursor
        self.printer = printer
        self.cursorFile = cursorFile
        self.eventsMax = eventsMax
    }

    /// Runs until enough events have arrived, a new connection cannot succeed, or the task is cancelled.
    func run() async throws {
        do {
            while true {
                try await self.connectOnce()
            }
        } catch is EnoughEventsError {
            try self.save()
        } catch {
            try self.save()
            throw error
        }
    }

    private func connectOnce() async throws {
        var ended = DisconnectedError(reason: "the node ended the connection", retryAfter: nil)
        self.isConnected = false
        do {
            try await self.subscription.connect(since: self.cursor) { try self.accept($0) }
        } catch let error as DisconnectedError {
            ended = error
        }
        try Task.checkCancellation()
        let hint = [ended.retryAfter, self.retryHint].compactMap { $0 }.max()
        self.retryHint = nil
        let wait = self.backoff.next(atLeast: hint)
        let what = self.isConnected ? "Disconnected" : "Not connected"
        let next = self.cursor == nil ? "Reconnecting" : "Resuming from the last cursor"
        self.printer.notices.printSentence("\(what) (\(ended.reason)). \(next) in \(Readable.fixed(wait.seconds, 1)) s.")
        try await Task.sleep(for: wait)
    }

    private func accept(_ delivery: Delivery) throws {
        try Task.checkCancellation()
        try self.printer.show(delivery)
        switch delivery {
        case .connected:
            self.wasConnected = true
            self.isConnected = true
            self.backoff.succeeded()
        case .cursor(let cursor):
            self.cursor = cursor
        case .event(let envelope):
            self.cursor = envelope.cursor
            self.events += 1
        case .gap(let gap):
            self.cursor = gap.cursor ?? self.cursor
        case .retry(let wait):
            self.retryHint = wait
        case .heartbeat:
            break
        }
        if self.savedAt.map({ ContinuousClock.now - $0 >= CursorFile.interval }) ?? true { try self.save() }
        if let eventsMax, self.events >= eventsMax { throw EnoughEventsError() }
    }

    private func save() throws {
        guard let cursorFile, let cursor, cursor != self.savedCursor else { return }
        try cursorFile.save(cursor)
        self.savedCursor = cursor
        self.savedAt = .now
    }
}
