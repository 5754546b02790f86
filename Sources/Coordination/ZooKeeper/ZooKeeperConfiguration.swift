/// The servers' addresses, and how long a session lives without them.
package struct ZooKeeperConfiguration: Sendable {
    /// `host:port`, separated by commas, an IPv6 address without brackets. Names are resolved when a generation starts and not again during it.
    package var servers: String
    /// The requested timeout. The server clamps it to 2...20 of its ticks. With three servers, two silent ones in a row take 4/3 of it,
    /// so use six seconds or more.
    package var sessionTimeout: Duration = .seconds(6)
    /// How long a generation may wait for its first connection before the next one starts and resolves the names again.
    package var connectTimeout: Duration = .seconds(15)
    /// How long a session may be suspended before it is given up, in which case its ephemeral znodes may remain on the servers for one more
    /// timeout. Nil means the negotiated session timeout. On live servers the session has expired by then: the client needs up to 2/3 of a
    /// timeout to notice a silent server, and the servers count from before that.
    package var suspensionMax: Duration?
    /// If true and ``suspensionMax`` is nil, the limit is a third of the negotiated timeout. A silent server is noticed after two thirds, so the session is given
    /// up before the servers can have ended it. The client also verifies that a connected server reaches the others: see ``ZooKeeperSessionMachine``.
    package var isCautious = false
    /// Nil leaves all znodes open to every client.
    package var credentials: ZooKeeperCredentials?
    /// The wait between generations: it doubles from the first to the second value, minus a random part of up to a half, and starts again after a connection.
    package var backoffMin: Duration = .milliseconds(100)
    package var backoffMax: Duration = .seconds(10)

    package init(servers: String) {
        self.servers = servers
    }
}

/// A user and a password for the servers' `digest` scheme. With them, every created znode belongs to its creator only.
///
/// Neither its description nor a dump shows the password, so it may be part of a logged configuration.
package struct ZooKeeperCredentials: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var user: String
    package var password: String

    /// - Parameter user: must not contain a colon, which ends it on the wire.
    package init(user: String, password: String) {
        self.user = user
        self.password = password
    }

    package var description: String { "\(self.user):<hidden>" }
    package var debugDescription: String { self.description }
    package var customMirror: Mirror { Mirror(self, children: ["user": self.user]) }
}
