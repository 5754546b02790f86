package import Partitioning

/// The status of one link, for operators.
package struct LinkStatus: Hashable, Sendable {
    package var peer: ProcessID
    package var direction: LinkDirection
    /// The peer's address, for an outgoing link.
    package var address: String?
    package var isUp: Bool
    /// Whether the data connection of the same direction is up. Nil for a node without data connections.
    package var isDataUp: Bool?
    /// How long the link has been up or down.
    package var milliseconds: Int
    /// Why an outgoing link is down. Nil if it is up, or if no attempt has failed yet.
    package var loss: LinkLoss?
    /// The round trip of the last heartbeat that got a reply.
    package var roundTripMicroseconds: Int?
    /// Bytes that wait for the peer's socket.
    package var queuedBytes = 0
    /// Messages that were not sent, because the link was down, its buffer was full, or the message was too large.
    package var droppedMessages: UInt64 = 0
    package var protocolVersion: Int?
}
