/// What a client knows of its session, as it reports it.
package struct ZooKeeperState: Hashable, Sendable {
    /// Counts the sessions of one client, from 1. Never reused: what names an older generation is out of date.
    package var generation: UInt64
    package var phase: Phase

    package enum Phase: Hashable, Sendable {
        /// A handle looks for a server.
        /// Can transition to:
        ///   - `connected` when a server grants a session,
        ///   - `lost` when none does in time,
        ///   - `closing` when asked to.
        case connecting
        /// The session lives, as far as a server said. `timeout` is what that server granted.
        /// Can transition to:
        ///   - `suspended` when the connection breaks or is silent for 2/3 of the timeout, or when the server is cut off from the others (a cautious client),
        ///   - `lost` when a server refuses the credentials,
        ///   - `closing` when asked to.
        case connected(session: Int64, timeout: Duration)
        /// The connection is gone and the session may be too. Operations are not sent.
        /// Can transition to:
        ///   - `connected` when a server still has the session,
        ///   - `lost` when a server has expired it, or none was reached in time,
        ///   - `closing` when asked to.
        case suspended
        /// The session is over, with all that it held. Also the end of a generation that never had one.
        /// Can transition to:
        ///   - `connecting`, of the next generation,
        ///   - `closed` when asked to.
        case lost(Loss)
        /// The session is being ended.
        /// Can transition to:
        ///   - `closed` when the servers have been told, or could not be.
        case closing
        /// The last state. If a server was reached, the ephemeral nodes are gone.
        case closed
    }

    package enum Loss: Hashable, Sendable {
        /// A server said so.
        case expired
        /// Suspended for too long: the session may live on the servers for a while.
        case givenUp
        /// No server was reached in ``ZooKeeperConfiguration/connectTimeout``.
        case unreachable
        /// No handle could be made: the servers' text is malformed, a name in it does not resolve, or the system has no thread for it.
        case unresolvable
        /// The server refused the authentication itself. A wrong password is not noticed here but as ``ZooKeeperFailure/Refusal/notAuthorized``.
        case unauthenticated
    }

    package init(generation: UInt64, phase: Phase) {
        self.generation = generation
        self.phase = phase
    }
}
