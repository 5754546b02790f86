import NIOCore
import NIOEmbedded
import Testing

@testable import Pipeline

@Suite(.timeLimit(.minutes(1))) struct FanoutFaultTests {
    /// A connection that keeps what it is told. Confined to its loop.
    private final class Reader: ChannelInboundHandler, SubscriberConnection, @unchecked Sendable {
        typealias InboundIn = ByteBuffer

        let stage: Stage
        let channel: NIOAsyncTestingChannel
        var subscriber: Subscriber!
        var answer: String?

        init(_ stage: Stage, _ requests: [(channel: ChannelName, start: SubscribeStart)], framing: Framing = .line) async throws {
            self.stage = stage
            self.channel = NIOAsyncTestingChannel(loop: stage.loop)
            try await stage.run {
                try self.channel.pipeline.syncOperations.addHandler(self)
                let context = try self.channel.pipeline.syncOperations.context(handler: self)
                self.subscriber = Subscriber(framing: framing, context: context, connection: self)
                stage.fanout.onLoop { $0.subscribe(self.subscriber, to: requests) }
            }
        }

        func subscriberOpened(cursor: String) {}

        func subscriberAnswered(elements: ByteBuffer, cursor: String) { self.answer = String(buffer: elements) }

        func leave() async throws { try await self.stage.run { self.stage.fanout.onLoop { $0.unsubscribe(self.subscriber) } } }

        /// The payloads so far, and `gap` for gaps.
        func data() async throws -> [String] {
            var bytes = ByteBuffer()
            while let part = try await self.channel.readOutbound(as: ByteBuffer.self) { bytes.writeImmutableBuffer(part) }
            return try FrameDecoder.decode(bytes, .line).map { if case .event(_, _, _, let data) = $0 { String(decoding: data, as: UTF8.self) } else { "gap" } }
        }
    }

    private func stage(_ names: String..., reads: FaultLog.Fault...) async throws -> Stage {
        let stage = try await Stage()
        for name in names { for payload in ["1", "2", "3"] { try await stage.publish(name, payload) } }
        try await stage.run { stage.log.readFaults = reads }
        return stage
    }

    private func failures(_ stage: Stage) async -> UInt64 { await stage.fanout.statistics.replayFailures }

    @Test func aReadThatFailsIsRepeatedWithoutAHole() async throws {
        let stage = try await self.stage("c", reads: .unavailable)
        let reader = try await Reader(stage, [(channel("c"), .after(position(1, 1)))])
        #expect(await self.failures(stage) == 1)
        // What is committed meanwhile comes behind what could not be read.
        try await stage.publish("c", "4")
        #expect(try await reader.data() == [])
        await stage.log.waitFor { $0.reads.count == 2 }
        try await stage.publish("c", "5")
        #expect(try await reader.data() == ["2", "3", "4", "5"])
        #expect(await self.failures(stage) == 1)
    }

    @Test func whoComesDuringAFailureIsServedWithTheOthers() async throws {
        let stage = try await self.stage("c", reads: .unavailable)
        let first = try await Reader(stage, [(channel("c"), .after(position(1, 2)))])
        let second = try await Reader(stage, [(channel("c"), .after(position(1, 0)))])
        let live = try await Reader(stage, [(channel("c"), .live)])
        try await stage.publish("c", "4")
        #expect(try await live.data() == ["4"])
        await stage.log.waitFor { $0.reads.count == 2 }
        #expect(try await first.data() == ["3", "4"])
        #expect(try await second.data() == ["1", "2", "3", "4"])
        #expect(try await stage.run { stage.log.reads } == [position(1, 2), position(1, 0)])
    }

    @Test func aFailureHoldsUpItsChannelOnly() async throws {
        let stage = try await self.stage("c", "d", reads: .unavailable.late)
        let reader = try await Reader(stage, [(channel("c"), .after(position(1, 0))), (channel("d"), .after(position(1, 2)))])
        #expect(try await reader.data() == ["3"])
        try await stage.publish("d", "4")
        #expect(try await reader.data() == ["4"])
        await stage.release()
        await stage.log.waitFor { $0.reads.count == 3 }
        #expect(try await reader.data() == ["1", "2", "3"])
    }

    @Test func aLongPollWaitsForAReadThatFails() async throws {
        let stage = try await self.stage("c", reads: .unavailable)
        let reader = try await Reader(stage, [(channel("c"), .after(position(1, 2)))], framing: .element)
        #expect(try await stage.run { reader.answer } == nil)
        await stage.log.waitFor { $0.reads.count == 2 }
        #expect(try await stage.run { reader.answer }?.hasSuffix(",\"channel\":\"c\",\"data\":3},") == true)
    }

    @Test func nothingIsReadForThoseWhoLeft() async throws {
        let stage = try await self.stage("c", "d", reads: .none.late)
        let reader = try await Reader(stage, [(channel("c"), .after(position(1, 0)))])
        try await reader.leave()
        await stage.release()
        #expect(try await reader.data() == [])
        #expect(try await stage.run { stage.log.reads.count } == 1)
        #expect(await stage.sequencer.subscribers(of: channel("c")) == 0)
    }

    @Test func aReadThatWaitsIsNotRepeated() async throws {
        let stage = try await self.stage("c", reads: .none.late)
        let readers = [
            try await Reader(stage, [(channel("c"), .after(position(1, 2)))]), try await Reader(stage, [(channel("c"), .after(position(1, 2)))]),
        ]
        try await stage.publish("c", "4")
        #expect(try await stage.run { stage.log.reads.count } == 1)
        await stage.release()
        for reader in readers { #expect(try await reader.data() == ["3", "4"]) }
    }

    @Test func whatARefusedCommitHeldIsNeverRead() async throws {
        let stage = try await self.stage("c")
        try await stage.appends(.unavailable)
        try await stage.publish("c", "lost")
        try await stage.publish("c", "4")
        let reader = try await Reader(stage, [(channel("c"), .after(position(1, 2)))])
        #expect(try await reader.data() == ["3", "4"])
    }
}
