/// Decides which events are sent next, and what to do after failures. Pure: uses no network and no clock.
///
/// Up to `concurrency` events are in flight, in order, on one connection. After a failure they are sent one at a time until one
/// is acknowledged, so that no more events overtake the one that is repeated.
struct PublishMachine: Sendable {
    typealias Instant = ContinuousClock.Instant

    enum Step: Equatable, Sendable {
        case proceed
        case wait(atLeast: Duration?, reason: String)
        case stop(Failure)
    }

    struct Tally: Equatable, Sendable {
        var published = 0
        var duplicates = 0
        var retries = 0
        /// Events that can never be published.
        var refused = 0
        var firstRefusal: Refusal?
        /// Events that were published before an earlier one, because the node had refused that one temporarily.
        var overtaking = 0
        var firstOvertakenLine: Int?
    }

    struct Refusal: Equatable, Sendable {
        var line: Int
        var reason: String
    }

    private let concurrency: Int
    private let patience: Duration
    private var pending: [PublishEvent] = []
    private var isCareful = false
    /// The first pending event after a failed attempt, and the time of its first attempt.
    private var failing: (messageID: String, since: Instant)?
    private(set) var tally = Tally()

    /// - Parameter patience: how long one event is repeated.
    init(concurrency: Int, patience: Duration) {
        self.concurrency = concurrency
        self.patience = patience
    }

    // MARK: events

    /// How many more events it accepts.
    var capacity: Int { self.concurrency - self.pending.count }

    mutating func accept(_ events: [PublishEvent]) {
        self.pending += events
    }

    mutating func refuse(line: Int, reason: String) {
        self.tally.refused += 1
        if self.tally.firstRefusal == nil { self.tally.firstRefusal = Refusal(line: line, reason: reason) }
    }

    /// What to send now, in this order.
    var window: [PublishEvent] { Array(self.pending.prefix(self.isCareful ? 1 : self.concurrency)) }

    /// The line of the first event that is not published yet.
    var firstPendingLine: Int? { self.pending.first?.line }

    /// How long the responses of the window may take.
    func patience(at now: Instant) -> Duration {
        guard let failing else { return self.patience }
        return max(self.patience - (now - failing.since), .milliseconds(100))
    }

    /// The window was sent, and these are the outcomes of its events.
    mutating func didFinish(_ outcomes: [PublishOutcome], sentAt: Instant, now: Instant) -> Step {
        let window = self.window
        precondition(outcomes.count == window.count, "Every event of a window has its outcome")
        var kept: [(event: PublishEvent, outcome: PublishOutcome)] = []
        for (event, outcome) in zip(window, outcomes) {
            switch outcome {
            case .published(_, let isDuplicate):
                self.published(isDuplicate: isDuplicate, after: kept.first?.event)
            case .refused(let reason):
                self.refuse(line: event.line, reason: reason)
            case .hopeless, .retry:
                kept.append((event, outcome))
            }
        }
        self.pending.replaceSubrange(0..<window.count, with: kept.map(\.event))
        self.isCareful = !kept.isEmpty
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

    private func failed(_ event: PublishEvent, _ outcome: PublishOutcome, for spent: Duration) -> Step {
        let place = event.line == 0 ? "" : " Line \(event.line) is the first that was not published."
        switch outcome {
        case .published, .refused:
            preconditionFailure("An event that was settled is not tried again")
        case .hopeless(let reason):
            return .stop(Failure(.critical, reason + place))
        case .retry(let after, let reason, let wasReached):
            guard spent >= self.patience else { return .wait(atLeast: after, reason: reason) }
            let words = wasReached ? "The node did not take the event in time: \(reason)." : "Cannot reach the node: \(reason)."
            return .stop(Failure(wasReached ? .critical : .unreachable, words + place))
        }
    }
}
