/// Decides which events are sent next, and what happens after failures. Pure: uses no network and no clock.
///
/// Up to `concurrency` events are in flight, in order, on one connection. After a failure, events are sent one at a time until the node acknowledges an event.
/// Otherwise more events could overtake the repeated event.
struct PublishMachine: Sendable {
    typealias Instant = ContinuousClock.Instant

    enum Step: Equatable, Sendable {
        case proceed
        case wait(atLeast: Duration?, reason: String)
        case stop(CommandError)
    }

    struct Tally: Equatable, Sendable {
        var published = 0
        var duplicates = 0
        var retries = 0
        /// Events that the node would always refuse.
        var refused = 0
        var firstRefusal: Refusal?
        /// Events that were published out of order: the node refused an earlier event temporarily, so the earlier event came after them.
        var overtaking = 0
        var firstOvertakenLine: Int?
    }

    struct Refusal: Equatable, Sendable {
        var line: Int
        var reason: String
    }

    private let concurrency: Int
    private let retryTimeout: Duration
    private var pending: [PublishEvent] = []
    private var sendsOneAtATime = false
    /// After a failed attempt: the first pending event, and the time of its first attempt.
    private var failing: (messageID: String, since: Instant)?
    private(set) var tally = Tally()

    /// - Parameter retryTimeout: the time limit for all attempts of one event.
    init(concurrency: Int, retryTimeout: Duration) {
        self.concurrency = concurrency
        self.retryTimeout = retryTimeout
    }

    // MARK: events

    /// The number of further events that the machine accepts.
    var capacity: Int { self.concurrency - self.pending.count }

    mutating func accept(_ events: [PublishEvent]) {
        self.pending += events
    }

    mutating func refuse(line: Int, reason: String) {
        self.tally.refused += 1
        if self.tally.firstRefusal == nil { self.tally.firstRefusal = Refusal(line: line, reason: reason) }
    }

    /// The events to send now, in this order.
    var window: [PublishEvent] { Array(self.pending.prefix(self.sendsOneAtATime ? 1 : self.concurrency)) }

    /// The line of the first event that is not published yet.
    var firstPendingLine: Int? { self.pending.first?.line }

    /// The time limit for the responses of the window.
    func retryTimeout(at now: Instant) -> Duration {
        guard let failing else { return self.retryTimeout }
        return max(self.retryTimeout - (now - failing.since), .milliseconds(100))
    }

    /// The caller must call this after it has sent the window, with one outcome for each event of the window.
    mutating func didFinish(_ outcomes: [PublishOutcome], sentAt: Instant, now: Instant) -> Step {
        let window = self.window
        precondition(outcomes.count == window.count, "Each event of a window has an outcome")
        var kept: [(event: PublishEvent, outcome: PublishOutcome)] = []
        for (event, outcome) in zip(window, outcomes) {
            switch outcome {
            case .published(_, let isDuplicate):
                self.published(isDuplicate: isDuplicate, after: kept.first?.event)
            case .refused(let reason):
                self.refuse(line: event.line, reason: reason)
            case .misconfigured, .retry:
                kept.append((event, outcome))
            }
        }
        self.pending.replaceSubrange(0..<window.count, with: kept.map(\.event))
        self.sendsOneAtATime = !kept.isEmpty
        self.tally.retries += kept.count
        guard let first = kept.first else {
            self.failing = nil
            return .proceed
        }
        if self.failing?.messageID != first.event.messageID { self.failing = (first.event.messageID, sentAt) }
        return self.failed(first.event, first.outcome, for: now - (self.failing?.since ?? now))
    }

    // MARK: decisions

    private mutating func published(isDuplicate: Bool, after kept: PublishEvent?) {
        self.tally.published += 1
        if isDuplicate { self.tally.duplicates += 1 }
        guard let kept, !isDuplicate else { return }
        self.tally.overtaking += 1
        if self.tally.firstOvertakenLine == nil { self.tally.firstOvertakenLine = kept.line }
    }

    private func failed(_ event: PublishEvent, _ outcome: PublishOutcome, for elapsed: Duration) -> Step {
        let place = event.line == 0 ? "" : " Line \(event.line) is the first line that was not published."
        switch outcome {
        case .published, .refused:
            preconditionFailure("A published or refused event is not sent again")
        case .misconfigured(let reason):
            return .stop(CommandError(.critical, reason + place))
        case .retry(let after, let reason, let wasReached):
            guard elapsed >= self.retryTimeout else { return .wait(atLeast: after, reason: reason) }
            let message = wasReached ? "The node did not accept the event in time: \(reason)." : "Cannot reach the node: \(reason)."
            return .stop(CommandError(wasReached ? .critical : .unreachable, message + place))
        }
    }
}
