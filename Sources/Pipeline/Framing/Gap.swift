/// A notice that events are missing. Events are never skipped silently.
package struct Gap: Equatable, Sendable {
    package enum Reason: String, CaseIterable, Sendable {
        /// History no longer holds them.
        case expired
        /// The connection was too slow for too long.
        case overflow
        /// The channel's continuity was lost, or the cursor is not from this history.
        case reset
    }

    /// The first missing position. Never after ``to``.
    package let from: Position
    /// The last missing position. The next delivered event follows it.
    package let to: Position
    package let reason: Reason

    package init(from: Position, to: Position, reason: Reason) {
        // A cursor of a longer former history, or of a later epoch, is after everything in this history.
        self.from = min(from, to)
        self.to = to
        self.reason = reason
    }
}
