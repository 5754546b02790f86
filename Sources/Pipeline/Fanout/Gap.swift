/// A notice that events are missing: never silence.
package struct Gap: Equatable, Sendable {
    package enum Reason: String, CaseIterable, Sendable {
        /// History no longer holds them.
        case expired
        /// The connection was too slow for too long.
        case overflow
        /// The channel's continuity was lost, or the cursor is not of this history.
        case reset
    }

    /// The first missing position.
    package var from: Position
    /// The last missing position; what is delivered next follows it.
    package var to: Position
    package var reason: Reason

    package init(from: Position, to: Position, reason: Reason) {
        self.from = from
        self.to = to
        self.reason = reason
    }
}
