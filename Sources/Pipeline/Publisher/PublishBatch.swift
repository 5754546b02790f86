/// Events that one loop passes to a sequencer together: batches cross loops, never single events.
package struct PublishBatch: Sendable {
    /// The origin's number for this batch.
    package var id: UInt64
    /// The whole batch, or the part of it that goes into one commit. A part keeps the indices of the whole batch.
    package private(set) var events: ArraySlice<Event>
    package var origin: any PublishOrigin

    package init(id: UInt64, events: [Event], origin: any PublishOrigin) {
        self.id = id
        self.events = events[...]
        self.origin = origin
    }

    /// Removes the first events and returns them. The events themselves are not copied.
    package mutating func removePart(_ count: Int) -> PublishBatch {
        var part = self
        part.events = self.events.prefix(count)
        self.events = self.events.dropFirst(count)
        return part
    }
}

/// Receives the outcomes of a batch.
package protocol PublishOrigin: AnyObject, Sendable {
    /// A sequencer calls this on its loop: once for the whole batch, or once for each part, in any order. `index` is the index of the part's first event.
    nonisolated func published(_ outcomes: [PublishOutcome], batch: UInt64, from index: Int)

    /// The same for events that do not follow each other: `indices` has the index of each outcome's event.
    nonisolated func published(_ outcomes: [PublishOutcome], batch: UInt64, at indices: [Int])

    /// True if an outcome may be lost on its way to the publisher.
    nonisolated var mayLoseOutcomes: Bool { get }
}

extension PublishOrigin {
    package nonisolated var mayLoseOutcomes: Bool { false }

    package nonisolated func published(_ outcomes: [PublishOutcome], batch: UInt64, at indices: [Int]) {
        for (index, outcome) in zip(indices, outcomes) { self.published([outcome], batch: batch, from: index) }
    }
}

/// The outcome of one publish.
package enum PublishOutcome: Equatable, Sendable {
    /// Committed. `subscribers` counts this node's subscribers at that moment.
    case published(Position, subscribers: Int)
    /// An event with this message id is already at this position of the channel.
    case duplicate(Position, subscribers: Int)
    /// Not committed, or it is unknown whether it is: the refusal's sentence says which.
    case refused(PublishRefusal)
}

/// The reason why an event was not committed. In all cases a retry with the same message id is safe.
package enum PublishRefusal: Equatable, Sendable {
    /// The log cannot be written at present.
    case logUnavailable(String)
    /// Too many publishes are parked.
    case overloaded
    /// The limit of remembered channels is reached.
    case tooManyChannels
    /// The node is stopping.
    case stopping
    /// This node does not own the channel's partition, or no longer does.
    case moved
    /// No node that this node can reach owns the channel's partition, for longer than publishes wait.
    case ownerUnreachable

    /// True if a later publish to the same partition may succeed although nothing else has changed. A node that has refused an event for such a reason also refuses
    /// the publishes that were sent behind it by a node that did not know of the refusal.
    package var isTransient: Bool {
        switch self {
        case .logUnavailable, .overloaded: true
        case .tooManyChannels, .stopping, .moved, .ownerUnreachable: false
        }
    }
}
