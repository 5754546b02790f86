/// What a fanout and a publisher need from the owner of channels. On this node it is a sequencer.
package protocol ChannelOwner: Sendable {
    /// Registers interest. Answered through the edge's ``Edge/relay(_:)``.
    nonisolated func interest(_ changes: [InterestChange], edge: EdgeID)

    /// History after a position, for subscribers that catch up.
    nonisolated func history(of channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice

    /// Returns when every event of the channel that was committed before the call is on its way to every edge.
    nonisolated func barrier(_ channel: ChannelName) async

    /// Takes a batch to sequence. Answered through the origin.
    nonisolated func publish(_ batch: PublishBatch)
}
