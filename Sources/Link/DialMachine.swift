/// The outgoing link to one peer. Decides when to dial, and which events to report. Pure: ``Links`` executes its actions.
///
/// Each attempt has a number. Events of a connection that was replaced by a newer attempt are ignored.
struct DialMachine: Sendable {
    enum State: Hashable, Sendable {
        /// This node has no identity yet.
        /// Can transition to: dialling, ended.
        case idle
        /// Can transition to: dialling (if this node gets a new identity), handshaking, waiting, ended.
        case dialling
        /// Connected, but not authenticated yet.
        /// Can transition to: dialling (if this node gets a new identity), up, waiting, ended.
        case handshaking
        /// Can transition to: dialling (if this node gets a new identity), waiting, ended.
        case up(since: Int)
        /// Can transition to: dialling, ended.
        case waiting(LinkLoss)
        /// The peer was removed.
        case ended
    }

    enum Action: Hashable, Sendable {
        /// Dial, with this attempt number.
        case dial(Int)
        /// Close the connection of the attempt.
        case drop(Int)
        /// Call ``DialMachine/elapsed(_:)`` after this time.
        case wait(Int, milliseconds: Int)
        case up
        /// - Parameter isNew: false if the previous attempt failed too.
        case down(LinkLoss, isNew: Bool)
        /// The loss differs from the loss that was logged last.
        case log(LinkLoss)
    }

    private(set) var state = State.idle
    /// The current attempt.
    private(set) var attempt: Int
    private(set) var lastLoss: LinkLoss?
    private var failures = 0
    private var logged: LinkLoss?
    private let limits: LinkLimits

    /// - Parameter attempt: attempt numbers begin after this number. Each machine gets its own range of numbers, so that no two attempts of this process have the
    ///   same number.
    init(limits: LinkLimits, attempt: Int = 0) {
        self.limits = limits
        self.attempt = attempt
    }

    var isUp: Bool { if case .up = self.state { true } else { false } }

    /// Called when this node gets its first identity or a new one. The connection under the former identity is dropped, and the peer is dialled again.
    mutating func renew() -> [Action] {
        let begun: [Action]
        switch self.state {
        case .ended: return []
        case .idle, .waiting: begun = []
        case .dialling, .handshaking: begun = [.drop(self.attempt)]
        case .up:
            self.lastLoss = .closed
            begun = [.drop(self.attempt), .down(.closed, isNew: true)]
        }
        self.failures = 0
        return begun + self.dial()
    }

    /// The wait after that attempt is over.
    mutating func elapsed(_ attempt: Int) -> [Action] {
        guard case .waiting = self.state, attempt == self.attempt else { return [] }
        return self.dial()
    }

    /// Returns false if that attempt is no longer the current one. Then the caller must close the connection.
    mutating func connected(_ attempt: Int) -> Bool {
        guard self.state == .dialling, attempt == self.attempt else { return false }
        self.state = .handshaking
        return true
    }

    mutating func didOpen(_ attempt: Int, now: Int) -> [Action] {
        guard self.state == .handshaking, attempt == self.attempt else { return [.drop(attempt)] }
        self.state = .up(since: now)
        self.lastLoss = nil
        self.logged = nil
        return [.up]
    }

    /// The connection of that attempt has ended, or could not be opened.
    mutating func didClose(_ attempt: Int, _ loss: LinkLoss, now: Int, using generator: inout some RandomNumberGenerator) -> [Action] {
        guard attempt == self.attempt else { return [] }
        let isNew: Bool
        switch self.state {
        case .idle, .waiting, .ended: return []
        case .dialling, .handshaking: isNew = self.lastLoss == nil
        case .up(let since):
            isNew = true
            // A connection that closes soon after it opened does not reset the delay before the next attempt.
            if now - since >= self.limits.backoffMillisecondsMax { self.failures = 0 }
        }
        self.state = .waiting(loss)
        self.lastLoss = loss
        var actions: [Action] = [.down(loss, isNew: isNew)]
        if self.logged != loss {
            self.logged = loss
            actions.append(.log(loss))
        }
        let ceiling = max(1, min(self.limits.backoffMillisecondsMax, self.limits.backoffMillisecondsMin << min(self.failures, 16)))
        self.failures += 1
        return actions + [.wait(self.attempt, milliseconds: ceiling - Int.random(in: 0...(ceiling / 2), using: &generator))]
    }

    /// The peer was removed.
    mutating func end() -> [Action] {
        defer { self.state = .ended }
        switch self.state {
        case .idle, .waiting, .ended: return []
        case .dialling, .handshaking: return [.drop(self.attempt)]
        case .up: return [.drop(self.attempt), .down(.closed, isNew: true)]
        }
    }

    private mutating func dial() -> [Action] {
        self.attempt += 1
        self.state = .dialling
        return [.dial(self.attempt)]
    }
}
