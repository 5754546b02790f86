package import Partitioning

/// The status of one link, for operators.
package struct LinkStatus: Hashable, Sendable {
    package var peer: ProcessID
    package var direction: LinkDirection
    /// The peer's address, for an outgoing link.
    package var address: String?
    package var isUp: Bool
    /// How long it has been up, or down.
    package var milliseconds: Int
    /// Why it is down, or why it was down before.
    package var loss: LinkLoss?
    /// Of the last heartbeat with a reply.
    package var roundTripMicroseconds: Int?
    /// Bytes that wait for the peer's socket.
    package var queuedBytes = 0
    /// Messages that were not sent, because there was no link or no space.
    package var droppedMessages: UInt64 = 0
    package var protocolVersion: Int?
}
