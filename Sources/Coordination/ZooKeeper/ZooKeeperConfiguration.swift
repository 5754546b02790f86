/// Where the servers are and how long a session lives without them.
package struct ZooKeeperConfiguration: Sendable {
    /// `host:port`, separated by commas, an IPv6 address without brackets. Names are resolved when a generation starts and not again during it.
    package var servers: String
    /// What the session asks for; the server clamps it to 2...20 of its ticks. With three servers, two silent ones in a row cost 4/3 of it,
    /// so six seconds and more are wise.
    package var sessionTimeout: Duration = .seconds(6)
    /// How long a generation may be without its first connection before another one starts, with the names resolved anew.
    package var connectTimeout: Duration = .seconds(15)
    /// How long a session may be suspended before it is given up, in which case its ephemeral nodes may outlive it on the servers for one more
    /// timeout. Nil is the negotiated session timeout: on servers that live, the session is then over, since the client needs up to 2/3 of a
    /// timeout to notice a silent server and the servers counted from before that.
    package var suspensionMax: Duration?
    /// With ``suspensionMax`` nil, a third of the negotiated timeout instead: a silent server is noticed after two thirds, so that the session is given up
    /// before the servers can have ended it. And a server that is connected is asked for proof that it reaches the others: see ``ZooKeeperSessionMachine``.
    package var isCautious = false
    /// Nil leaves all nodes open to the world.
    package var credentials: ZooKeeperCredentials?
    /// The wait between generations: it doubles from the first to the last, minus up to a half by chance, and starts over after a connection.
    package var backoffMin: Duration = .milliseconds(100)
    package var backoffMax: Duration = .seconds(10)

    package init(servers: String) {
        self.servers = servers
    }
}

/// A user and a password for the servers' `digest` scheme. With them, every node that is created belongs to its creator alone.
///
/// Neither its description nor a dump shows the password, so that it may travel in a logged configuration.
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
