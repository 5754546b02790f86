/// A client's knowledge about its session, as it reports it.
package struct ZooKeeperState: Hashable, Sendable {
    /// Counts the sessions of one client, from 1. Never reused: anything with an older generation is out of date.
    package var generation: UInt64
    package var phase: Phase

    package enum Phase: Hashable, Sendable {
        /// A handle looks for a server.
        /// Can transition to:
        ///   - `connected` when a server grants a session,
        ///   - `lost` when no server does in time,
        ///   - `closing` on request.
        case connecting
        /// The session lives, according to a server. `timeout` is the granted timeout.
        /// Can transition to:
        ///   - `suspended` when the connection breaks or is silent for 2/3 of the timeout, or when the server is cut off from the others (a cautious client),
        ///   - `lost` when a server refuses the credentials,
        ///   - `closing` on request.
        case connected(session: Int64, timeout: Duration)
        /// The connection is lost, and perhaps the session. Operations are not sent.
        /// Can transition to:
        ///   - `connected` when a server still has the session,
        ///   - `lost` when a server has expired it, or no server was reached in time,
        ///   - `closing` on request.
        case suspended
        /// The session has ended, with its ephemeral znodes. Also the end of a generation that never had a session.
        /// Can transition to:
        ///   - `connecting`, of the next generation,
        ///   - `closed` on request.
        case lost(Loss)
        /// The session is being ended.
        /// Can transition to:
        ///   - `closed` when the servers have confirmed it, or cannot be reached.
        case closing
        /// The last state. If a server was reached, the ephemeral znodes are deleted.
        case closed
    }

    package enum Loss: Hashable, Sendable {
        /// A server reported it.
        case expired
        /// Suspended for too long: the session may live on the servers for a while.
        case givenUp
        /// No server was reached in ``ZooKeeperConfiguration/connectTimeout``.
        case unreachable
        /// No handle could be created: the servers' text is malformed, a name in it does not resolve, or the system has no thread for it.
        case unresolvable
        /// The server refused the authentication itself. A wrong password is not reported here, but as ``ZooKeeperFailure/Refusal/notAuthorized``.
        case unauthenticated

        /// For people, as the end of a sentence.
        var sentence: String {
            switch self {
            case .expired: "the servers have ended it"
            case .givenUp: "this node gave up the session, because no server responded for too long"
            case .unreachable: "no server could be reached"
            case .unresolvable: "the servers' names could not be resolved"
            case .unauthenticated: "the servers refused the authentication"
            }
        }
    }

    package init(generation: UInt64, phase: Phase) {
        self.generation = generation
        self.phase = phase
    }
}

extension ZooKeeperState.Phase {
    /// For people and reports.
    var name: String {
        switch self {
        case .connecting: "connecting"
        case .connected: "connected"
        case .suspended: "suspended"
        case .lost: "lost"
        case .closing: "closing"
        case .closed: "closed"
        }
    }
}
