/// The owner of channels, as fanouts and publishers call it. On this node a sequencer implements this protocol.
package protocol ChannelOwner: Sendable {
    /// Starts or ends the relay of channels' events to an edge. The owner replies through the edge's ``Edge/relay(_:)``.
    nonisolated func interest(_ changes: [InterestChange], edge: EdgeID)

    /// History after a position, for subscribers that catch up.
    nonisolated func history(of channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice

    /// Returns when every event of the channel that was committed before the call has been relayed to all edges, or the edges have got a head that is not before
    /// it. Throws if the owner cannot be asked.
    nonisolated func barrier(_ channel: ChannelName) async throws(LogError)

    /// Accepts a batch to sequence. The outcomes go to the batch's origin.
    nonisolated func publish(_ batch: PublishBatch)
}
