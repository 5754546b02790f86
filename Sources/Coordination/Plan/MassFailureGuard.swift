/// Delays reassignment when many nodes vanish together. Then the fault is probably in the network and not in the nodes. If the few remaining nodes got all
/// partitions, they could fail too, and the partitions would move back a moment later.
///
/// Guarded mode begins when more than 40 % of the nodes, and at least 3, vanish within 10 s. It ends after `hold`, or when all vanished nodes own partitions
/// again. Another mass failure restarts the hold, but guarded mode never lasts longer than twice the hold. In guarded mode, a vanished node's partitions wait
/// for it: see `PreviousOwners`.
package struct MassFailureGuard: Hashable, Sendable {
    package static let window: Duration = .seconds(10)
    package static let hold: Duration = .seconds(15)
    package static let countMin = 3
    package static let percent = 40

    private let hold: Duration
    /// The nodes that vanished within the window, with the time, in order. Bounded by the number of nodes.
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

    /// Records that a node has vanished while `remaining` other nodes are members. Not called for nodes that were drained, that announced leaving, or that are
    /// members under a new incarnation, because these are not failures.
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

    /// A node is a member again, but may not own partitions yet. It no longer counts towards a mass failure. In guarded mode its partitions still wait for it.
    package mutating func rejoined(_ id: String, at now: ContinuousClock.Instant) {
        self.advance(to: now)
        self.losses.removeAll { $0.id == id }
    }

    /// A node is back and active, not only joining. Called when the view that returns its partitions is computed.
    /// The last vanished node that returns ends guarded mode.
    package mutating func returned(_ id: String, at now: ContinuousClock.Instant) {
        self.advance(to: now)
        self.losses.removeAll { $0.id == id }
        self.away.remove(id)
        if self.away.isEmpty { self.end() }
    }

    package func isGuarded(at now: ContinuousClock.Instant) -> Bool { self.until.map { now < $0 } ?? false }

    /// The nodes that vanished and have not returned, in order. Empty if guarded mode is off.
    package var vanished: [String] { self.away.sorted() }

    /// When guarded mode ends by itself. Nil if it is off.
    package var due: ContinuousClock.Instant? { self.until }

    private mutating func advance(to now: ContinuousClock.Instant) {
        if let until = self.until, now >= until { self.end() }
    }

    /// Ends guarded mode. Earlier losses no longer count, so that the same losses do not start guarded mode twice.
    private mutating func end() {
        guard self.until != nil else { return }
        self.until = nil
        self.entered = nil
        self.away = []
        self.losses = []
    }
}
