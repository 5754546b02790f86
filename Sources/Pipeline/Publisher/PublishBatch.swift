/// Events that one loop hands to a sequencer at once: what crosses loops crosses as a batch.
package struct PublishBatch: Sendable {
    /// The origin's own number for it.
    package var id: UInt64
    /// All of the batch or, with the indices that they have in it, the part of it that goes into one commit.
    package private(set) var events: ArraySlice<Event>
    package var origin: any PublishOrigin

    package init(id: UInt64, events: [Event], origin: any PublishOrigin) {
        self.id = id
        self.events = events[...]
        self.origin = origin
    }

    /// Cuts the first events off. The events themselves are not copied.
    mutating func removePart(_ count: Int) -> PublishBatch {
        var part = self
        part.events = self.events.prefix(count)
        self.events = self.events.dropFirst(count)
        return part
    }
}

/// Who gets a batch's outcomes.
package protocol PublishOrigin: Sendable {
    /// Called on the sequencer's loop: for the whole batch at once, or for each of its parts, in any order, with the index of the part's first event.
    nonisolated func published(_ outcomes: [PublishOutcome], batch: UInt64, from index: Int)
}

/// What became of one event.
package enum PublishOutcome: Equatable, Sendable {
    /// Committed. `subscribers` counts this node's at that moment.
    case published(Position, subscribers: Int)
    /// The channel has seen this message id: it is at this position already.
    case duplicate(Position, subscribers: Int)
    /// Not committed.
    case refused(PublishRefusal)
}

/// Why an event was not committed. All of them are safe to repeat with the same message id.
package enum PublishRefusal: Equatable, Sendable {
    /// The log cannot be written now.
    case logUnavailable(String)
    /// Too many publishes wait.
    case overloaded
    /// Too many channels are remembered.
    case tooManyChannels
    /// The node stops.
    case stopping
    /// This node does not own the channel's partition, or not any more.
    case moved
}
