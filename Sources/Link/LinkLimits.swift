/// The bounds of all links.
package struct LinkLimits: Sendable, Equatable {
    /// One message. A longer one is not sent; who sends one is disconnected.
    package var frameBytesMax = 16 * 1024 * 1024
    /// What waits for one peer's socket. Over it messages are dropped; who sent them asks again. No less than one frame.
    package var bufferedBytesMax = 32 * 1024 * 1024
    /// What was received and not read yet, of all peers together. Over it their connections are not read until half of it is.
    package var unreadBytesMax = 64 * 1024 * 1024
    /// Between two heartbeats, on each connection and in both directions.
    package var heartbeatMilliseconds = 1000
    /// Without a byte for so long a link is down.
    package var silenceMilliseconds = 4000
    /// How long a peer may take none of the bytes that wait for it.
    package var stallMilliseconds = 10_000
    /// From dialling or accepting to being trusted.
    package var handshakeMilliseconds = 3000
    /// Accepted connections that have not proved who they are. Over it new ones are closed at once.
    package var strangersMax = 64
    /// Of one address, so that one machine cannot keep all others out.
    package var strangersOfAddressMax = 16
    /// All accepted connections. Over it new ones are closed at once.
    package var incomingMax = 1024
    /// Between two attempts to dial. Doubles with each failure in a row, less up to a half at random.
    package var backoffMillisecondsMin = 100
    package var backoffMillisecondsMax = 5000
    /// How long a connection that was told why it ends may stay to read that.
    package var farewellMilliseconds = 1000

    package init() {}
}
