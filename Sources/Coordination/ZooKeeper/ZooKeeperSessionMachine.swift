/// Decides what becomes of a client's sessions. Pure: ``ZooKeeperClient`` tells it what happened and does what it answers.
///
/// States and their exits are documented on ``ZooKeeperState/Phase``.
package struct ZooKeeperSessionMachine: Sendable {
    package enum Event: Hashable, Sendable {
        case started
        /// The generation has no handle: the servers' text is malformed or does not resolve.
        case openingFailed(generation: UInt64)
        case connected(generation: UInt64, session: Int64, timeout: Duration)
        case disconnected(generation: UInt64)
        case expired(generation: UInt64)
        case authenticationFailed(generation: UInt64)
        /// Time has passed. Harmless when nothing is due.
        case ticked
        case closingRequested
        /// The handle that was asked to close is gone.
        case handleClosed(generation: UInt64)
    }

    package enum Action: Hashable, Sendable {
        case open(generation: UInt64)
        case close(generation: UInt64)
        case report(ZooKeeperState)
        /// Send ``Event/ticked`` then.
        case wake(at: ContinuousClock.Instant)
        /// A connection has come back: what changed meanwhile may have gone unseen.
        case reread
        /// Nothing will happen any more.
        case finish
    }

    package struct Settings: Hashable, Sendable {
        package var connectTimeout: Duration
        package var suspensionMax: Duration?
        package var isCautious = false
        package var backoffMin: Duration
        package var backoffMax: Duration
    }

    private enum Phase: Hashable, Sendable {
        case idle
        case connecting(until: ContinuousClock.Instant)
        case connected(timeout: Duration)
        case suspended(timeout: Duration, until: ContinuousClock.Instant)
        case lost(until: ContinuousClock.Instant)
        case closing
        case closed
    }

    private let settings: Settings
    private var phase = Phase.idle
    private var failures = 0
    package private(set) var generation: UInt64 = 0

    package init(settings: Settings) {
        self.settings = settings
    }

    package var isConnected: Bool {
        if case .connected = self.phase { true } else { false }
    }

    /// - Parameter generator: shortens the wait between two generations, so that a cluster does not come back in step.
    package mutating func event(_ event: Event, at now: ContinuousClock.Instant, using generator: inout some RandomNumberGenerator) -> [Action] {
        switch event {
        case .started:
            guard case .idle = self.phase else { return [] }
            return self.open(at: now)
        case .openingFailed(let generation):
            return self.lose(generation, .unresolvable, at: now, using: &generator)
        case .connected(let generation, let session, let timeout):
            return self.connected(generation, session: session, timeout: timeout)
        case .disconnected(let generation):
            return self.disconnected(generation, at: now)
        case .expired(let generation):
            return self.lose(generation, .expired, at: now, using: &generator)
        case .authenticationFailed(let generation):
            return self.lose(generation, .unauthenticated, at: now, using: &generator)
        case .ticked:
            return self.ticked(at: now, using: &generator)
        case .closingRequested:
            return self.close()
        case .handleClosed(let generation):
            guard case .closing = self.phase, generation == self.generation else { return [] }
            self.phase = .closed
            return [self.report(.closed), .finish]
        }
    }

    private mutating func open(at now: ContinuousClock.Instant) -> [Action] {
        self.generation += 1
        let until = now + self.settings.connectTimeout
        self.phase = .connecting(until: until)
        return [self.report(.connecting), .open(generation: self.generation), .wake(at: until)]
    }

    private mutating func connected(_ generation: UInt64, session: Int64, timeout: Duration) -> [Action] {
        guard generation == self.generation else { return [] }
        switch self.phase {
        case .connecting:
            self.failures = 0
            self.phase = .connected(timeout: timeout)
            return [self.report(.connected(session: session, timeout: timeout))]
        case .suspended:
            self.phase = .connected(timeout: timeout)
            return [self.report(.connected(session: session, timeout: timeout)), .reread]
        case .connected, .idle, .lost, .closing, .closed:
            return []
        }
    }

    private mutating func disconnected(_ generation: UInt64, at now: ContinuousClock.Instant) -> [Action] {
        guard generation == self.generation, case .connected(let timeout) = self.phase else { return [] }
        let until = now + (self.settings.suspensionMax ?? (self.settings.isCautious ? timeout / 3 : timeout))
        self.phase = .suspended(timeout: timeout, until: until)
        return [self.report(.suspended), .wake(at: until)]
    }

    private mutating func ticked(at now: ContinuousClock.Instant, using generator: inout some RandomNumberGenerator) -> [Action] {
        switch self.phase {
        case .connecting(let until) where until <= now:
            return self.lose(self.generation, .unreachable, at: now, using: &generator)
        case .suspended(_, let until) where until <= now:
            return self.lose(self.generation, .givenUp, at: now, using: &generator)
        case .lost(let until) where until <= now:
            return self.open(at: now)
        case .connecting, .suspended, .lost, .idle, .connected, .closing, .closed:
            return []
        }
    }

    private mutating func lose(
        _ generation: UInt64, _ loss: ZooKeeperState.Loss, at now: ContinuousClock.Instant, using generator: inout some RandomNumberGenerator
    ) -> [Action] {
        guard generation == self.generation else { return [] }
        switch self.phase {
        case .connecting, .connected, .suspended:
            let until = now + self.backoff(using: &generator)
            self.phase = .lost(until: until)
            return [self.report(.lost(loss)), .close(generation: generation), .wake(at: until)]
        case .idle, .lost, .closing, .closed:
            return []
        }
    }

    private mutating func backoff(using generator: inout some RandomNumberGenerator) -> Duration {
        // Thirty doublings of a millisecond are twelve days: beyond the largest wait, before the largest number.
        let wait = min(self.settings.backoffMax, self.settings.backoffMin * (1 << min(self.failures, 30)))
        self.failures += 1
        return wait * Double.random(in: 0.5...1, using: &generator)
    }

    private mutating func close() -> [Action] {
        switch self.phase {
        case .connecting, .connected, .suspended:
            self.phase = .closing
            return [self.report(.closing), .close(generation: self.generation)]
        case .idle, .lost:
            self.phase = .closed
            return [self.report(.closed), .finish]
        case .closing, .closed:
            return []
        }
    }

    private func report(_ phase: ZooKeeperState.Phase) -> Action {
        .report(ZooKeeperState(generation: self.generation, phase: phase))
    }
}
