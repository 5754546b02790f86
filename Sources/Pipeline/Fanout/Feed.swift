/// What one loop knows of one channel: its head, its newest events, its subscribers. Confined to the fanout's loop.
final class Feed {
    let channel: ChannelName
    let channelHash: UInt32
    /// The owner has told the head; until then subscriptions wait.
    var isOpen = false
    var buffer = FeedBuffer(head: Position(epoch: 0, offset: 0))
    private(set) var subscriptions: [Subscription] = []

    // MARK: a pass: everyone behind the head is visited once more after the last change
    var passIndex = 0
    var passRemaining = 0
    var isQueued = false

    // MARK: catching up: one read of the log at a time serves everyone who waits
    private(set) var replaying: [Subscription] = []
    var isReading = false

    // MARK: what the owner has been told
    var subscribersToReport = 0
    var isReported = true
    /// The owner was asked to open it.
    var isAsked = false
    /// Since when nobody subscribes, in seconds of the loop's clock.
    var emptySince: Int?
    /// It is among those that may be closed; once, however often subscribers come and leave.
    var isLeaving = false

    init(channel: ChannelName) {
        self.channel = channel
        self.channelHash = UInt32(truncatingIfNeeded: channel.hash64)
    }

    /// Behind the others. During a pass the round gets one longer: the new one would otherwise take the visit of one that waits for its event.
    func add(_ subscription: Subscription) {
        subscription.slot = self.subscriptions.count
        self.subscriptions.append(subscription)
        if self.passRemaining > 0 { self.passRemaining += 1 }
    }

    /// Swaps the last one into the gap. During a pass the round starts again: the moved one could otherwise be skipped.
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

    /// All who wait. They wait no more.
    func takeWaiting() -> [Subscription] {
        let waiting = self.replaying
        self.replaying = []
        for subscription in waiting { subscription.waitingSlot = -1 }
        return waiting
    }

    /// Swaps the last one into the gap. No search: after a restart thousands wait for one read, and may leave while they do.
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
