package import Partitioning

/// Receives committed events from sequencers: a loop's fanout, or another node.
///
/// Called on the sequencer's loop. Messages of one sequencer are handled in the order of the calls.
package protocol Edge: Sendable {
    nonisolated func relay(_ messages: [EdgeMessage])
}

/// Identifies an edge.
package enum EdgeID: Hashable, Sendable {
    /// A loop of this node, by its number.
    case loop(Int)
    /// Another node's process.
    case node(ProcessID)
}

package enum EdgeMessage: Sendable {
    /// The channel's committed head, sent when the edge has opened the channel. All later commits follow. Sent again under each new owner epoch.
    case opened(ChannelName, head: Position, ownerEpoch: OwnerEpoch)
    /// Committed events of channels that the edge is interested in, in commit order.
    case events(RelayedEvents)
}

/// The events of one commit that one edge is interested in.
package struct RelayedEvents: Sendable {
    package private(set) var events: [SequencedEvent] = []
    /// The owner epoch of all events, unless ``ownerEpochs`` has one for each.
    private var ownerEpoch: OwnerEpoch = 0
    /// The owner epoch of each event; empty while all are equal, as they are at a node without a cluster.
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

/// A change of an edge's interest in a channel, or of the number of its subscribers there.
package struct InterestChange: Sendable, Equatable {
    package var channel: ChannelName
    /// The change of the number of subscribers since the last report.
    package var subscribers: Int
    package var wanted: Wanted

    package enum Wanted: Sendable, Equatable {
        /// Send the head, then relay commits.
        case open
        /// No change.
        case unchanged
        /// Stop relaying.
        case close
    }

    package init(channel: ChannelName, subscribers: Int, wanted: Wanted) {
        self.channel = channel
        self.subscribers = subscribers
        self.wanted = wanted
    }
}
