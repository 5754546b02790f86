import NIOCore

/// Decides when to connect to Redis, and what may be done with the connection. Pure: ``RedisClient`` passes events in and executes the returned actions.
///
/// Each connection has a number, its attempt. Events of an earlier attempt are ignored.
struct RedisConnectionMachine: Sendable {
    enum State: Hashable, Sendable, CaseIterable {
        /// Not started.
        /// Can transition to: connecting, closed.
        case idle
        /// The connection is being opened.
        /// Can transition to: handshaking, disconnected, closing.
        case connecting
        /// Waits for the replies to the first requests; before them TLS is set up.
        /// Can transition to: ready, disconnected, refused, closing.
        case handshaking
        /// Requests are sent.
        /// Can transition to: disconnected, refused, closing.
        case ready
        /// Waits for the next attempt.
        /// Can transition to: connecting, closed.
        case disconnected
        /// The server cannot hold the log's promise. Waits for the next attempt, since an operator may change the server.
        /// Can transition to: connecting, closed.
        case refused
        /// Waits until the connection has closed.
        /// Can transition to: closed.
        case closing
        /// The end.
        case closed
    }

    /// What the server's own words say about it.
    enum Verdict: Hashable, Sendable {
        case accepted
        /// It cannot be used now, and this will pass.
        case unavailable(String)
        /// It cannot be used until somebody changes it.
        case refused(String)
    }

    enum Event: Hashable, Sendable {
        case started
        case opened(attempt: Int)
        case openingFailed(attempt: Int, String)
        /// After the handshake, and again whenever the server was asked on a connection that is ready.
        case judged(attempt: Int, Verdict)
        /// The connection closed, or must not be used any longer.
        case lost(attempt: Int, String)
        /// The time of ``Action/wake(turn:after:)`` has passed.
        case woke(turn: Int)
        case closingRequested
        /// The connection has closed. It may have been lost before.
        case ended(attempt: Int)
    }

    enum Action: Hashable, Sendable {
        case open(attempt: Int)
        case handshake(attempt: Int)
        /// Requests may be sent from now on.
        case serve(generation: UInt64)
        /// End all requests of the attempt with this sentence, and close its connection.
        case drop(attempt: Int, String)
        /// Ask the server what it is now, then send ``Event/judged(attempt:_:)``.
        case refresh(attempt: Int)
        /// Send ``Event/woke(turn:)`` after this time.
        case wake(turn: Int, after: TimeAmount)
        case log(Report)
        /// The machine has ended.
        case finish
    }

    /// What an operator should know.
    enum Report: Hashable, Sendable {
        case connected
        /// Connected after a loss or a refusal was reported.
        case back
        /// Reported once for all attempts until the connection is back.
        case lost(String)
        /// Reported once for each distinct reason.
        case refused(String)
    }

    private(set) var state = State.idle
    /// The number of the latest connection. Zero before the first.
    private(set) var attempt = 0
    /// Connections that have become ready.
    private(set) var generation: UInt64 = 0
    /// Why requests cannot be sent. Nil if they can.
    private(set) var problem: String?
    /// Numbers the waits: only the latest matters. States without a wait ignore every one.
    private var turn = 0
    private var failures = 0
    private var hasReportedLoss = false
    private var reportedRefusal: String?
    private let settings: RedisClientSettings
    /// Of the server, for messages.
    private let place: String
    private let isTLS: Bool

    /// - Parameter place: host and port of the server, for messages.
    init(settings: RedisClientSettings, place: String, isTLS: Bool = false) {
        self.isTLS = isTLS
        self.settings = settings
        self.place = place
        self.problem = "Redis at \(place) is not connected yet"
    }

    /// - Parameter generator: shortens waits at random, so that the nodes of a cluster do not reconnect together.
    mutating func event(_ event: Event, using generator: inout some RandomNumberGenerator) -> [Action] {
        switch event {
        case .started: self.started()
        case .opened(let attempt): self.opened(attempt)
        case .openingFailed(let attempt, let sentence): self.openingFailed(attempt, sentence, using: &generator)
        case .judged(let attempt, let verdict): self.judged(attempt, verdict, using: &generator)
        case .lost(let attempt, let sentence): self.lost(attempt, sentence, using: &generator)
        case .woke(let turn): self.woke(turn, using: &generator)
        case .closingRequested: self.closingRequested()
        case .ended(let attempt): self.ended(attempt)
        }
    }

    // MARK: - Events

    private mutating func started() -> [Action] {
        switch self.state {
        case .idle: self.open()
        case .connecting, .handshaking, .ready, .disconnected, .refused, .closing, .closed: []
        }
    }

    private mutating func opened(_ attempt: Int) -> [Action] {
        guard attempt == self.attempt else { return [.drop(attempt: attempt, "the connection was replaced")] }
        switch self.state {
        case .connecting:
            self.state = .handshaking
            return [.handshake(attempt: attempt), self.wake(after: self.settings.deadline)]
        case .closing:
            return [.drop(attempt: attempt, self.closingSentence)]
        case .idle, .handshaking, .ready, .disconnected, .refused, .closed:
            return []
        }
    }

