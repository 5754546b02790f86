/// Events that one loop hands to a sequencer at once: what crosses loops crosses as a batch.
package struct PublishBatch: Sendable {
    /// The origin's own number for it.
    package var id: UInt64
    package var events: [Event]
    package var origin: any PublishOrigin

    package init(id: UInt64, events: [Event], origin: any PublishOrigin) {
        self.id = id
        self.events = events
        self.origin = origin
    }
}

/// Who gets a batch's outcomes.
package protocol PublishOrigin: Sendable {
    /// Called on the sequencer's loop, once for each batch; outcomes are in the order of the batch's events.
    nonisolated func published(_ outcomes: [PublishOutcome], batch: UInt64)
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
}
