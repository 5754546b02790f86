import NIOConcurrencyHelpers

/// The state of the process, and the time of its start. Any thread may use it. The path of an event never takes its lock.
final class NodeLife: Sendable {
    enum State: String {
        /// Can transition to: ready, stopping.
        case starting
        /// Can transition to: stopping.
        case ready
        case stopping
    }

    /// The wall clock at the start, in milliseconds since 1970.
    let startedAt: Int64
    private let began = ContinuousClock.now
    private let box = NIOLockedValueBox(State.starting)

    init(startedAt: Int64) { self.startedAt = startedAt }

    var state: State {
        get { self.box.withLockedValue { $0 } }
        set { self.box.withLockedValue { $0 = newValue } }
    }

    /// The time since the start, by a monotonic clock.
    var uptime: Duration { ContinuousClock.now - self.began }
}