    private mutating func openingFailed(_ attempt: Int, _ sentence: String, using generator: inout some RandomNumberGenerator) -> [Action] {
        guard attempt == self.attempt else { return [] }
        switch self.state {
        case .connecting: return self.disconnect(sentence, using: &generator)
        case .closing: return self.finish()
        case .idle, .handshaking, .ready, .disconnected, .refused, .closed: return []
        }
    }

    private mutating func judged(_ attempt: Int, _ verdict: Verdict, using generator: inout some RandomNumberGenerator) -> [Action] {
        guard attempt == self.attempt else { return [] }
        switch (self.state, verdict) {
        case (.handshaking, .accepted): return self.serve()
        case (.handshaking, .unavailable(let sentence)), (.ready, .unavailable(let sentence)):
            return [.drop(attempt: attempt, sentence)] + self.disconnect(sentence, using: &generator)
        case (.handshaking, .refused(let sentence)), (.ready, .refused(let sentence)):
            return [.drop(attempt: attempt, sentence)] + self.refuse(sentence, using: &generator)
        case (.ready, .accepted): return []
        case (.idle, _), (.connecting, _), (.disconnected, _), (.refused, _), (.closing, _), (.closed, _): return []
        }
    }

    private mutating func lost(_ attempt: Int, _ sentence: String, using generator: inout some RandomNumberGenerator) -> [Action] {
        guard attempt == self.attempt else { return [] }
        switch self.state {
        case .handshaking, .ready:
            return [.drop(attempt: attempt, sentence)] + self.disconnect(sentence, using: &generator)
        // The code that opens the connection gets its error.
        case .connecting: return []
        case .idle, .disconnected, .refused, .closing, .closed: return []
        }
    }

    private mutating func woke(_ turn: Int, using generator: inout some RandomNumberGenerator) -> [Action] {
        guard turn == self.turn else { return [] }
        switch self.state {
        case .handshaking:
            // A server without TLS waits for the end of the first line, and may wait forever.
            let hint = self.isTLS ? ": check that it uses TLS on this port" : ""
            let sentence = "Redis at \(self.place) sent no reply to the first requests in \(self.settings.deadline.nanoseconds / 1_000_000) ms"
            return self.lost(self.attempt, sentence + hint, using: &generator)
        case .ready: return [.refresh(attempt: self.attempt), self.wake(after: self.settings.factsInterval)]
        case .disconnected, .refused: return self.open()
        case .idle, .connecting, .closing, .closed: return []
        }
    }

    private mutating func closingRequested() -> [Action] {
        switch self.state {
        case .idle, .disconnected, .refused:
            return self.finish()
        case .connecting:
            self.close()
            return []
        case .handshaking, .ready:
            self.close()
            return [.drop(attempt: self.attempt, self.closingSentence)]
        case .closing, .closed:
            return []
        }
    }

    private mutating func ended(_ attempt: Int) -> [Action] {
        guard attempt == self.attempt else { return [] }
        switch self.state {
        case .closing: return self.finish()
        case .idle, .connecting, .handshaking, .ready, .disconnected, .refused, .closed: return []
        }
    }

    // MARK: - Transitions

    private mutating func open() -> [Action] {
        self.state = .connecting
        self.attempt += 1
        // NIO bounds the time for connecting.
        return [.open(attempt: self.attempt)]
    }

    private mutating func serve() -> [Action] {
        let report: Report = self.hasReportedLoss || self.reportedRefusal != nil ? .back : .connected
        self.state = .ready
        self.generation += 1
        self.problem = nil
        self.failures = 0
        self.hasReportedLoss = false
        self.reportedRefusal = nil
        return [.serve(generation: self.generation), .log(report), self.wake(after: self.settings.factsInterval)]
    }

    private mutating func disconnect(_ sentence: String, using generator: inout some RandomNumberGenerator) -> [Action] {
        self.state = .disconnected
        self.problem = sentence
        // Sixteen doublings of 50 ms are an hour, and of an hour do not overflow.
        let wait = min(self.settings.backoffMax.nanoseconds, self.settings.backoffMin.nanoseconds << min(self.failures, 16))
        self.failures += 1
        let report: [Action] = self.hasReportedLoss ? [] : [.log(.lost(sentence))]
        self.hasReportedLoss = true
        return report + [self.wake(after: self.shortened(wait, using: &generator))]
    }

    private mutating func refuse(_ sentence: String, using generator: inout some RandomNumberGenerator) -> [Action] {
        self.state = .refused
        self.problem = sentence
        self.failures += 1
        let report: [Action] = self.reportedRefusal == sentence ? [] : [.log(.refused(sentence))]
        self.reportedRefusal = sentence
        return report + [self.wake(after: self.shortened(self.settings.backoffMax.nanoseconds, using: &generator))]
    }

    private mutating func close() {
        self.state = .closing
        self.problem = self.closingSentence
    }

    private mutating func finish() -> [Action] {
        self.state = .closed
        self.problem = self.closingSentence
        return [.finish]
    }

    private var closingSentence: String { "this node has closed its connection to Redis at \(self.place)" }

    private mutating func wake(after time: TimeAmount) -> Action {
        self.turn += 1
        return .wake(turn: self.turn, after: time)
    }

    private func shortened(_ nanoseconds: Int64, using generator: inout some RandomNumberGenerator) -> TimeAmount {
        .nanoseconds(Int64(Double(nanoseconds) * Double.random(in: 0.5...1, using: &generator)))
    }
}
