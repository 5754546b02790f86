package import Partitioning

/// Receives committed events from sequencers: a loop's fanout, or another node.
///
/// A sequencer calls `relay` on its own loop. The edge handles the messages of one sequencer in the order of the calls.
package protocol Edge: Sendable {
    nonisolated func relay(_ messages: [EdgeMessage])

    /// The sequencer has begun to acquire partitions, or has ended grants: from now on it refuses publishes under them. An edge that is added gets all grants
    /// that are held. A grant is acquired before it ends, and a sequencer never acquires an ended grant again.
    nonisolated func ownershipChanged(acquired: [Grant], ended: [Grant])
}

extension Edge {
    package nonisolated func ownershipChanged(acquired: [Grant], ended: [Grant]) {}
}

/// Identifies an edge.
package enum EdgeID: Hashable, Sendable {
    /// A loop of this node, by its number.
    case loop(Int)
    /// The data connection of another node, by the number of its session. A node that connects again is another edge.
    case session(UInt64)
    /// The relay in front of the sequencer. It follows the ownership of partitions, and gets no events.
    case relay
}

package enum EdgeMessage: Sendable {
    /// The channel's committed head. The sequencer sends it when the edge has opened the channel, and again under each new owner epoch. All later commits
    /// follow.
    case opened(ChannelName, head: Position, ownerEpoch: OwnerEpoch)
    /// Committed events of channels that the edge is interested in, in commit order.
    case events(RelayedEvents)
}

/// The events of one commit that one edge is interested in.
package struct RelayedEvents: Sendable {
    package private(set) var events: [SequencedEvent] = []
    /// The owner epoch of all events, unless ``ownerEpochs`` has one for each event.
    private var ownerEpoch: OwnerEpoch = 0
    /// The owner epoch of each event. Empty while all owner epochs are equal, which is always true at a node without a cluster.
    private var ownerEpochs: [OwnerEpoch] = []

    package init() {}

    package init(_ events: [SequencedEvent], under ownerEpoch: OwnerEpoch) {
        self.events = events
        self.ownerEpoch = ownerEpoch
    }

    package var isEmpty: Bool { self.events.isEmpty }

    /// The owner epoch of one event. An edge refuses the event if it has already seen a newer owner epoch of the same channel.
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

/// A change of an edge's interest in a channel, or of the number of the edge's subscribers to the channel.
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
