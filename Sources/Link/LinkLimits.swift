/// The limits of all links. `Node` sets them from the limits that operators set; this module does not know those.
package struct LinkLimits: Sendable, Equatable {
    /// One message. A longer one is not sent; a peer that sends one is disconnected.
    package var frameBytesMax = 16 * 1024 * 1024
    /// Bytes that wait for one peer's socket. Above it messages are dropped; the coordinator sends them again. Must be at least `frameBytesMax`.
    package var bufferedBytesMax = 32 * 1024 * 1024
    /// Received bytes that the reader has not read yet, of all peers together. Above this limit, no connection is read until the unread bytes are down to half.
    package var unreadBytesMax = 64 * 1024 * 1024
    /// Between two heartbeats, on each connection and in both directions.
    package var heartbeatMilliseconds = 1000
    /// A link is down after this time without a byte.
    package var silenceMilliseconds = 4000
    /// A link is down after this time in which the peer accepted none of the waiting bytes.
    package var stallMilliseconds = 10_000
    /// Time from dialling or accepting to being authenticated.
    package var handshakeMilliseconds = 3000
    /// Accepted connections that are not authenticated yet. Above it new ones are closed immediately.
    package var unauthenticatedMax = 64
    /// The same for one address, so that one machine cannot block all others.
    package var unauthenticatedPerAddressMax = 16
    /// All accepted connections. Above it new ones are closed immediately.
    package var incomingMax = 1024
    /// Delay between two attempts to dial. Doubles with each consecutive failure; a random part, up to a half of it, is subtracted.
    package var backoffMillisecondsMin = 100
    package var backoffMillisecondsMax = 5000
    /// How long a connection stays open after its end was announced, so that the peer can read the reason.
    package var farewellMilliseconds = 1000

    package init() {}
}
