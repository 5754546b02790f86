package import NIOCore

/// What hears of one event's outcome. Called on its publisher's loop, to which it is confined.
package protocol PublishSink: AnyObject, Sendable {
    func published(_ outcome: PublishOutcome, token: UInt64)
}

/// Collects what one loop's connections publish in one turn of the loop, and routes it to the owner as one batch.
///
/// Pinned to that loop. No promise, task or closure per event: an answer finds its connection by (sink, token).
package actor Publisher: PublishOrigin {
    private struct Waiting {
        var sink: any PublishSink
        var token: UInt64
    }

    package nonisolated let unownedExecutor: UnownedSerialExecutor
    package nonisolated let loop: any EventLoop
    private let owner: any ChannelOwner
    private var events: [Event] = []
    private var waiting: [Waiting] = []
    /// Batches without all of their answers.
    private var inFlight: [UInt64: (waiting: [Waiting], unanswered: Int)] = [:]
    private var nextBatch: UInt64 = 0

    package init(loop: any EventLoop, owner: any ChannelOwner) {
        self.loop = loop
        self.unownedExecutor = loop.executor.asUnownedSerialExecutor()
        self.owner = owner
    }

    /// Runs `body` here and now. The caller is on the loop.
    package nonisolated func onLoop<Value: Sendable>(_ body: (isolated Publisher) throws -> Value) rethrows -> Value {
        try self.assumeIsolated(body)
    }

    /// Publishes an event; `sink` hears of it after the commit, never before this returns. The publisher keeps the sink until then.
    package func publish(_ event: Event, sink: any PublishSink, token: UInt64) {
        if self.events.isEmpty {
            // After every socket that is readable in this turn has been read.
            self.loop.assumeIsolated().execute { self.assumeIsolated { $0.flush() } }
        }
        self.events.append(event)
        self.waiting.append(Waiting(sink: sink, token: token))
    }

    private func flush() {
        let id = self.nextBatch
        self.nextBatch += 1
        self.inFlight[id] = (self.waiting, self.waiting.count)
        let batch = PublishBatch(id: id, events: self.events, origin: self)
        self.events = []
        self.waiting = []
        self.owner.publish(batch)
    }

    package nonisolated func published(_ outcomes: [PublishOutcome], batch: UInt64, from index: Int) {
        if self.loop.inEventLoop {
            self.assumeIsolated { $0.finish(batch, outcomes, from: index) }
        } else {
            self.loop.execute { self.assumeIsolated { $0.finish(batch, outcomes, from: index) } }
        }
    }

    private func finish(_ batch: UInt64, _ outcomes: [PublishOutcome], from index: Int) {
        guard let (waiting, unanswered) = self.inFlight[batch] else { return }
        self.inFlight[batch] = unanswered > outcomes.count ? (waiting, unanswered - outcomes.count) : nil
        for (waiting, outcome) in zip(waiting[index...], outcomes) { waiting.sink.published(outcome, token: waiting.token) }
    }
}
