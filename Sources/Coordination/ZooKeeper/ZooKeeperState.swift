/// The state of a client's session, as the client reports it.
package struct ZooKeeperState: Hashable, Sendable {
    /// The number of the session, counted from 1 for each client. A number is never reused, so every event with an older generation is outdated.
    package var generation: UInt64
    package var phase: Phase

    package enum Phase: Hashable, Sendable {
        /// A handle looks for a server.
        /// Can transition to:
        ///   - `connected` when a server grants a session,
        ///   - `lost` when no server grants a session in time,
        ///   - `closing` on request.
        case connecting
        /// A server has confirmed that the session is valid. `timeout` is the granted timeout.
        /// Can transition to:
        ///   - `suspended` when the connection breaks or is silent for 2/3 of the timeout, or when the server is cut off from the others (a cautious client),
        ///   - `lost` when a server refuses the credentials,
        ///   - `closing` on request.
        case connected(session: Int64, timeout: Duration)
        /// The connection is lost, and the session may have ended too. Operations are not sent.
        /// Can transition to:
        ///   - `connected` when a server still has the session,
        ///   - `lost` when a server has ended the session, or when no server was reached in time,
        ///   - `closing` on request.
        case suspended
        /// The generation is over: its session has ended, was given up, or never began.
        /// Can transition to:
        ///   - `connecting`, of the next generation,
        ///   - `closed` on request.
        case lost(Loss)
        /// The session is being ended.
        /// Can transition to:
        ///   - `closed` when the servers have confirmed the end, or cannot be reached.
        case closing
        /// The last state. If a server was reached, the ephemeral znodes are deleted.
        case closed
    }

    package enum Loss: Hashable, Sendable {
        /// A server reported that the session has ended.
        case expired
        /// The session was suspended for too long. The servers may keep it for a while.
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
    /// The name of the state, for people and reports.
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
