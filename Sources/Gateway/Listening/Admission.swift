import NIOConcurrencyHelpers

/// Counts the connections of one port against its limit. All loops share this object. Its lock is taken only when a connection opens or closes.
final class Admission: Sendable {
    enum Verdict {
        case admitted
        /// The port is over its limit. The client gets a refusal and is disconnected.
        case refused
        /// No descriptor is left for a refusal. The socket is closed immediately.
        case dropped
    }

    struct Counts: Sendable {
        /// Open sockets.
        var open = 0
        /// Sockets closed without a response since the start.
        var dropped: UInt64 = 0
    }

    let connectionsMax: Int
    private let refusalsMax: Int
    private let state = NIOLockedValueBox(Counts())

    init(connectionsMax: Int, refusalsMax: Int) {
        self.connectionsMax = connectionsMax
        self.refusalsMax = refusalsMax
    }

    /// Counts an accepted socket. Unless the verdict is ``Verdict/dropped``, call ``leave()`` once when the socket is closed.
    func enter() -> Verdict {
        self.state.withLockedValue { counts in
            guard counts.open < self.connectionsMax + self.refusalsMax else {
                counts.dropped += 1
                return .dropped
            }
            counts.open += 1
            return counts.open <= self.connectionsMax ? .admitted : .refused
        }
    }

    func leave() { self.state.withLockedValue { $0.open -= 1 } }

    var counts: Counts { self.state.withLockedValue { $0 } }
}
