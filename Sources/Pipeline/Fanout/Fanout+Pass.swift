import DequeModule
import NIOCore

extension Fanout {
    /// Serves feeds after what else this turn of the loop has to do: acknowledgements leave before deliveries, and commits that come while a pass
    /// is under way only lengthen it. A slice for each of them would keep the loop from its sockets.
    func requestPass() {
        guard !self.isPassScheduled, !(self.dirty.isEmpty && self.answerable.isEmpty) else { return }
        self.isPassScheduled = true
        self.loop.assumeIsolated().execute { self.assumeIsolated { $0.runPasses() } }
    }

    /// Serves feeds in turn, a slice of subscribers each, and yields to the sockets when the slices of one turn are used up.
    private func runPasses() {
        self.isPassScheduled = false
        var budget = self.limits.passSubscribersMax
        while budget > 0, let feed = self.dirty.popFirst() {
            budget -= self.pass(over: feed, budget: budget)
            feed.isQueued = false
            self.enqueue(feed)
        }
        self.answerPolls()
        guard !self.dirty.isEmpty, !self.isPassScheduled else { return }
        self.isPassScheduled = true
        // Not `execute`: NIO runs everything that is runnable before it polls again, and reading must not starve. Long enough that what else
        // is runnable is done before it is due, or there would be no poll in between.
        self.loop.assumeIsolated().scheduleTask(in: .microseconds(200)) {
            self.assumeIsolated { $0.runPasses() }
        }
    }

    /// Visits subscriptions round robin until all have been visited since the last change. Answers how many writes it made.
    private func pass(over feed: Feed, budget: Int) -> Int {
        let writesBefore = self.statistics.writes
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
            writes = Int(self.statistics.writes - writesBefore)
        }
        feed.passIndex = index
        return writes
    }

    /// Gives a following subscription what it lacks from the buffer, as far as its socket takes it.
    func deliver(to subscription: Subscription) {
        let subscriber = subscription.subscriber
        let feed = subscription.feed
        while subscription.position != feed.buffer.head {
            guard subscriber.takesMore else {
                subscription.state = .blocked
                self.statistics.blocked += 1
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

    /// Writes the part of a chunk that lies beyond the subscription's position, and moves the position. One write.
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

    /// Frames for a subscriber of several channels: the body is shared, the cursor is its own.
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
        self.statistics.delivered += UInt64(count)
        self.statistics.writes += 1
        if subscriber.isPoll { self.queueAnswer(subscriber) }
    }

    /// The socket takes bytes again.
    package func writable(_ subscriber: Subscriber) {
        self.loop.preconditionInEventLoop()
        for subscription in subscriber.subscriptions where subscription.state == .blocked {
            subscription.state = .following
            if subscription.needsReset { self.catchUp(subscription) } else { self.deliver(to: subscription) }
            if subscriber.isClosed { return }
        }
    }

    // MARK: - Long-polls

    func queueAnswer(_ subscriber: Subscriber) {
        guard !subscriber.isAnswerQueued else { return }
        subscriber.isAnswerQueued = true
        self.answerable.append(subscriber)
    }

    /// Answers the long-polls that have gathered something.
    func answerPolls() {
        guard !self.answerable.isEmpty else { return }
        let subscribers = self.answerable
        self.answerable.removeAll(keepingCapacity: true)
        for subscriber in subscribers where !subscriber.isClosed {
            let cursor = subscriber.cursor
            self.unsubscribe(subscriber)
            subscriber.connection.subscriberAnswered(elements: subscriber.gathered, cursor: cursor)
        }
    }
}
