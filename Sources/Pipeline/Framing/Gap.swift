package import SubscriberAPI

/// A notice that events are missing. Events are never skipped silently.
package struct Gap: Equatable, Sendable {
    /// The first missing position. Never after ``to``.
    package let from: Position
    /// The last missing position. The next delivered event follows it.
    package let to: Position
    package let reason: GapReason

    package init(from: Position, to: Position, reason: GapReason) {
        // A cursor of a longer former history, or of a later epoch, is after everything in this history.
        self.from = min(from, to)
        self.to = to
        self.reason = reason
    }
}
