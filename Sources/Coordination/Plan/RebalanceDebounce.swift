/// Waits for more joins, so that a scale-out needs one plan and not one for each node.
///
/// A rebalance starts 3 s after the last join, and at most 15 s after the first.
package struct RebalanceDebounce: Hashable, Sendable {
    package static let quiet: Duration = .seconds(3)
    package static let longest: Duration = .seconds(15)

    private let quiet: Duration
    private let longest: Duration
    private var first: ContinuousClock.Instant?
    private var last: ContinuousClock.Instant?

    package init(quiet: Duration = RebalanceDebounce.quiet, longest: Duration = RebalanceDebounce.longest) {
        self.quiet = quiet
        self.longest = longest
    }

    package mutating func joined(at now: ContinuousClock.Instant) {
        if self.isSettled(at: now) { self.first = now }
        self.last = now
    }

    /// When balancing may start. Nil if no node ever joined.
    package var due: ContinuousClock.Instant? {
        guard let first = self.first, let last = self.last else { return nil }
        return min(last.advanced(by: self.quiet), first.advanced(by: self.longest))
    }

    /// Whether balancing may start now.
    package func isSettled(at now: ContinuousClock.Instant) -> Bool { self.due.map { now >= $0 } ?? true }
}
