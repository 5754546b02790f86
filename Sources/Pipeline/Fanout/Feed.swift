import Partitioning

/// One loop's state of one channel: its head, its newest events, its subscriptions. Confined to the fanout's loop.
final class Feed {
    let channel: ChannelName
    let channelHash: UInt32
    /// True after the owner has reported the head. Until then subscriptions wait.
    var isOpen = false
    /// The newest owner epoch that was seen. Events under an older owner epoch are refused.
    var ownerEpoch: OwnerEpoch = 0
    var buffer = FeedBuffer(head: Position(epoch: 0, offset: 0))
    private(set) var subscriptions: [Subscription] = []

    // MARK: a pass: visits every subscription behind the head once after the last change
    var passIndex = 0
    var passRemaining = 0
    var isQueued = false

    // MARK: catching up: one read of the log at a time serves all waiting subscriptions
    private(set) var replaying: [Subscription] = []
    var isReading = false

    // MARK: reports to the owner
    var subscribersToReport = 0
    var isReported = true
    /// True after the owner was requested to open the channel.
    var isOpenRequested = false
    /// The value of ``Fanout/second`` when the last subscriber left. Nil while the feed has subscribers.
    var emptySince: Int?
    /// True while the feed is in a list of feeds to close. The feed is listed once, even if subscribers join and leave repeatedly.
    var isLeaving = false

    init(channel: ChannelName) {
        self.channel = channel
        self.channelHash = UInt32(truncatingIfNeeded: channel.hash64)
    }

    /// Appends the subscription. If a pass over the subscriptions has begun, the number of subscriptions that the pass still visits grows by one. Otherwise the pass
    /// would end before it has visited all earlier subscriptions.
    func add(_ subscription: Subscription) {
        subscription.slot = self.subscriptions.count
        self.subscriptions.append(subscription)
        if self.passRemaining > 0 { self.passRemaining += 1 }
    }

    /// Moves the last subscription into the free slot. A running pass starts again, because it could otherwise skip the moved subscription.
    func remove(_ subscription: Subscription) {
        let slot = subscription.slot
        let last = self.subscriptions.removeLast()
        if last !== subscription {
            self.subscriptions[slot] = last
            last.slot = slot
        }
        subscription.slot = -1
        self.passRemaining = self.passRemaining > 0 ? self.subscriptions.count : 0
        self.stopWaiting(subscription)
    }

    // MARK: - Catching up

    func wait(_ subscription: Subscription) {
        subscription.waitingSlot = self.replaying.count
        self.replaying.append(subscription)
    }

    /// Returns all waiting subscriptions, and clears the list.
    func takeWaiting() -> [Subscription] {
        let waiting = self.replaying
        self.replaying = []
        for subscription in waiting { subscription.waitingSlot = -1 }
        return waiting
    }

    /// Moves the last subscription into the free slot. A search would be too slow: after a restart thousands of subscriptions may wait for one read, and may
    /// leave meanwhile.
    private func stopWaiting(_ subscription: Subscription) {
        let slot = subscription.waitingSlot
        guard slot >= 0 else { return }
        let last = self.replaying.removeLast()
        if last !== subscription {
            self.replaying[slot] = last
            last.waitingSlot = slot
        }
        subscription.waitingSlot = -1
    }
}
