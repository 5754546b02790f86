/// Where a sequencer sends what it committed: a loop's fanout.
///
/// Calls arrive on the sequencer's loop; messages of one sequencer are handled in the order of the calls.
package protocol Edge: Sendable {
    nonisolated func relay(_ messages: [EdgeMessage])
}

package enum EdgeMessage: Sendable {
    /// The answer to an interest: the channel's committed head. Every later commit follows.
    case opened(ChannelName, head: Position)
    /// Committed events of channels that the edge is interested in, in commit order.
    case events([SequencedEvent])
}

/// A change of what an edge wants to hear of, and of how many subscribers it has.
package struct InterestChange: Sendable, Equatable {
    package var channel: ChannelName
    /// Subscribers more (or fewer) than at the last change.
    package var subscribers: Int
    package var wanted: Wanted

    package enum Wanted: Sendable, Equatable {
        /// Begin to relay, and answer the head.
        case open
        /// Go on as it is.
        case unchanged
        /// Relay no more.
        case close
    }

    package init(channel: ChannelName, subscribers: Int, wanted: Wanted) {
        self.channel = channel
        self.subscribers = subscribers
        self.wanted = wanted
    }
}

/// What a fanout and a publisher need of the owner of channels: on this node its sequencer.
package protocol ChannelOwner: Sendable {
    /// Registers interest. Answered through the edge's ``Edge/relay(_:)``.
    nonisolated func interest(_ changes: [InterestChange], edge: Int)

    /// History after a position, for subscribers that catch up.
    nonisolated func history(of channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice

    /// Returns when all that was committed before the call is on its way to every edge.
    nonisolated func relayed() async

    /// Takes a batch to sequence. Answered through the origin.
    nonisolated func publish(_ batch: PublishBatch)
}
