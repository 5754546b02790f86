/// Holds reassignment back when many nodes vanish together: that is the network more likely than the nodes, and giving everything to the few survivors would
/// bring them down too, only to move it all back a moment later.
///
/// Enters guarded mode when more than 40 % of the nodes, and at least 3, vanish within 10 s. It ends after `hold`, or when all that vanished own again;
/// another such wave starts the hold again, but no guarded mode lasts longer than twice the hold. What each vanished node owned waits for it meanwhile:
/// see `PreviousOwners`.
package struct MassFailureGuard: Hashable, Sendable {
    package static let window: Duration = .seconds(10)
    package static let hold: Duration = .seconds(15)
    package static let countMin = 3
    package static let percent = 40

    private let hold: Duration
    /// Who vanished when, within the window, in order. Bounded by the number of nodes.
    private var losses: [Loss] = []
    private var entered: ContinuousClock.Instant?
    private var until: ContinuousClock.Instant?
    private var away: Set<String> = []

    private struct Loss: Hashable, Sendable {
        let id: String
        let at: ContinuousClock.Instant
    }

    package init(hold: Duration = MassFailureGuard.hold) {
        self.hold = hold
    }

    /// A node is gone: `remaining` others are still members. One that was drained or has said that it leaves is no failure, and neither is one that is a
    /// member under a new incarnation: neither is counted here.
    package mutating func vanished(_ id: String, remaining: Int, at now: ContinuousClock.Instant) {
        self.advance(to: now)
        self.losses.removeAll { $0.id == id || $0.at.advanced(by: MassFailureGuard.window) <= now }
        self.losses.append(Loss(id: id, at: now))
        if self.until != nil { self.away.insert(id) }
        let count = self.losses.count
        guard count >= MassFailureGuard.countMin, count * 100 > (count + max(0, remaining)) * MassFailureGuard.percent else { return }
        let entered = self.entered ?? now
        self.entered = entered
        self.until = min(now.advanced(by: self.hold), entered.advanced(by: self.hold * 2))
        self.away.formUnion(self.losses.map(\.id))
    }

    /// A node is a member again, though it may not own yet: it is no loss that could add up with others to a mass failure. While guarded, it is waited for.
    package mutating func rejoined(_ id: String, at now: ContinuousClock.Instant) {
        self.advance(to: now)
        self.losses.removeAll { $0.id == id }
    }

    /// A node is back and may own: active, not only joining. Call it when the view that gives its partitions back is written, as the last one ends guarded mode.
    package mutating func returned(_ id: String, at now: ContinuousClock.Instant) {
        self.advance(to: now)
        self.losses.removeAll { $0.id == id }
        self.away.remove(id)
        if self.away.isEmpty { self.end() }
    }

    package func isGuarded(at now: ContinuousClock.Instant) -> Bool { self.until.map { now < $0 } ?? false }

    /// Those that vanished and have not returned, in order. Empty when it is off.
    package var vanished: [String] { self.away.sorted() }

    /// When guarded mode ends by itself; nil when it is off.
    package var due: ContinuousClock.Instant? { self.until }

    private mutating func advance(to now: ContinuousClock.Instant) {
        if let until = self.until, now >= until { self.end() }
    }

    /// What vanished before counts no more, so that the same losses do not enter twice.
    private mutating func end() {
        guard self.until != nil else { return }
        self.until = nil
        self.entered = nil
        self.away = []
        self.losses = []
    }
}
