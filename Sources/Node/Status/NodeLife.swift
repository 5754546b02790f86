import NIOConcurrencyHelpers

/// Where the process is in its life, and since when. Shared; the state is behind a lock that no event takes.
final class NodeLife: Sendable {
    enum State: String {
        /// Can transition to: ready, stopping.
        case starting
        /// Can transition to: stopping.
        case ready
        case stopping
    }

    /// By the wall clock, in milliseconds since 1970.
    let startedAt: Int64
    private let began = ContinuousClock.now
    private let box = NIOLockedValueBox(State.starting)

    init(startedAt: Int64) { self.startedAt = startedAt }

    var state: State {
        get { self.box.withLockedValue { $0 } }
        set { self.box.withLockedValue { $0 = newValue } }
    }

    /// Since the start, whatever happens to the wall clock.
    var uptime: Duration { ContinuousClock.now - self.began }
}
