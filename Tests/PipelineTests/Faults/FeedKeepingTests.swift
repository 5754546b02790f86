import NIOCore
import NIOEmbedded
import PipelineTestKit
import Testing

@testable import Pipeline

/// Which events and feeds a fanout keeps in memory, and when it drops them.
@Suite(.timeLimit(.minutes(1))) struct FeedKeepingTests {
    private func stage(_ change: (inout Limits) -> Void = { _ in }) async throws -> Stage {
        try await Stage { limits in
            limits.feedSecondsMax = 2
            limits.feedBytesMax = 64 * 1024 * 1024
            change(&limits)
        }
    }

    /// Relays each event as a commit of its own.
    private func relay(_ stage: Stage, _ name: String, _ offsets: ClosedRange<UInt64>) async throws {
        try await stage.run { for offset in offsets { stage.fanout.relay([.events(RelayedEvents(run(name, 1, offset...offset), under: 1))]) } }
    }

    private func tick(_ stage: Stage, _ count: Int = 1) async throws {
        for _ in 0..<count {
            try await stage.run { stage.fanout.onLoop { $0.tick() } }
            await stage.loop.advanceTime(by: .seconds(1))
        }
    }

    private func bytes(_ stage: Stage) async -> Int { await stage.fanout.currentMetrics.feedBytes }

    private func feeds(_ stage: Stage) async -> Int { await stage.fanout.currentMetrics.feeds }

    // MARK: - Old events

    @Test func oldEventsAreDroppedInSlices() async throws {
        let stage = try await self.stage()
        let reader = try await Reader(stage, [(channel("c"), .live)])
        // Each event has its own turn of the loop. In one turn, the pass would join the chunks.
        for offset in 1...1000 as ClosedRange<UInt64> { try await self.relay(stage, "c", offset...offset) }
        try await self.tick(stage, 2)
        let all = await self.bytes(stage)
        let rest = try await stage.loop.executeInContext {
            stage.fanout.onLoop { fanout in
                fanout.tick()
                return fanout.currentMetrics.feedBytes
            }
        }
        // The first slice has dropped only a part, because the loop polls its sockets between slices.
        #expect(rest > all / 2 && rest < all)
        await stage.loop.advanceTime(by: .seconds(1))
        #expect(await self.bytes(stage) == 0)
        #expect(try await reader.data().count == 1000)
    }

    @Test func memoryIsNotCountedTwice() async throws {
        let stage = try await self.stage { $0.feedBytesTotalMax = 20_000 }
        for round in 0..<4 {
            // A feed is closed while its events are young, and events of other feeds displace them.
            let name = "a\(round)"
            let leaver = try await Reader(stage, [(channel(name), .live)])
            try await leaver.leave()
            try await self.tick(stage)
            try await self.relay(stage, name, 1...5)
            try await self.tick(stage, 2)
            try await self.relay(stage, name, 6...10)
            let other = try await Reader(stage, [(channel("b\(round)"), .live)])
            try await self.relay(stage, "b\(round)", 1...400)
            #expect((1...20_000).contains(await self.bytes(stage)))
            try await other.leave()
            try await self.tick(stage, 8)
            #expect(await self.bytes(stage) == 0)
            #expect(await self.feeds(stage) == 0)
        }
    }

    // MARK: - Feeds without subscribers

    @Test func aFeedWithoutEventsStaysASecond() async throws {
        let stage = try await self.stage { $0.feedSecondsMax = 10 }
        try await (try await Reader(stage, [(channel("c"), .live)])).leave()
        try await self.tick(stage)
        #expect(await self.feeds(stage) == 1)
        try await self.tick(stage)
        #expect(await self.feeds(stage) == 0)
        #expect(await stage.sequencer.machine.channels.count == 0)
    }

    @Test func aFeedWithEventsStaysLonger() async throws {
        let stage = try await self.stage { $0.feedSecondsMax = 10 }
        let reader = try await Reader(stage, [(channel("c"), .live)])
        try await self.relay(stage, "c", 1...3)
        try await reader.leave()
        try await self.tick(stage, 10)
        #expect(await self.feeds(stage) == 1)
        try await self.tick(stage)
        #expect(await self.feeds(stage) == 0)
    }

    @Test func aFeedWithANewSubscriberStays() async throws {
        let stage = try await self.stage()
        for _ in 0..<10 {
            // A long-poll subscribes and unsubscribes.
            try await (try await Reader(stage, [(channel("c"), .live)])).leave()
            try await self.tick(stage)
            #expect(await self.feeds(stage) == 1)
        }
        let reader = try await Reader(stage, [(channel("c"), .live)])
        try await self.tick(stage, 10)
        #expect(await self.feeds(stage) == 1)
        try await reader.leave()
        try await self.tick(stage, 4)
        #expect(await self.feeds(stage) == 0)
    }

    @Test func feedsCloseInSlices() async throws {
        let stage = try await self.stage()
        for start in stride(from: 0, to: 2000, by: 20) {
            try await (try await Reader(stage, (start..<start + 20).map { (channel("c\($0)"), .live) })).leave()
        }
        try await self.tick(stage)
        #expect(await self.feeds(stage) == 2000)
        let left = try await stage.loop.executeInContext {
            stage.fanout.onLoop { fanout in
                fanout.tick()
                return fanout.currentMetrics.feeds
            }
        }
        #expect(left > 1000 && left < 2000)
        await stage.loop.advanceTime(by: .seconds(1))
        #expect(await self.feeds(stage) == 0)
        #expect(await stage.sequencer.machine.channels.count == 0)
    }

    @Test func aChannelWithoutEventsIsNotCounted() async throws {
        let stage = try await self.stage()
        _ = try await Reader(stage, (0..<20).map { (channel("c\($0)"), .live) })
        #expect(try await stage.run { stage.log.stored.count } == 0)
        try await stage.publish("c3")
        #expect(try await stage.run { stage.log.stored.count } == 1)
    }
}
