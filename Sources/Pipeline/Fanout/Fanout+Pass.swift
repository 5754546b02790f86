import DequeModule
import NIOCore

extension Fanout {
    /// Schedules a pass after the other work of this turn of the loop, so that acknowledgements are sent before deliveries. A commit that arrives during a pass
    /// makes the pass longer. A separate slice for each commit would delay the polling of sockets.
    func requestPass() {
        guard !self.isPassScheduled, !(self.dirty.isEmpty && self.pollsToRespond.isEmpty) else { return }
        self.isPassScheduled = true
        self.loop.assumeIsolated().execute { self.assumeIsolated { $0.runPasses() } }
    }

    /// Serves feeds round robin, a slice of subscribers each. When all slices together have used up the budget of one turn, the loop first polls its sockets.
    private func runPasses() {
        self.isPassScheduled = false
        var budget = self.limits.passSubscribersMax
        while budget > 0, let feed = self.dirty.popFirst() {
            budget -= self.pass(over: feed, budget: budget)
            feed.isQueued = false
            self.enqueue(feed)
        }
        self.respondToPolls()
        guard !self.dirty.isEmpty, !self.isPassScheduled else { return }
        self.isPassScheduled = true
        self.loop.afterSockets(pause: Slices.deliveryPause) {
            self.assumeIsolated { $0.runPasses() }
        }
    }

    /// Visits subscriptions round robin until all have been visited since the last change. Returns the number of writes.
    private func pass(over feed: Feed, budget: Int) -> Int {
        let writesBefore = self.metrics.writes
        var writes = 0
        var index = feed.passIndex
        while feed.passRemaining > 0, writes < budget {
            if index >= feed.subscriptions.count { index = 0 }
            guard index < feed.subscriptions.count else {
                feed.passRemaining = 0
                break
            }
            let subscription = feed.subscriptions[index]
            index += 1
            feed.passRemaining -= 1
            guard subscription.state == .following, subscription.position != feed.buffer.head else { continue }
            self.deliver(to: subscription)
            writes = Int(self.metrics.writes - writesBefore)
        }
        feed.passIndex = index
        return writes
    }

    /// Writes the buffered events that a following subscription lacks, while its socket accepts bytes.
    func deliver(to subscription: Subscription) {
        let subscriber = subscription.subscriber
        let feed = subscription.feed
        while subscription.position != feed.buffer.head {
            guard subscriber.takesMore else {
                subscription.state = .blocked
                self.metrics.blocked += 1
                return
            }
            guard subscription.position.epoch == feed.buffer.head.epoch,
                let chunk = self.chunk(holding: subscription.position.offset + 1, of: feed)
            else {
                self.catchUp(subscription)
                return
            }
            self.write(chunk, to: subscription)
            if subscriber.isClosed { return }
        }
        subscription.wasCurrent = true
    }

    private func chunk(holding offset: UInt64, of feed: Feed) -> Chunk? {
        feed.buffer.newest(holding: offset) ?? self.update(feed) { $0.chunk(holding: offset, joinedUpTo: self.writeBytesMax) }
    }

    /// Writes the part of a chunk after the subscription's position, in one write, and advances the position.
    func write(_ chunk: Chunk, to subscription: Subscription) {
        let subscriber = subscription.subscriber
        let index = Int(subscription.position.offset + 1 - chunk.first)
        let count: Int
        if subscriber.subscriptions.count == 1 {
            let frames = chunk.frames(subscriber.framing)
            if chunk.hasGrown { self.recount(chunk, in: subscription.feed) }
            let slice = frames.slice(from: index, bytesMax: self.writeBytesMax)
            count = slice.count
            subscription.position = Position(epoch: chunk.epoch, offset: chunk.first + UInt64(index + count - 1))
            self.written(count, by: subscriber)
            subscriber.write(slice.buffer)
        } else {
            var buffer = ByteBuffer()
            count = self.encode(chunk, from: index, to: subscription, into: &buffer)
            self.written(count, by: subscriber)
            subscriber.write(buffer)
        }
    }

    /// Encodes frames for a subscriber of several channels. The bodies are shared, and each frame has the subscriber's own cursor.
    private func encode(_ chunk: Chunk, from start: Int, to subscription: Subscription, into buffer: inout ByteBuffer) -> Int {
        let subscriber = subscription.subscriber
        let bodies = chunk.bodies(subscriber.framing.body)
        if chunk.hasGrown { self.recount(chunk, in: subscription.feed) }
        var cursor = ByteBufferAllocator().buffer(capacity: subscriber.subscriptions.count * 24 + 16)
        var index = start
        repeat {
            subscription.position = chunk.events[index].position
            cursor.clear()
            subscriber.writeCursor(into: &cursor)
            FrameEncoder.writeFrame(subscriber.framing, cursor: cursor.readableBytesView, body: bodies.view(index), into: &buffer)
            index += 1
        } while index < chunk.events.count && buffer.readableBytes < self.writeBytesMax
        return index - start
    }

    private func written(_ count: Int, by subscriber: Subscriber) {
        self.metrics.delivered += UInt64(count)
        self.metrics.writes += 1
        if subscriber.isPoll { self.queueResponse(subscriber) }
    }

    /// Called when the subscriber's socket accepts bytes again.
    package func writable(_ subscriber: Subscriber) {
        self.loop.preconditionInEventLoop()
        for subscription in subscriber.subscriptions where subscription.state == .blocked {
            subscription.state = .following
            if subscription.needsReset { self.catchUp(subscription) } else { self.deliver(to: subscription) }
            if subscriber.isClosed { return }
        }
    }

    // MARK: - Long-polls

    func queueResponse(_ subscriber: Subscriber) {
        guard !subscriber.isResponseQueued else { return }
        subscriber.isResponseQueued = true
        self.pollsToRespond.append(subscriber)
    }

    /// Sends the responses of long-polls that have collected events.
    func respondToPolls() {
        guard !self.pollsToRespond.isEmpty else { return }
        let subscribers = self.pollsToRespond
        self.pollsToRespond.removeAll(keepingCapacity: true)
        for subscriber in subscribers where !subscriber.isClosed {
            let cursor = subscriber.cursor
            self.unsubscribe(subscriber)
            subscriber.connection.pollCompleted(elements: subscriber.gathered, cursor: cursor)
        }
    }
}
