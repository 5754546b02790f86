/// Decides when a client opens, verifies, suspends and closes its sessions. A pure value:
/// ``ZooKeeperClient`` passes events in and executes the returned actions.
///
/// States and their exits are documented on ``ZooKeeperState/Phase``.
package struct ZooKeeperSessionMachine: Sendable {
    package enum Event: Hashable, Sendable {
        case started
        /// The generation could not create a handle: the servers' text is malformed or does not resolve.
        case openingFailed(generation: UInt64)
        case connected(generation: UInt64, session: Int64, timeout: Duration)
        case disconnected(generation: UInt64)
        /// Most of the servers have confirmed the request of ``Action/verify(generation:)``. The request was sent at the time `sentAt`, or later.
        case verified(generation: UInt64, sentAt: ContinuousClock.Instant)
        case expired(generation: UInt64)
        case authenticationFailed(generation: UInt64)
        /// Time has passed. Has no effect if no work is due.
        case ticked
        case closingRequested
        /// The handle has closed as requested.
        case handleClosed(generation: UInt64)
    }

    package enum Action: Hashable, Sendable {
        case open(generation: UInt64)
        case close(generation: UInt64)
        case report(ZooKeeperState)
        /// Send a request that the connected server cannot complete alone, then send ``Event/verified(generation:sentAt:)``.
        case verify(generation: UInt64)
        /// Send ``Event/ticked`` at this time.
        case wake(at: ContinuousClock.Instant)
        /// Read all watched paths again. The connection is back, and changes may have been missed meanwhile.
        case reread
        /// The machine has ended.
        case finish
    }

    package struct Settings: Hashable, Sendable {
        package var connectTimeout: Duration
        package var suspensionMax: Duration?
        /// See ``ZooKeeperConfiguration/isCautious``.
        package var isCautious = false
        package var backoffMin: Duration
        package var backoffMax: Duration
    }

    private enum Phase: Hashable, Sendable {
        case idle
        case connecting(until: ContinuousClock.Instant)
        case connected(Contact)
        /// Connected to a server that may not reach the others. Reported as `suspended`.
        case stranded(Contact)
        case suspended(until: ContinuousClock.Instant)
        case lost(until: ContinuousClock.Instant)
        case closing
        case closed
    }

    /// When a cautious client last had proof that the session is valid.
    ///
    /// A connection proves nothing. A follower that is cut off from the leader still replies to reads and heartbeats until `syncLimit` ticks are over.
    /// Meanwhile the leader may end the session. So the client sends a request that needs most of the servers, six times per session timeout.
    ///
    /// The limits follow from two facts. Every half tick a follower reports to the leader which sessions were active, and a session timeout is at least two
    /// ticks. So the leader's last report of this session is at most a quarter of the timeout older than the request. The leader ends the session at the
    /// earliest three quarters of the timeout after the request.
    private struct Contact: Hashable, Sendable {
        let session: Int64
        let timeout: Duration
        /// When the confirmed request was sent.
        var verifiedAt: ContinuousClock.Instant
        var nextAt: ContinuousClock.Instant

        init(session: Int64, timeout: Duration, at now: ContinuousClock.Instant) {
            self.session = session
            self.timeout = timeout
            self.verifiedAt = now
            self.nextAt = now + timeout / 6
        }

        var strandedAt: ContinuousClock.Instant { self.verifiedAt + self.timeout / 2 }
        var lostAt: ContinuousClock.Instant { self.verifiedAt + self.timeout * 3 / 4 }
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

    /// Until when the servers cannot have ended the session, if the client is cautious. Nil without a session.
    package var validUntil: ContinuousClock.Instant? {
        switch self.phase {
        case .connected(let contact), .stranded(let contact): contact.lostAt
        case .suspended(let until): until
        case .idle, .connecting, .lost, .closing, .closed: nil
        }
    }

    /// - Parameter generator: shortens the wait between two generations at random, so that not all nodes of a cluster reconnect together.
    package mutating func event(_ event: Event, at now: ContinuousClock.Instant, using generator: inout some RandomNumberGenerator) -> [Action] {
        switch event {
        case .started:
            guard case .idle = self.phase else { return [] }
            return self.open(at: now)
        case .openingFailed(let generation):
            return self.lose(generation, .unresolvable, at: now, using: &generator)
        case .connected(let generation, let session, let timeout):
            return self.connected(generation, session: session, timeout: timeout, at: now)
        case .verified(let generation, let sentAt):
            return self.verified(generation, sentAt: sentAt, at: now)
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

    private mutating func connected(
        _ generation: UInt64, session: Int64, timeout: Duration, at now: ContinuousClock.Instant
    ) -> [Action] {
        guard generation == self.generation else { return [] }
        // A server that accepts or resumes a session has confirmed it with the leader.
        let contact = Contact(session: session, timeout: timeout, at: now)
        let wakes: [Action] = self.settings.isCautious ? [.wake(at: contact.nextAt)] : []
        switch self.phase {
        case .connecting:
            self.failures = 0
            self.phase = .connected(contact)
            return [self.report(.connected(session: session, timeout: timeout))] + wakes
        case .suspended, .stranded:
            self.phase = .connected(contact)
            return [self.report(.connected(session: session, timeout: timeout)), .reread] + wakes
        case .connected, .idle, .lost, .closing, .closed:
            return []
        }
    }

    private mutating func disconnected(_ generation: UInt64, at now: ContinuousClock.Instant) -> [Action] {
        guard generation == self.generation else { return [] }
        switch self.phase {
        case .connected(let contact):
            let patience = self.settings.suspensionMax ?? (self.settings.isCautious ? contact.timeout / 3 : contact.timeout)
            let until = self.settings.isCautious ? min(now + patience, contact.lostAt) : now + patience
            self.phase = .suspended(until: until)
            return [self.report(.suspended), .wake(at: max(until, now + .milliseconds(1)))]
        case .stranded(let contact):
            self.phase = .suspended(until: contact.lostAt)
            return [.wake(at: max(contact.lostAt, now + .milliseconds(1)))]
        case .idle, .connecting, .suspended, .lost, .closing, .closed:
            return []
        }
    }

    private mutating func ticked(at now: ContinuousClock.Instant, using generator: inout some RandomNumberGenerator) -> [Action] {
        switch self.phase {
        case .connecting(let until) where until <= now:
            return self.lose(self.generation, .unreachable, at: now, using: &generator)
        case .suspended(let until) where until <= now:
            return self.lose(self.generation, .givenUp, at: now, using: &generator)
        case .stranded(let contact) where contact.lostAt <= now:
            return self.lose(self.generation, .givenUp, at: now, using: &generator)
        case .lost(let until) where until <= now:
            return self.open(at: now)
        case .connected(var contact) where self.settings.isCautious:
            var actions = self.verify(&contact, at: now)
            self.phase = .connected(contact)
            guard contact.strandedAt <= now else { return actions }
            self.phase = .stranded(contact)
            actions.append(self.report(.suspended))
            // Both limits can pass together while the process is paused, because it cannot verify the session then.
            if contact.lostAt <= now { return actions + self.lose(self.generation, .givenUp, at: now, using: &generator) }
            return actions + [.wake(at: contact.lostAt)]
        case .stranded(var contact):
            let actions = self.verify(&contact, at: now)
            self.phase = .stranded(contact)
            return actions
        case .connecting, .suspended, .lost, .idle, .connected, .closing, .closed:
            return []
        }
    }

    /// Requests a verification when it is due. Only a due verification schedules the next one, so that other wake-ups do not cause additional verifications.
    private func verify(_ contact: inout Contact, at now: ContinuousClock.Instant) -> [Action] {
        guard contact.nextAt <= now else { return [] }
        contact.nextAt = now + contact.timeout / 6
        let isSooner = now < contact.strandedAt && contact.strandedAt < contact.nextAt
        return [.verify(generation: self.generation), .wake(at: contact.nextAt)] + (isSooner ? [.wake(at: contact.strandedAt)] : [])
    }

    private mutating func verified(_ generation: UInt64, sentAt: ContinuousClock.Instant, at now: ContinuousClock.Instant) -> [Action] {
        guard generation == self.generation else { return [] }
        switch self.phase {
        case .connected(var contact):
            contact.verifiedAt = max(contact.verifiedAt, sentAt)
            self.phase = .connected(contact)
            return []
        case .stranded(var contact):
            contact.verifiedAt = max(contact.verifiedAt, sentAt)
            self.phase = .stranded(contact)
            // A confirmation that took this long does not prove that the session is valid now. The next confirmation may prove it.
            guard now < contact.strandedAt else { return [.wake(at: max(contact.lostAt, now + .milliseconds(1)))] }
            self.phase = .connected(contact)
            return [self.report(.connected(session: contact.session, timeout: contact.timeout)), .reread]
        case .idle, .connecting, .suspended, .lost, .closing, .closed:
            return []
        }
    }

    private mutating func lose(
        _ generation: UInt64, _ loss: ZooKeeperState.Loss, at now: ContinuousClock.Instant, using generator: inout some RandomNumberGenerator
    ) -> [Action] {
        guard generation == self.generation else { return [] }
        switch self.phase {
        case .connecting, .connected, .stranded, .suspended:
            let until = now + self.backoff(using: &generator)
            self.phase = .lost(until: until)
            return [self.report(.lost(loss)), .close(generation: generation), .wake(at: until)]
        case .idle, .lost, .closing, .closed:
            return []
        }
    }

    private mutating func backoff(using generator: inout some RandomNumberGenerator) -> Duration {
        // The limit of 30 doublings avoids an overflow. Thirty doublings of a millisecond are twelve days, which is longer than any wait.
        let wait = min(self.settings.backoffMax, self.settings.backoffMin * (1 << min(self.failures, 30)))
        self.failures += 1
        return wait * Double.random(in: 0.5...1, using: &generator)
    }

    private mutating func close() -> [Action] {
        switch self.phase {
        case .connecting, .connected, .stranded, .suspended:
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
