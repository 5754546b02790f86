import DequeModule
import NIOCore

/// What is kept, and for how long.
extension Fanout {
    /// Changes a feed's buffer. The total follows, whatever the buffer lets go of or takes.
    func update<Value>(_ feed: Feed, _ body: (inout FeedBuffer) -> Value) -> Value {
        let costBefore = feed.buffer.cost
        defer { self.feedCost += feed.buffer.cost - costBefore }
        return body(&feed.buffer)
    }

    /// A chunk has been encoded once more.
    func recount(_ chunk: Chunk, in feed: Feed) {
        self.update(feed) { $0.recount(chunk) }
        self.dropOldestChunks()
    }

    /// Keeps all chunks together within their bound. Subscribers that lag behind what is dropped read it from the log.
    func dropOldestChunks() {
        while self.feedCost > self.limits.feedBytesTotalMax, self.chunkOrder.count > 1 { self.dropOldestChunk() }
    }

    /// A chunk that was joined with a younger one goes when that one's turn comes.
    private func dropOldestChunk() {
        guard let (feed, second) = self.chunkOrder.popFirst() else { return }
        self.update(feed) { $0.removeFirst(notAfter: second) }
    }

    // MARK: - Once a second

    /// Drops old chunks and feeds that nobody has wanted for a while.
    package func tick() {
        self.second += 1
        self.tidy()
    }

    /// So much at once that the sockets hardly wait; what is left goes in a moment.
    private func tidy() {
        var budget = Self.tidiedAtOnce
        let oldest = self.second - self.limits.feedSecondsMax
        while budget > 0, let first = self.chunkOrder.first, first.second < oldest {
            self.dropOldestChunk()
            budget -= 1
        }
        self.closeUnwanted(&budget)
        guard budget == 0, !self.isTidyScheduled else { return }
        self.isTidyScheduled = true
        // Not `execute`, which NIO would run before it polls.
        self.loop.assumeIsolated().scheduleTask(in: .microseconds(500)) {
            self.assumeIsolated { fanout in
                fanout.isTidyScheduled = false
                fanout.tidy()
            }
        }
    }

    /// Chunks and feeds that are let go before a loop looks at its sockets again.
    private static let tidiedAtOnce = 256

    // MARK: - Feeds that nobody wants

    /// The last subscriber left: the feed stays a while for who comes back.
    func feedEmptied(_ feed: Feed) {
        feed.emptySince = self.second
        guard !feed.isLeaving else { return }
        feed.isLeaving = true
        self.leaving.append((feed, self.second))
    }

    /// One that holds events may spare those who come back a read of the log. One that holds none is worth a second: to name channels that do not exist costs
    /// a client nothing.
    private func closeUnwanted(_ budget: inout Int) {
        var closing: [InterestChange] = []
        while budget > 0, let (feed, second) = self.leaving.first, second < self.second - 1 {
            self.leaving.removeFirst()
            budget -= 1
            if feed.emptySince == second, !feed.buffer.chunks.isEmpty {
                self.lingering.append((feed, second))
            } else {
                self.leave(feed, since: second, &closing)
            }
        }
        while budget > 0, let (feed, second) = self.lingering.first, second < self.second - self.limits.feedSecondsMax {
            self.lingering.removeFirst()
            budget -= 1
            self.leave(feed, since: second, &closing)
        }
        if !closing.isEmpty { self.owner.interest(closing, edge: self.index) }
    }

    /// Closes a feed, unless somebody has wanted it since. Its chunks go when they are old, as the others.
    private func leave(_ feed: Feed, since second: Int, _ closing: inout [InterestChange]) {
        guard let emptySince = feed.emptySince else {
            feed.isLeaving = false
            return
        }
        guard emptySince == second, feed.isReported, feed.isOpen else {
            // From now on rather than from then: entries are in the order of their seconds.
            feed.emptySince = self.second
            self.leaving.append((feed, self.second))
            return
        }
        self.feeds[feed.channel] = nil
        closing.append(InterestChange(channel: feed.channel, subscribers: 0, wanted: .close))
    }
}
