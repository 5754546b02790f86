import DequeModule
package import NIOCore
import Partitioning

/// Delivers to one event loop's subscribers.
///
/// The actor is pinned to that loop, so that connections call it without a thread hop. Commits arrive as batches through ``relay(_:)``. A subscriber is a
/// cursor: no events are queued for it. A pass writes all events between the cursor and the head in one write. Under overload a pass takes longer, and the next
/// pass delivers more events.
package actor Fanout: Edge {
    package nonisolated let unownedExecutor: UnownedSerialExecutor
    package nonisolated let loop: any EventLoop
    /// The id of this edge at the owners.
    package nonisolated let id: EdgeID

    let router: Router
    let limits: Limits
    /// The most bytes of one write. Two such writes fill a subscriber's buffer limit. The second write begins only if the socket still accepts bytes.
    let writeBytesMax: Int

    var feeds: [ChannelName: Feed] = [:]
    /// Feeds with subscribers behind the head. Each feed is listed once.
    var dirty: Deque<Feed> = []
    var isPassScheduled = false
    /// Feeds whose interest must be reported to the owner, once in each turn of the loop.
    var unreported: [Feed] = []
    var isReportScheduled = false
    /// Long-polls that have collected events and need their response.
    var pollsToRespond: [Subscriber] = []
    var feedBytes = 0
    /// The feed of every chunk, oldest first: the oldest chunk is dropped if all chunks together are too large.
    var chunkOrder: Deque<(feed: Feed, second: Int)> = []
    /// Feeds without subscribers, with the second in which the last subscriber left, oldest first. `lingering` feeds still hold events and are kept longer.
    var leaving: Deque<(feed: Feed, second: Int)> = []
    var lingering: Deque<(feed: Feed, second: Int)> = []
    var isTidyScheduled = false
    /// Seconds since the loop started, counted by ``tick()``.
    var second = 0
    var metrics = FanoutMetrics()

    package init(loop: any EventLoop, id: EdgeID, router: Router, limits: Limits) {
        self.loop = loop
        self.unownedExecutor = loop.executor.asUnownedSerialExecutor()
        self.id = id
        self.router = router
        self.limits = limits
        self.writeBytesMax = max(1024, limits.subscriberBufferedBytesMax / 2)
    }

    /// Runs `body` synchronously. The caller must be on the loop.
    package nonisolated func onLoop<Value: Sendable>(_ body: (isolated Fanout) throws -> Value) rethrows -> Value {
        try self.assumeIsolated(body)
    }

    /// The totals, and the current values of the gauges.
    package var currentMetrics: FanoutMetrics {
        var metrics = self.metrics
        metrics.feeds = self.feeds.count
        metrics.feedBytes = self.feedBytes
        return metrics
    }

    // MARK: - From the sequencer

    package nonisolated func relay(_ messages: [EdgeMessage]) {
        if self.loop.inEventLoop {
            self.assumeIsolated { $0.receive(messages) }
        } else {
            self.loop.execute { self.assumeIsolated { $0.receive(messages) } }
        }
    }

    private func receive(_ messages: [EdgeMessage]) {
        for message in messages {
            switch message {
            case .opened(let channel, let head, let ownerEpoch): self.opened(channel, head: head, ownerEpoch: ownerEpoch)
            case .events(let events): self.receive(events)
            }
        }
        self.requestPass()
    }

    /// Splits a commit into chunks, one for each channel.
    private func receive(_ relayed: RelayedEvents) {
        let events = relayed.events
        if events.count == 1 {
            self.append(events, channel: events[0].event.channel, ownerEpoch: relayed.ownerEpoch(of: 0))
            return
        }
        var byChannel: [ChannelName: [SequencedEvent]] = [:]
        var order: [(channel: ChannelName, ownerEpoch: OwnerEpoch)] = []
        for (index, event) in events.enumerated() {
            // All events of a channel belong to one partition, and a commit has one grant for each partition.
            if byChannel[event.event.channel, default: []].isEmpty { order.append((event.event.channel, relayed.ownerEpoch(of: index))) }
            byChannel[event.event.channel, default: []].append(event)
        }
        for (channel, ownerEpoch) in order { self.append(byChannel[channel]!, channel: channel, ownerEpoch: ownerEpoch) }
    }

    private func append(_ events: [SequencedEvent], channel: ChannelName, ownerEpoch: OwnerEpoch) {
        guard let feed = self.feeds[channel], feed.isOpen, ownerEpoch >= feed.ownerEpoch else { return }
        let chunk = Chunk(events: events, channelHash: feed.channelHash, second: self.second)
        switch self.update(feed, { $0.append(chunk) }) {
        case .known:
            return
        case .appended:
            break
        case .restarted:
            // A pass finds the subscribers at other positions: their next event is not in the buffer.
            self.metrics.restarts += 1
        }
        if feed.buffer.memoryBytes > self.limits.feedBytesMax { self.update(feed) { $0.trim(bytesMax: self.limits.feedBytesMax) } }
        self.chunkOrder.append((feed, self.second))
        self.dropOldestChunks()
        feed.passRemaining = feed.subscriptions.count
        self.enqueue(feed)
    }

    func enqueue(_ feed: Feed) {
        guard !feed.isQueued, feed.passRemaining > 0 else { return }
        feed.isQueued = true
        self.dirty.append(feed)
    }
}
