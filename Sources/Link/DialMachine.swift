/// The outgoing side of one peer: when to dial, and what to say of it. Pure: ``Links`` executes its actions.
///
/// An attempt has a number, so that what a connection says after another has taken its place is nobody's.
struct DialMachine: Sendable {
    enum State: Hashable, Sendable {
        /// This node does not know yet who it is.
        /// Can transition to: dialling, ended.
        case idle
        /// Can transition to: dialling (as somebody else), handshaking, waiting, ended.
        case dialling
        /// Connected, and neither side trusts the other yet.
        /// Can transition to: dialling (as somebody else), up, waiting, ended.
        case handshaking
        /// Can transition to: dialling (as somebody else), waiting, ended.
        case up(since: Int)
        /// Can transition to: dialling, ended.
        case waiting(LinkLoss)
        /// The peer is not wanted any more.
        case ended
    }

    enum Action: Hashable, Sendable {
        /// Dial, as this attempt.
        case dial(Int)
        /// Let go of the connection of the attempt.
        case drop(Int)
        /// Come back with ``DialMachine/elapsed(_:)`` after so many milliseconds.
        case wait(Int, milliseconds: Int)
        case up
        /// - Parameter isNews: false when the attempt before failed as well.
        case down(LinkLoss, isNews: Bool)
        /// The loss is another one than was last logged.
        case log(LinkLoss)
    }

    private(set) var state = State.idle
    /// The attempt that counts.
    private(set) var attempt: Int
    private(set) var lastLoss: LinkLoss?
    private var failures = 0
    private var logged: LinkLoss?
    private let limits: LinkLimits

    /// - Parameter attempt: attempts count from here, so that those of an earlier machine for the same id are not taken for this one's.
    init(limits: LinkLimits, attempt: Int = 0) {
        self.limits = limits
        self.attempt = attempt
    }

    var isUp: Bool { if case .up = self.state { true } else { false } }

    /// This node knows who it is, or is somebody else from now on: whatever was begun as another is begun anew.
    mutating func renew() -> [Action] {
        let begun: [Action]
        switch self.state {
        case .ended: return []
        case .idle, .waiting: begun = []
        case .dialling, .handshaking: begun = [.drop(self.attempt)]
        case .up:
            self.lastLoss = .closed
            begun = [.drop(self.attempt), .down(.closed, isNews: true)]
        }
        self.failures = 0
        return begun + self.dial()
    }

    /// The waiting of that attempt is over.
    mutating func elapsed(_ attempt: Int) -> [Action] {
        guard case .waiting = self.state, attempt == self.attempt else { return [] }
        return self.dial()
    }

    /// False when that attempt does not count any more: close what was connected.
    mutating func connected(_ attempt: Int) -> Bool {
        guard self.state == .dialling, attempt == self.attempt else { return false }
        self.state = .handshaking
        return true
    }

    mutating func rose(_ attempt: Int, now: Int) -> [Action] {
        guard self.state == .handshaking, attempt == self.attempt else { return [.drop(attempt)] }
        self.state = .up(since: now)
        self.lastLoss = nil
        self.logged = nil
        return [.up]
    }

    /// The connection of that attempt is gone, or could not be made.
    mutating func fell(_ attempt: Int, _ loss: LinkLoss, now: Int, using generator: inout some RandomNumberGenerator) -> [Action] {
        guard attempt == self.attempt else { return [] }
        let isNews: Bool
        switch self.state {
        case .idle, .waiting, .ended: return []
        case .dialling, .handshaking: isNews = self.lastLoss == nil
        case .up(let since):
            isNews = true
            // One that comes up and falls at once has not recovered.
            if now - since >= self.limits.backoffMillisecondsMax { self.failures = 0 }
        }
        self.state = .waiting(loss)
        self.lastLoss = loss
        var actions: [Action] = [.down(loss, isNews: isNews)]
        if self.logged != loss {
            self.logged = loss
            actions.append(.log(loss))
        }
        let ceiling = max(1, min(self.limits.backoffMillisecondsMax, self.limits.backoffMillisecondsMin << min(self.failures, 16)))
        self.failures += 1
        return actions + [.wait(self.attempt, milliseconds: ceiling - Int.random(in: 0...(ceiling / 2), using: &generator))]
    }

    /// Nobody wants this peer any more.
    mutating func end() -> [Action] {
        defer { self.state = .ended }
        switch self.state {
        case .idle, .waiting, .ended: return []
        case .dialling, .handshaking: return [.drop(self.attempt)]
        case .up: return [.drop(self.attempt), .down(.closed, isNews: true)]
        }
    }

    private mutating func dial() -> [Action] {
        self.attempt += 1
        self.state = .dialling
        return [.dial(self.attempt)]
    }
}
