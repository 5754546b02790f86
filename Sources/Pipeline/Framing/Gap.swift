package import SubscriberAPI

/// A notice that events are missing. Events are never skipped silently.
package struct Gap: Equatable, Sendable {
    /// The first missing position. Never after ``to``.
    package let from: Position
    /// The last missing position. The next delivered event follows it.
    package let to: Position
    package let reason: GapReason

    package init(from: Position, to: Position, reason: GapReason) {
        // The cursor may come from a later epoch, or from a history that was longer. Then its position is after all
        // positions of this history.
        self.from = min(from, to)
        self.to = to
        self.reason = reason
    }
}
