/// The servers' addresses, and how long a session survives without a connection.
package struct ZooKeeperConfiguration: Sendable {
    /// The addresses as `host:port`, separated by commas. IPv6 addresses have no brackets. Names are resolved only when a generation starts.
    package var servers: String
    /// The requested session timeout. The server limits it to a range from 2 to 20 of its ticks. If the client tries two silent servers of three first, that
    /// takes 4/3 of the timeout, so use six seconds or more.
    package var sessionTimeout: Duration = .seconds(6)
    /// How long a generation may wait for its first connection. After that the next generation starts, and resolves the names again.
    package var connectTimeout: Duration = .seconds(15)
    /// How long a session may be suspended before the client gives it up. Its ephemeral znodes may then remain on the servers for one more timeout. Nil means
    /// the negotiated session timeout. Servers that are alive end the session before the client gives it up: their timeout begins at the last message,
    /// and the client notices a silent server only up to 2/3 of a timeout later.
    package var suspensionMax: Duration?
    /// If true and ``suspensionMax`` is nil, the limit is a third of the negotiated timeout. The client notices a silent server after two thirds, so it gives
    /// up the session before the servers can end it. The client also verifies that a connected server reaches the other servers: see
    /// ``ZooKeeperSessionMachine``.
    package var isCautious = false
    /// The credentials for the servers. If nil, all clients have access to all znodes.
    package var credentials: ZooKeeperCredentials?
    /// The wait between generations doubles from ``backoffMin`` to ``backoffMax``. A random part of up to a half is subtracted. After a connection, the wait
    /// begins with ``backoffMin`` again.
    package var backoffMin: Duration = .milliseconds(100)
    package var backoffMax: Duration = .seconds(10)

    package init(servers: String) {
        self.servers = servers
    }
}

/// A user and a password for the servers' `digest` scheme. With credentials, only this user has access to the znodes that it creates.
///
/// Neither its description nor a dump shows the password, so it may be part of a logged configuration.
package struct ZooKeeperCredentials: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var user: String
    package var password: String

    /// - Parameter user: must not contain a colon, because a colon ends the user on the wire.
    package init(user: String, password: String) {
        self.user = user
        self.password = password
    }

    package var description: String { "\(self.user):<hidden>" }
    package var debugDescription: String { self.description }
    package var customMirror: Mirror { Mirror(self, children: ["user": self.user]) }
}
