/// One subscriber's place in one channel: a cursor, not a queue. Confined to the fanout's loop.
final class Subscription {
    enum State {
        /// The channel's head is not known yet, or how far back its history reaches; or another channel of the subscriber's is not ready.
        /// Can transition to: following, replaying.
        case opening
        /// Its next event is in the feed's buffer or has not happened.
        /// Can transition to: replaying (the buffer moved past it), blocked.
        case following
        /// Its next event must be read from the log.
        /// Can transition to: following (it reached the buffer), blocked.
        case replaying
        /// Its socket takes no more. It lags where it is.
        /// Can transition to: following or replaying, when the socket drains.
        case blocked
    }

    let feed: Feed
    unowned let subscriber: Subscriber
    let start: SubscribeStart
    /// Where it is in the feed's array of subscriptions; the feed keeps this true.
    var slot = -1
    /// Where it is among those of the feed that wait for a read; the feed keeps this true.
    var waitingSlot = -1
    /// The last event it was given, or the place before its first.
    var position: Position
    var state = State.opening
    /// It was up to date once, so that what it misses now is its own slowness.
    var wasCurrent = false
    /// Its cursor does not belong to the channel's present epoch: a reset must be told first.
    var needsReset = false

    init(feed: Feed, subscriber: Subscriber, start: SubscribeStart) {
        self.feed = feed
        self.subscriber = subscriber
        self.start = start
        self.position = feed.buffer.head
    }

    /// Decides where to start, now that the head is known.
    func resolve(head: Position) {
        switch self.start {
        case .live:
            self.position = head
        case .backlog(let count):
            self.position = Position(epoch: head.epoch, offset: head.offset - min(UInt64(count), head.offset))
        case .after(let position):
            self.position = position
            self.checkReset(head: head)
        }
        self.wasCurrent = self.position == head
    }

    /// A backlog asks for "up to N". How many history still has must be known before its opening cursor is: one that names what has expired would have its
    /// holder told of a gap when he comes back.
    var needsHistory: Bool {
        guard case .backlog = self.start else { return false }
        return self.position < self.feed.buffer.head && self.position.offset + 1 < self.feed.buffer.first
    }

    /// A backlog begins at the oldest event there is.
    func resolve(head: Position, oldest: UInt64) {
        self.resolve(head: head)
        self.position.offset = max(self.position.offset, min(oldest - 1, head.offset))
        self.wasCurrent = self.position == head
    }

    /// Finds out whether the position belongs to the channel's present epoch. One before any event continues in every epoch without events.
    func checkReset(head: Position) {
        if self.position.offset == 0, head.offset == 0 { self.position = head }
        self.needsReset = self.position.epoch != head.epoch || self.position.offset > head.offset
    }
}

/// Where a subscription starts.
package enum SubscribeStart: Equatable, Sendable {
    /// At the next event.
    case live
    /// With up to this many events of history.
    case backlog(Int)
    /// After this position, exactly.
    case after(Position)
}
