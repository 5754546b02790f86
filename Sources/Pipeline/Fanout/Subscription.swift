/// One subscriber's position in one channel: a cursor, not a queue. Confined to the fanout's loop.
final class Subscription {
    enum State {
        /// The channel's head or the start of its history is not known yet, or another channel of the subscriber is not ready.
        /// Can transition to: following, replaying.
        case opening
        /// The subscription's next event is in the feed's buffer, or has not been published yet.
        /// Can transition to: replaying (the buffer has dropped the next event), blocked.
        case following
        /// The subscription's next event must be read from the log.
        /// Can transition to: following (the next event is in the buffer), blocked.
        case replaying
        /// The subscriber's socket accepts no more bytes. The subscription lags.
        /// Can transition to: following or replaying, when the socket drains.
        case blocked
    }

    let feed: Feed
    unowned let subscriber: Subscriber
    let start: SubscribeStart
    /// The subscription's index in the feed's array of subscriptions. The feed keeps it up to date.
    var slot = -1
    /// The subscription's index in the feed's list of subscriptions that wait for a read. -1 if it does not wait. The feed keeps it up to date.
    var waitingSlot = -1
    /// The position of the last delivered event, or the position before the first event.
    var position: Position
    var state = State.opening
    /// True if the subscription has reached the head before. If such a subscription misses events, the reason is that it is slow.
    var wasCurrent = false
    /// True if the position does not belong to the channel's current epoch. Then a reset must be reported first.
    var needsReset = false

    init(feed: Feed, subscriber: Subscriber, start: SubscribeStart) {
        self.feed = feed
        self.subscriber = subscriber
        self.start = start
        self.position = feed.buffer.head
    }

    /// Decides where to start. The head is known now.
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

    /// True if the start depends on the log. `.bN` means *up to* N events. So the opening cursor depends on the events that the history still has. An opening
    /// cursor before expired events would cause a gap when the subscriber resumes.
    var needsHistory: Bool {
        guard case .backlog = self.start else { return false }
        return self.position < self.feed.buffer.head && self.position.offset + 1 < self.feed.buffer.first
    }

    /// Decides where a backlog starts: not before the oldest existing event.
    func resolve(head: Position, oldest: UInt64) {
        self.resolve(head: head)
        self.position.offset = max(self.position.offset, min(oldest - 1, head.offset))
        self.wasCurrent = self.position == head
    }

    /// Checks whether the position belongs to the channel's current epoch. Also before the first event: the former epoch may have had events that are lost.
    func checkReset(head: Position) {
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
