import NIOCore
import Partitioning
import SubscriberAPI

extension Fanout {
    /// Queues a subscription for the feed's next read of the log, because its next event is not in the buffer.
    ///
    /// Each feed has one read at a time. All waiting subscriptions share it, because thousands return with similar cursors after a restart.
    func catchUp(_ subscription: Subscription) {
        subscription.state = .replaying
        subscription.feed.wait(subscription)
        self.read(for: subscription.feed)
    }

    /// Queues a subscription that opens when the log has returned the position of the channel's oldest event.
    func awaitHistory(_ subscription: Subscription) {
        subscription.feed.wait(subscription)
        self.read(for: subscription.feed)
    }

    private func read(for feed: Feed) {
        guard !feed.isReading, let position = self.replayStart(feed) else { return }
        feed.isReading = true
        self.metrics.replayReads += 1
        let isAhead = feed.replaying.contains { $0.needsReset }
        let owner = self.router.owner(of: feed.channel)
        Task {
            do {
                // Another loop may have delivered events that have not reached this loop yet.
                if isAhead { try await owner.barrier(feed.channel) }
                let slice = try await owner.history(
                    of: feed.channel, after: position, limit: self.limits.replayEventsMax, bytesMax: self.limits.replayBytesMax)
                self.replayed(slice, after: position, feed: feed, wasAhead: isAhead)
                feed.isReading = false
                self.read(for: feed)
            } catch {
                // Events that could not be read are not skipped: the subscription waits, and newer events stay in the log.
                self.metrics.replayFailures += 1
                if Defect.replayEndsAfterCut.isActive { self.endReplays(of: feed) }
                try? await Task.sleep(for: .seconds(1))
                feed.isReading = false
                self.read(for: feed)
            }
        }
    }

    /// The position to read after: the lowest position of all waiting subscriptions. A subscription that needs a reset reads the current epoch from the start.
    private func replayStart(_ feed: Feed) -> Position? {
        var start: Position?
        for subscription in feed.replaying {
            let position = self.readPosition(subscription)
            if start.map({ position < $0 }) ?? true { start = position }
        }
        return start
    }

    private func readPosition(_ subscription: Subscription) -> Position {
        let head = subscription.feed.buffer.head
        guard subscription.position.epoch == head.epoch, subscription.position.offset <= head.offset else {
            // After a position in an older epoch, all events of this epoch are new. After a position in the future, none are.
            return subscription.position < head ? Position(epoch: head.epoch, offset: 0) : head
        }
        return subscription.position
    }

    private func replayed(_ slice: LogSlice, after start: Position, feed: Feed, wasAhead: Bool) {
        let head = feed.buffer.head
        let events = slice.events.filter { $0.position.epoch == head.epoch && $0.position.offset <= head.offset }
        let chunk = events.isEmpty ? nil : Chunk(events: events, channelHash: feed.channelHash, second: self.second)
        // The oldest offset that can still be delivered, from the log or from the buffer.
        let oldest = min(slice.oldest.flatMap { $0.epoch == head.epoch ? $0.offset : nil } ?? .max, feed.buffer.first)
        // Subscriptions that begin are served from this read too, if it contains their next events.
        self.openWaiting(feed, oldest: oldest)
        for subscription in feed.takeWaiting() where !subscription.subscriber.isClosed {
            // The reset is checked here, not at the time of subscribing. A client can receive an event on one loop, and reconnect on another loop that has not
            // processed this event yet. A read that waited for the barrier sees every earlier commit. A read that did not wait proves nothing, so the
            // subscription waits for the next read, which waits for the barrier.
            subscription.checkReset(head: head)
            if subscription.needsReset, !wasAhead {
                feed.wait(subscription)
                continue
            }
            self.advance(subscription, chunk: chunk, oldest: oldest, readStart: start)
        }
        self.respondToPolls()
    }

    /// For ``Defect/replayEndsAfterCut``: the subscriptions continue with live events, as if the read had returned all earlier ones.
    private func endReplays(of feed: Feed) {
        for subscription in feed.takeWaiting() {
            guard subscription.state == .replaying else {
                feed.wait(subscription)
                continue
            }
            subscription.position = feed.buffer.head
            subscription.needsReset = false
            subscription.wasCurrent = true
            subscription.state = .following
        }
    }

    /// Starts the subscriptions that waited for the position of the oldest event.
    private func openWaiting(_ feed: Feed, oldest: UInt64) {
        for subscription in feed.takeWaiting() {
            guard subscription.state == .opening else {
                feed.wait(subscription)
                continue
            }
            let subscriber = subscription.subscriber
            subscription.resolve(head: feed.buffer.head, oldest: oldest)
            subscriber.pendingOpens -= 1
            if subscriber.pendingOpens == 0 { self.begin(subscriber) }
        }
    }

    /// Reports a gap if there is one, delivers from the read, and then from the buffer.
    private func advance(_ subscription: Subscription, chunk: Chunk?, oldest: UInt64, readStart: Position) {
        let subscriber = subscription.subscriber
        let feed = subscription.feed
        guard subscriber.takesMore else {
            subscription.state = .blocked
            self.metrics.blocked += 1
            return
        }
        let from = self.readPosition(subscription)
        if subscription.needsReset {
            let next = max(from.offset, oldest - 1)
            self.reportGap(subscription, to: Position(epoch: feed.buffer.head.epoch, offset: min(next, feed.buffer.head.offset)), reason: .reset)
        } else if subscription.position.offset + 1 < oldest, subscription.position.offset < feed.buffer.head.offset {
            self.reportGap(
                subscription, to: Position(epoch: feed.buffer.head.epoch, offset: oldest - 1), reason: subscription.wasCurrent ? .overflow : .expired)
        }
        // Writing the notice may have closed the subscriber.
        if subscriber.isClosed { return }
        while let chunk, chunk.first <= subscription.position.offset + 1, subscription.position.offset < chunk.last {
            guard subscriber.takesMore else {
                subscription.state = .blocked
                self.metrics.blocked += 1
                return
            }
            self.write(chunk, to: subscription)
            if subscriber.isClosed { return }
        }
        subscription.state = .following
        if subscription.position == feed.buffer.head {
            subscription.wasCurrent = true
        } else {
            self.deliver(to: subscription)
        }
    }

    /// Reports the gap up to `position`, and moves the subscription there.
    private func reportGap(_ subscription: Subscription, to position: Position, reason: GapReason) {
        let gap = Gap(from: subscription.position.next, to: position, reason: reason)
        subscription.position = position
        subscription.needsReset = false
        self.metrics.countGap(reason)
        let subscriber = subscription.subscriber
        var cursor = ByteBuffer()
        subscriber.writeCursor(into: &cursor)
        var buffer = ByteBuffer()
        FrameEncoder.writeGap(
            gap, channel: subscription.feed.channel, cursor: cursor.readableBytesView, framing: subscriber.framing, into: &buffer)
        if subscriber.isPoll { self.queueResponse(subscriber) }
        subscriber.write(buffer)
    }
}
