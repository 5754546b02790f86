import NIOCore
import Partitioning

extension Fanout {
    /// Attaches a subscriber. Its connection gets ``SubscriberConnection/subscriberOpened(cursor:)`` when the heads of all its channels are known, then events.
    package func subscribe(_ subscriber: Subscriber, to requests: [(channel: ChannelName, start: SubscribeStart)]) {
        self.loop.preconditionInEventLoop()
        self.metrics.subscribersOpened += 1
        self.metrics.subscriptionsOpened += UInt64(requests.count)
        subscriber.subscriptions.reserveCapacity(requests.count)
        for (channel, start) in requests {
            let feed = self.feeds[channel] ?? self.open(channel)
            let subscription = Subscription(feed: feed, subscriber: subscriber, start: start)
            subscriber.subscriptions.append(subscription)
            feed.add(subscription)
            self.countChanged(feed, by: 1)
            subscriber.pendingOpens += 1
            if feed.isOpen { self.resolve(subscription) }
        }
        if subscriber.pendingOpens == 0 { self.begin(subscriber) }
    }

    /// Returns true if this loop accepts a subscriber of these channels.
    package func hasRoom(for requests: [(channel: ChannelName, start: SubscribeStart)]) -> Bool {
        self.feeds.count + requests.count <= self.limits.subscribedChannelsMax || requests.allSatisfy { self.feeds[$0.channel] != nil }
    }

    /// Detaches a subscriber. Does nothing if it is already detached.
    package func unsubscribe(_ subscriber: Subscriber) {
        self.loop.preconditionInEventLoop()
        guard !subscriber.isClosed else { return }
        subscriber.isClosed = true
        self.metrics.subscribersClosed += 1
        self.metrics.subscriptionsClosed += UInt64(subscriber.subscriptions.count)
        for subscription in subscriber.subscriptions {
            subscription.feed.remove(subscription)
            self.countChanged(subscription.feed, by: -1)
        }
        // Releases the subscriptions, which retain their feeds, so that nothing outlives the connection.
        subscriber.subscriptions = []
    }

    // MARK: - Feeds

    private func open(_ channel: ChannelName) -> Feed {
        let feed = Feed(channel: channel)
        self.feeds[channel] = feed
        return feed
    }

    private func countChanged(_ feed: Feed, by delta: Int) {
        feed.subscribersToReport += delta
        if feed.subscriptions.isEmpty { self.feedEmptied(feed) } else { feed.emptySince = nil }
        guard feed.isReported else { return }
        feed.isReported = false
        self.unreported.append(feed)
        guard !self.isReportScheduled else { return }
        self.isReportScheduled = true
        // One report in each turn of the loop for all subscribers of that turn, because the owner may be on another thread.
        self.loop.assumeIsolated().execute { self.assumeIsolated { $0.report() } }
    }

    private func report() {
        self.isReportScheduled = false
        let changes = self.unreported.map { feed in
            defer {
                feed.isReported = true
                feed.subscribersToReport = 0
                feed.isOpenRequested = true
            }
            return InterestChange(channel: feed.channel, subscribers: feed.subscribersToReport, wanted: feed.isOpenRequested ? .unchanged : .open)
        }
        self.unreported.removeAll(keepingCapacity: true)
        self.router.interest(changes, edge: self.id)
    }

    /// Called when the owner has reported the head: waiting subscriptions can start. A new owner reports the head again.
    func opened(_ channel: ChannelName, head: Position, ownerEpoch: OwnerEpoch) {
        guard let feed = self.feeds[channel], ownerEpoch >= feed.ownerEpoch else { return }
        feed.ownerEpoch = ownerEpoch
        guard !feed.isOpen else { return self.reopened(feed, head: head) }
        feed.isOpen = true
        self.update(feed) { $0 = FeedBuffer(head: head) }
        for subscription in feed.subscriptions {
            self.resolve(subscription)
            if subscription.subscriber.pendingOpens == 0 { self.begin(subscription.subscriber) }
        }
    }

    /// Restarts an open feed at the head that its owner has reported again. Events that this loop has missed are read from the log.
    private func reopened(_ feed: Feed, head: Position) {
        guard head > feed.buffer.head else { return }
        self.update(feed) { $0.restart(at: head) }
        self.metrics.restarts += 1
        feed.passRemaining = feed.subscriptions.count
        self.enqueue(feed)
    }

    /// Determines where a subscription starts, now or after a read of the log.
    private func resolve(_ subscription: Subscription) {
        subscription.resolve(head: subscription.feed.buffer.head)
        if subscription.needsHistory { self.awaitHistory(subscription) } else { subscription.subscriber.pendingOpens -= 1 }
    }

    // MARK: - The start of a subscriber

    func begin(_ subscriber: Subscriber) {
        subscriber.isOpen = true
        subscriber.connection.subscriberOpened(cursor: subscriber.cursor)
        // Writing the opening may have closed the connection.
        for subscription in subscriber.subscriptions where !subscriber.isClosed {
            subscription.state = .following
            if subscription.needsReset { self.catchUp(subscription) } else { self.deliver(to: subscription) }
        }
        // Long-polls get their responses in the next pass over the subscribers, not here: a response starts the connection's next request, which may call this method again.
        self.requestPass()
    }
}
