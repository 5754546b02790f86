package import Partitioning

/// Where a sequencer sends what it committed: a loop's fanout, or another node.
///
/// Calls arrive on the sequencer's loop; messages of one sequencer are handled in the order of the calls.
package protocol Edge: Sendable {
    nonisolated func relay(_ messages: [EdgeMessage])
}

/// Which edge it is.
package enum EdgeID: Hashable, Sendable {
    /// A loop of this node, by its number.
    case loop(Int)
    /// Another node's process.
    case node(ProcessID)
}

package enum EdgeMessage: Sendable {
    /// The answer to an interest: the channel's committed head. Every later commit follows. It comes again when the partition has a new owner epoch.
    case opened(ChannelName, head: Position, ownerEpoch: OwnerEpoch)
    /// Committed events of channels that the edge is interested in, in commit order.
    case events(RelayedEvents)
}

/// What one commit has for one edge.
package struct RelayedEvents: Sendable {
    package private(set) var events: [SequencedEvent] = []
    /// Of the first event, and of all, as long as they agree.
    private var ownerEpoch: OwnerEpoch = 0
    /// Of each event, when they differ. A node that is alone has one for all.
    private var ownerEpochs: [OwnerEpoch] = []

    package init() {}

    package init(_ events: [SequencedEvent], under ownerEpoch: OwnerEpoch) {
        self.events = events
        self.ownerEpoch = ownerEpoch
    }

    package var isEmpty: Bool { self.events.isEmpty }

    /// An edge refuses an event whose owner epoch is older than one that it has seen of the channel (invariant I5).
    package func ownerEpoch(of index: Int) -> OwnerEpoch { self.ownerEpochs.isEmpty ? self.ownerEpoch : self.ownerEpochs[index] }

    package mutating func append(_ event: SequencedEvent, under ownerEpoch: OwnerEpoch) {
        if self.events.isEmpty {
            self.ownerEpoch = ownerEpoch
        } else if !self.ownerEpochs.isEmpty {
            self.ownerEpochs.append(ownerEpoch)
        } else if ownerEpoch != self.ownerEpoch {
            self.ownerEpochs = Array(repeating: self.ownerEpoch, count: self.events.count) + [ownerEpoch]
        }
        self.events.append(event)
    }
}

/// A change of what an edge is interested in, and of how many subscribers it has.
package struct InterestChange: Sendable, Equatable {
    package var channel: ChannelName
    /// Subscribers more (or fewer) than at the last change.
    package var subscribers: Int
    package var wanted: Wanted

    package enum Wanted: Sendable, Equatable {
        /// Begin to relay, and answer with the head.
        case open
        /// Continue as before.
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
