import NIOCore
import NIOEmbedded
import Partitioning
import PipelineTestKit

@testable import Gateway
@testable import Pipeline

/// The actors of one loop with a log that has scripted faults. Only the test advances the clock. Confined to its loop, except for `async` functions.
final class Bench: @unchecked Sendable {
    let loop = NIOAsyncTestingEventLoop()
    let log: FaultLog
    let addresses = BoundAddresses()
    let sequencers: Sequencers
    private(set) var context: LoopContext!
    private(set) var publisher: Publisher!
    private var subscriberPort: SubscriberPort!
    private var apiPort: APIPort!
    private(set) var outcomes: [PublishOutcome] = []

    init(corsOrigins: [String] = [], _ change: (inout Limits) -> Void = { _ in }) async throws {
        var limits = Limits()
        change(&limits)
        self.log = FaultLog(loop: self.loop)
        self.sequencers = Sequencers(loops: [self.loop], log: self.log, limits: limits, clocks: Clocks(wall: { 0 }, steady: { 0 }))
        let fanout = Fanout(loop: self.loop, id: .loop(0), router: self.sequencers.router, limits: limits)
        await self.sequencers.add(fanout, as: .loop(0))
        _ = await self.sequencers.acquire(Grant.everyPartition())
        try await self.run { [limits] in
            self.publisher = Publisher(loop: self.loop, router: self.sequencers.router)
            self.context = LoopContext(loop: self.loop, fanout: fanout, limits: limits)
            self.subscriberPort = SubscriberPort(
                loop: self.context, fanout: fanout, origins: Origins(corsOrigins + Origins.own), refusedOrigins: .forTests, heartbeats: Heartbeats(),
                addresses: self.addresses, subscribersMax: 20)
            let services = APIServices.forTests(
                FakeNode(), origins: corsOrigins.filter { $0 != "*" }, channels: self.sequencers,
                addresses: self.addresses)
            self.apiPort = APIPort(loop: self.context, publisher: self.publisher, services: services)
            self.context.start()
        }
    }

    /// Runs `body` on the loop, and then all tasks that `body` has scheduled.
    @discardableResult
    func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        let value = try await self.loop.executeInContext(body)
        await self.loop.run()
        return value
    }

    func pass(seconds: Int) async { await self.loop.advanceTime(by: .seconds(Int64(seconds))) }

    func pass(milliseconds: Int) async { await self.loop.advanceTime(by: .milliseconds(Int64(milliseconds))) }

    /// A connection of the subscriber port, with the request already sent.
    func subscribe(_ request: String = "", isOverLimit: Bool = false) async throws -> Client {
        try await Client(self, request) { SubscriberHandler(port: $0.subscriberPort, isOverLimit: isOverLimit) }
    }

    /// A connection of the API port, with the request already sent.
    func api(_ request: String = "", isOverLimit: Bool = false) async throws -> Client {
        try await Client(self, request) { APIHandler(port: $0.apiPort, isOverLimit: isOverLimit) }
    }

    /// Publishes without the API. ``outcomes`` contains the outcome after the log has responded.
    func publish(_ channel: String, _ payloads: String...) async throws {
        for payload in payloads {
            try await self.run {
                let event = Event(channel: ChannelName(channel)!, payload: ByteBuffer(string: payload))
                self.publisher.onLoop { $0.publish(event, sink: Sink(self), token: 0) }
            }
        }
    }

    func stop() async throws {
        try await self.run { self.context.stop(completed: self.loop.makePromise()) }
        await self.pass(seconds: 1)
    }

    private final class Sink: PublishSink {
        let bench: Bench

        init(_ bench: Bench) { self.bench = bench }

        func published(_ outcome: PublishOutcome, token: UInt64) { self.bench.outcomes.append(outcome) }
    }

    // MARK: - Metrics

    /// The connections of the table, the subscribers of the fanout, and the subscribers that the sequencers count. All are zero after every connection has
    /// ended.
    struct Counts: Equatable {
        var connections = 0
        var subscribers = 0
        var subscriptions = 0
        var transports = 0
        var known = 0
    }

    func counts(of channel: String = "c") async throws -> Counts {
        var counts = try await self.run {
            let metrics = self.context.metrics
            let fanout = self.context.fanout.onLoop { $0.currentMetrics }
            let accepted = Int(metrics.accepted + metrics.apiAccepted) - Int(metrics.closed + metrics.apiClosed)
            precondition(accepted == self.context.connections.count, "\(accepted) connections by metrics, \(self.context.connections.count) in the table")
            return Counts(
                connections: accepted, subscribers: Int(fanout.subscribersOpened) - Int(fanout.subscribersClosed),
                subscriptions: Int(fanout.subscriptionsOpened) - Int(fanout.subscriptionsClosed),
                transports: Int(metrics.opened.total) - Int(metrics.ended.total))
        }
        counts.known = await self.sequencers.subscribers(of: ChannelName(channel)!)
        return counts
    }

    /// The payloads of a channel in the log.
    func stored(_ channel: String) async throws -> [String] {
        try await self.run { self.log.stored[ChannelName(channel)!, default: []].map { String(buffer: $0.event.payload) } }
    }

    var metrics: ConnectionMetrics { get async throws { try await self.run { self.context.metrics } } }
}

func cursor(_ channel: String, _ epoch: UInt64, _ offset: UInt64) -> String {
    let hash = UInt32(truncatingIfNeeded: ChannelName(channel)!.hash64)
    return Cursor(entries: [.init(channel: hash, position: Position(epoch: epoch, offset: offset))]).text
}
