import Partitioning

/// One loop's state of one channel: its head, its newest events, its subscriptions. Confined to the fanout's loop.
final class Feed {
    let channel: ChannelName
    let channelHash: UInt32
    /// The owner has reported the head. Until then subscriptions wait.
    var isOpen = false
    /// The newest owner epoch that was seen. Events under an older one are refused.
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

    // MARK: what was reported to the owner
    var subscribersToReport = 0
    var isReported = true
    /// The owner was requested to open it.
    var isOpenRequested = false
    /// The second, on the loop's clock, since when it has no subscribers.
    var emptySince: Int?
    /// True while it is in the list of feeds to close. It is listed once, even if subscribers come and leave repeatedly.
    var isLeaving = false

    init(channel: ChannelName) {
        self.channel = channel
        self.channelHash = UInt32(truncatingIfNeeded: channel.hash64)
    }

    /// Adds it at the end. During a pass the round gets one longer, because the new one would otherwise use the visit of another that waits for its event.
    func add(_ subscription: Subscription) {
        subscription.slot = self.subscriptions.count
        self.subscriptions.append(subscription)
        if self.passRemaining > 0 { self.passRemaining += 1 }
    }

    /// Moves the last one into the free place. During a pass the round starts again, because the moved one could otherwise be skipped.
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

    /// Moves the last one into the free place. Needs no search: after a restart thousands wait for one read, and may leave meanwhile.
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
