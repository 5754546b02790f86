/// Why a subscriber gets a gap notice instead of events.
package enum GapReason: String, CaseIterable, Sendable {
    /// History no longer holds the events.
    case expired
    /// The subscriber was too slow for too long.
    case overflow
    /// The channel's history was lost, or the cursor is from another history.
    case reset
}
