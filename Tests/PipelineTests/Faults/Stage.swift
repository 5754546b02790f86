import NIOCore
import NIOEmbedded
import Partitioning
import PipelineTestKit

@testable import Pipeline

/// A sequencer with a publisher, a fanout and a ``FaultLog``, on one loop. Confined to that loop, except its `async` members.
final class Stage: PublishSink, Edge, @unchecked Sendable {
    let loop = NIOAsyncTestingEventLoop()
    let log: FaultLog
    let sequencers: Sequencers
    let publisher: Publisher
    let fanout: Fanout
    /// The sequencers' clock, in milliseconds.
    var now: Int64 = 0
    /// The outcomes of publishes, by the number that ``publish(_:id:_:)`` returned.
    private(set) var outcomes: [UInt64: PublishOutcome] = [:]
    private(set) var relayed: [Position] = []
    /// Heads that the sequencer sent when ``listen(_:)`` opened a channel.
    private(set) var opened: [Position] = []
    /// Everything that happened, in order: a number for an outcome, a position for a relayed event.
    private(set) var history: [String] = []
    private var published: UInt64 = 0

    private final class Clock: @unchecked Sendable { weak var stage: Stage? }

    var sequencer: Sequencer { self.sequencers.all[0] }

    init(isStarted: Bool = true, _ change: (inout Limits) -> Void = { _ in }) async throws {
        var limits = Limits()
        change(&limits)
        let clock = Clock()
        self.log = FaultLog(loop: self.loop)
        self.sequencers = Sequencers(
            loops: [self.loop], log: self.log, limits: limits, clocks: Clocks(wall: { clock.stage?.now ?? 0 }, steady: { clock.stage?.now ?? 0 }))
        self.publisher = Publisher(loop: self.loop, router: self.sequencers.router)
        self.fanout = Fanout(loop: self.loop, id: .loop(0), router: self.sequencers.router, limits: limits)
        clock.stage = self
        await self.sequencers.add(self.fanout, as: .loop(0))
        await self.sequencers.add(self, as: .loop(1))
        if isStarted { try await self.start() }
    }

    func start() async throws {
        if let refused = await self.sequencers.acquire(Grant.everyPartition()).first { throw refused.error }
    }

    /// Runs `body` on the loop, then all tasks that it started.
    @discardableResult
    func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        let value = try await self.loop.executeInContext(body)
        await self.loop.run()
        return value
    }

    /// Advances time until the condition is true, or the test's time is over.
    func settle(until condition: @escaping @Sendable () -> Bool) async throws {
        while !Task.isCancelled, !(try await self.run(condition)) { await self.loop.advanceTime(by: .milliseconds(10)) }
    }

    /// Sets the faults of the log's next appends.
    func appends(_ faults: FaultLog.Fault...) async throws { try await self.run { self.log.appendFaults += faults } }

    func release() async { await self.log.release() }

    /// Publishes to a channel. The outcome is in ``outcomes``, under the number that this returns.
    @discardableResult
    func publish(_ name: String = "c", id: String? = nil, _ payload: String = "x") async throws -> UInt64 {
        try await self.run {
            let number = self.published
            self.published += 1
            let event = Event(channel: channel(name), payload: ByteBuffer(string: payload), messageID: id)
            self.publisher.onLoop { $0.publish(event, sink: self, token: number) }
            return number
        }
    }

    /// Opens a channel, so that its commits are relayed.
    func listen(_ name: String = "c") async throws {
        try await self.run { self.sequencer.interest([InterestChange(channel: channel(name), subscribers: 0, wanted: .open)], edge: .loop(1)) }
    }

    nonisolated func partition(of name: String) -> PartitionID { Partitions().partition(ofHash: channel(name).hash64) }

    func isHandingOver(_ grant: Grant) async -> Bool { await self.sequencer.machine.partitions[grant.partition]?.state == .handingOver }

    func outcome(_ number: UInt64) async throws -> PublishOutcome? { try await self.run { self.outcomes[number] } }

    /// The outcomes so far, in the order of the publishes.
    var answers: [PublishOutcome] {
        get async throws { try await self.run { self.outcomes.sorted { $0.key < $1.key }.map(\.value) } }
    }

    /// The payloads that the log has stored.
    func stored(_ name: String = "c") async throws -> [String] {
        try await self.run { self.log.stored[channel(name), default: []].map { String(buffer: $0.event.payload) } }
    }

    var metrics: SequencerMetrics { get async { await self.sequencers.metrics } }

    // MARK: - Calls of the publisher and the sequencer

    func published(_ outcome: PublishOutcome, token: UInt64) {
        precondition(self.outcomes[token] == nil, "\(token) has two outcomes")
        self.outcomes[token] = outcome
        self.history.append("\(token)")
    }

    func relay(_ messages: [EdgeMessage]) {
        for case .opened(_, let head, _) in messages { self.opened.append(head) }
        for case .events(let relayed) in messages {
            self.relayed += relayed.events.map(\.position)
            self.history += relayed.events.map { "\($0.position)" }
        }
    }
}

let full = PublishOutcome.refused(.logUnavailable("full"))

let moved = PublishOutcome.refused(.moved)

func done(_ offset: UInt64, _ epoch: UInt64 = 1) -> PublishOutcome { .published(position(epoch, offset), subscribers: 0) }

func duplicate(_ offset: UInt64, _ epoch: UInt64 = 1) -> PublishOutcome { .duplicate(position(epoch, offset), subscribers: 0) }
