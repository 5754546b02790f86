/// The limits of all links. `Node` computes them from the configuration, which this module does not import.
package struct LinkLimits: Sendable, Equatable {
    /// The size of one message. A longer message is not sent. A peer that sends a longer message is disconnected.
    package var frameBytesMax = 16 * 1024 * 1024
    /// Bytes that wait for one peer's socket. Above this limit messages are dropped, and the coordinator sends them again. Must be at least `frameBytesMax`.
    package var bufferedBytesMax = 32 * 1024 * 1024
    /// Received bytes of all peers that the reader has not read yet. Above this limit, no connection is read until the unread bytes are down to half.
    package var unreadBytesMax = 64 * 1024 * 1024
    /// The time between two heartbeats. Both sides send heartbeats on each connection.
    package var heartbeatMilliseconds = 1000
    /// A link is down after this time without a received byte.
    package var silenceMilliseconds = 2000
    /// A link is down if the peer has accepted none of the waiting bytes for this time.
    package var stallMilliseconds = 10_000
    /// The longest time from dialling or accepting a connection until the peer is authenticated.
    package var handshakeMilliseconds = 3000
    /// Accepted connections that are not authenticated yet. Above this limit, new connections are closed immediately.
    package var unauthenticatedMax = 64
    /// The same limit for each address, so that one machine cannot block all others.
    package var unauthenticatedPerAddressMax = 16
    /// All accepted connections: two from each of 1,000 nodes, and some that have not authenticated yet. Above this limit, new connections are closed immediately.
    package var incomingMax = 2032
    /// The delay between two attempts to dial. It doubles with each consecutive failure. A random part, up to half of the delay, is subtracted.
    package var backoffMillisecondsMin = 100
    package var backoffMillisecondsMax = 5000
    /// How long a connection stays open after its end was announced, so that the peer can read the reason.
    package var farewellMilliseconds = 1000

    package init() {}
}
