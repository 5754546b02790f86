/// One link as an operator sees it.
package struct LinkStatus: Hashable, Sendable {
    package var id: String
    package var incarnation: Int64
    package var direction: LinkDirection
    /// The peer's, for an outgoing link.
    package var address: String?
    package var isUp: Bool
    /// How long it has been up, or has not been.
    package var milliseconds: Int
    /// Why it is down, or was before it came up.
    package var loss: LinkLoss?
    /// Of the last heartbeat that was answered.
    package var roundTripMicroseconds: Int?
    /// What waits for the peer's socket.
    package var queuedBytes = 0
    /// Messages that were not sent, for want of a link or of room.
    package var droppedMessages: UInt64 = 0
    package var protocolVersion: Int?
}
