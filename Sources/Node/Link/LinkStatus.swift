/// One link as an operator sees it.
struct LinkStatus: Hashable, Sendable {
    var id: String
    var incarnation: Int64
    var direction: LinkDirection
    /// The peer's, for an outgoing link.
    var address: String?
    var isUp: Bool
    /// How long it has been up, or has not been.
    var milliseconds: Int
    /// Why it is down, or was before it came up.
    var loss: LinkLoss?
    /// Of the last heartbeat that was answered.
    var roundTripMicroseconds: Int?
    /// What waits for the peer's socket.
    var queuedBytes = 0
    /// Messages that were not sent, for want of a link or of room.
    var droppedMessages: UInt64 = 0
    var protocolVersion: Int?
}
