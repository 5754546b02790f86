package import NIOCore

/// Receives the outcome of one event. A sink is confined to its publisher's loop.
package protocol PublishSink: AnyObject, Sendable {
    func published(_ outcome: PublishOutcome, token: UInt64)
}

/// Collects the events that one loop's connections publish in one turn of the loop. Each owner gets its share of them as one batch.
///
/// The actor is pinned to that loop. An event needs no promise, task or closure: the pair (sink, token) identifies the connection and its request. Events of
/// one channel stay in order, because a channel has one owner.
package actor Publisher: PublishOrigin {
    private struct Waiting {
        var sink: any PublishSink
        var token: UInt64
    }

    /// `waiting` has an entry for each event.
    private struct Collected {
        var events: [Event] = []
        var waiting: [Waiting] = []
    }

    package nonisolated let unownedExecutor: UnownedSerialExecutor
    package nonisolated let loop: any EventLoop
    private let router: Router
    /// The events of this turn, for each owner.
    private var collected: [Collected]
    private var isFlushScheduled = false
    /// Batches that wait for outcomes.
    private var inFlight: [UInt64: (waiting: [Waiting], outstanding: Int)] = [:]
    private var nextBatch: UInt64 = 0
    /// Nil at a node without a cluster, where no publish is ever sent twice.
    private var messageIDs: MessageIDs?

    /// - Parameter messageIDs: gives every event without a message id one, so that an event that is sent to two owners of its partition is stored once.
    package init(loop: any EventLoop, router: Router, messageIDs: MessageIDs? = nil) {
        self.loop = loop
        self.messageIDs = messageIDs
        self.unownedExecutor = loop.executor.asUnownedSerialExecutor()
        self.router = router
        self.collected = router.owners.map { _ in Collected() }
    }

    /// Runs `body` synchronously. The caller must be on the loop.
    package nonisolated func onLoop<Value: Sendable>(_ body: (isolated Publisher) throws -> Value) rethrows -> Value {
        try self.assumeIsolated(body)
    }

    /// Publishes an event. `sink` is called after the commit, never before this method returns. The publisher retains the sink until then.
    package func publish(_ event: Event, sink: any PublishSink, token: UInt64) {
        if !self.isFlushScheduled {
            self.isFlushScheduled = true
            // `execute` runs this after every socket that is readable in this turn has been read.
            self.loop.assumeIsolated().execute { self.assumeIsolated { $0.flush() } }
        }
        let owner = self.router.index(of: event.channel)
        self.collected[owner].events.append(event)
        if event.messageID == nil, let id = self.messageIDs?.next() {
            self.collected[owner].events[self.collected[owner].events.count - 1].messageID = id
        }
        self.collected[owner].waiting.append(Waiting(sink: sink, token: token))
    }

    private func flush() {
        self.isFlushScheduled = false
        for owner in self.collected.indices where !self.collected[owner].events.isEmpty {
            let collected = self.collected[owner]
            self.collected[owner] = Collected()
            let id = self.nextBatch
            self.nextBatch += 1
            self.inFlight[id] = (collected.waiting, collected.waiting.count)
            self.router.owners[owner].publish(PublishBatch(id: id, events: collected.events, origin: self))
        }
    }

    package nonisolated func published(_ outcomes: [PublishOutcome], batch: UInt64, from index: Int) {
        if self.loop.inEventLoop {
            self.assumeIsolated { $0.finish(batch, outcomes, from: index) }
        } else {
            self.loop.execute { self.assumeIsolated { $0.finish(batch, outcomes, from: index) } }
        }
    }

    package nonisolated func published(_ outcomes: [PublishOutcome], batch: UInt64, at indices: [Int]) {
        if self.loop.inEventLoop {
            self.assumeIsolated { $0.finish(batch, outcomes, at: indices) }
        } else {
            self.loop.execute { self.assumeIsolated { $0.finish(batch, outcomes, at: indices) } }
        }
    }

    private func finish(_ batch: UInt64, _ outcomes: [PublishOutcome], from index: Int) {
        guard let waiting = self.waiting(for: batch, finished: outcomes.count) else { return }
        for (waiting, outcome) in zip(waiting[index...], outcomes) { waiting.sink.published(outcome, token: waiting.token) }
    }

    private func finish(_ batch: UInt64, _ outcomes: [PublishOutcome], at indices: [Int]) {
        guard let waiting = self.waiting(for: batch, finished: outcomes.count) else { return }
        for (index, outcome) in zip(indices, outcomes) { waiting[index].sink.published(outcome, token: waiting[index].token) }
    }

    private func waiting(for batch: UInt64, finished count: Int) -> [Waiting]? {
        guard let (waiting, outstanding) = self.inFlight[batch] else { return nil }
        self.inFlight[batch] = outstanding > count ? (waiting, outstanding - count) : nil
        return waiting
    }
}
