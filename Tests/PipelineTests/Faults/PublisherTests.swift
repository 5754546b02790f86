import NIOCore
import NIOEmbedded
import PipelineTestKit
import Testing

@testable import Pipeline

@Suite(.timeLimit(.minutes(1))) struct PublisherTests {
    /// Keeps batches until the test sends their outcomes. Confined to the loop.
    private final class Owner: ChannelOwner, @unchecked Sendable {
        var batches: [PublishBatch] = []
        var answersAtOnce = false

        func publish(_ batch: PublishBatch) {
            self.batches.append(batch)
            if self.answersAtOnce { self.answer(Int(batch.id)) }
        }

        /// Sends the outcomes of a batch. The position of each event consists of the batch's id and the event's index.
        func answer(_ index: Int) {
            let batch = self.batches[index]
            batch.origin.published(batch.events.indices.map { done(UInt64($0), batch.id) }, batch: batch.id, from: 0)
        }

        func interest(_ changes: [InterestChange], edge: EdgeID) {}

        func history(of channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice {
            throw LogError(.unavailable, "no history")
        }

        func barrier(_ channel: ChannelName) async {}
    }

    private final class Sink: PublishSink, @unchecked Sendable {
        var heard: [String] = []

        func published(_ outcome: PublishOutcome, token: UInt64) {
            guard case .published(let position, _) = outcome else { return }
            self.heard.append("\(token): \(position)")
        }
    }

    private let loop = NIOAsyncTestingEventLoop()
    private let owner = Owner()
    private let sink = Sink()
    private let publisher: Publisher

    init() {
        self.publisher = Publisher(loop: self.loop, router: Router([self.owner]))
    }

    /// Publishes in one turn of the loop.
    private func publish(_ tokens: UInt64..., sink: Sink? = nil) async throws {
        let sink = sink ?? self.sink
        try await self.run { [publisher] in
            for token in tokens {
                let event = Event(channel: channel("c\(token)"), payload: ByteBuffer(string: "x"))
                publisher.onLoop { $0.publish(event, sink: sink, token: token) }
            }
        }
    }

    @discardableResult
    private func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        let value = try await self.loop.executeInContext(body)
        await self.loop.run()
        return value
    }

    private var heard: [String] { get async throws { try await self.run { [sink] in sink.heard } } }

    @Test func oneTurnIsOneBatch() async throws {
        try await self.publish(7, 8, 9)
        try await self.publish(4)
        let batches = try await self.run { [owner] in owner.batches.map { $0.events.map(\.channel.string) } }
        #expect(batches == [["c7", "c8", "c9"], ["c4"]])
    }

    @Test func outcomesReachTheirSinksInOrder() async throws {
        let other = Sink()
        try await self.publish(7, 7, 9)
        try await self.publish(5, sink: other)
        // The outcomes arrive in another order than the batches.
        try await self.run { [owner] in
            owner.answer(1)
            owner.answer(0)
        }
        #expect(try await self.heard == ["7: 0-0", "7: 0-1", "9: 0-2"])
        #expect(try await self.run { other.heard } == ["5: 1-0"])
    }

    @Test func noOutcomeArrivesBeforePublishReturns() async throws {
        let heardEarly = try await self.run { [owner, sink, publisher] in
            owner.answersAtOnce = true
            let event = Event(channel: channel("c"), payload: ByteBuffer(string: "x"))
            publisher.onLoop { $0.publish(event, sink: sink, token: 1) }
            return sink.heard
        }
        #expect(heardEarly == [])
        #expect(try await self.heard == ["1: 0-0"])
    }

    @Test func outcomesOfABatchMayArriveInParts() async throws {
        try await self.publish(7, 8, 9)
        try await self.run { [owner] in owner.batches[0].origin.published([done(1), done(2)], batch: 0, from: 0) }
        #expect(try await self.heard == ["7: 1-1", "8: 1-2"])
        try await self.run { [owner] in owner.batches[0].origin.published([done(3)], batch: 0, from: 2) }
        #expect(try await self.heard == ["7: 1-1", "8: 1-2", "9: 1-3"])
    }

    @Test func outcomesMayArriveOnAnotherThread() async throws {
        try await self.publish(1)
        let batch = try await self.run { [owner] in owner.batches[0] }
        batch.origin.published([done(3)], batch: batch.id, from: 0)
        #expect(try await self.heard == ["1: 1-3"])
    }

    @Test func aSecondOutcomeIsIgnored() async throws {
        try await self.publish(1)
        try await self.run { [owner] in
            owner.answer(0)
            owner.answer(0)
        }
        #expect(try await self.heard == ["1: 0-0"])
    }

    @Test func aSinkLivesUntilItsOutcome() async throws {
        weak var last: Sink?
        do {
            let sink = Sink()
            last = sink
            try await self.publish(1, sink: sink)
        }
        #expect(last != nil)
        try await self.run { [owner] in owner.answer(0) }
        #expect(last == nil)
    }
}
