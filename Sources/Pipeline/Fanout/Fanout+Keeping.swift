import DequeModule
import NIOCore

/// Which events and feeds are kept, and for how long.
extension Fanout {
    /// Changes a feed's buffer and updates the total size.
    func update<Value>(_ feed: Feed, _ body: (inout FeedBuffer) -> Value) -> Value {
        let bytesBefore = feed.buffer.memoryBytes
        defer { self.feedBytes += feed.buffer.memoryBytes - bytesBefore }
        return body(&feed.buffer)
    }

    /// Updates the memory of a chunk that has a new encoding.
    func recount(_ chunk: Chunk, in feed: Feed) {
        self.update(feed) { $0.recount(chunk) }
        self.dropOldestChunks()
    }

    /// Keeps the total size of all chunks within its limit. Subscribers that need a dropped chunk read it from the log.
    func dropOldestChunks() {
        while self.feedBytes > self.limits.feedBytesTotalMax, self.chunkOrder.count > 1 { self.dropOldestChunk() }
    }

    /// A chunk that was joined with a younger chunk is dropped when the younger chunk is due.
    private func dropOldestChunk() {
        guard let (feed, second) = self.chunkOrder.popFirst() else { return }
        self.update(feed) { $0.removeFirst(notAfter: second) }
    }

    // MARK: - Once a second

    /// Drops old chunks, and feeds without recent subscribers.
    package func tick() {
        self.second += 1
        self.tidy()
    }

    /// Drops a bounded number of chunks and feeds, so that sockets wait only briefly. The rest is dropped in a later turn.
    private func tidy() {
        var budget = Slices.feedsMax
        let oldest = self.second - self.limits.feedSecondsMax
        while budget > 0, let first = self.chunkOrder.first, first.second < oldest {
            self.dropOldestChunk()
            budget -= 1
        }
        self.closeUnwanted(&budget)
        guard budget == 0, !self.isTidyScheduled else { return }
        self.isTidyScheduled = true
        self.loop.afterSockets(pause: Slices.tidyPause) {
            self.assumeIsolated { fanout in
                fanout.isTidyScheduled = false
                fanout.tidy()
            }
        }
    }

    // MARK: - Feeds without subscribers

    /// Called when the last subscriber of a feed has left. The feed stays for a while, in case a subscriber returns.
    func feedEmptied(_ feed: Feed) {
        feed.emptySince = self.second
        guard !feed.isLeaving else { return }
        feed.isLeaving = true
        self.leaving.append((feed, self.second))
    }

    /// Closes unused feeds. A feed with events is kept longer, because it saves returning subscribers a read of the log. A feed without events is kept for only
    /// a second, because a client can name any number of channels that do not exist.
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
        if !closing.isEmpty { self.router.interest(closing, edge: self.id) }
    }

    /// Closes a feed, unless it has new subscribers. The feed's chunks are dropped by age, like all chunks.
    private func leave(_ feed: Feed, since second: Int, _ closing: inout [InterestChange]) {
        guard let emptySince = feed.emptySince else {
            feed.isLeaving = false
            return
        }
        guard emptySince == second, feed.isReported, feed.isOpen else {
            // The feed gets the current second, because the list is sorted by seconds.
            feed.emptySince = self.second
            self.leaving.append((feed, self.second))
            return
        }
        self.feeds[feed.channel] = nil
        closing.append(InterestChange(channel: feed.channel, subscribers: 0, wanted: .close))
    }
}
