import NIOCore
import NIOEmbedded
import Partitioning
import PipelineTestKit
import TestKit
import Testing

@testable import Pipeline

/// Several sequencers share the partitions of a node, and behave like one.
@Suite(.timeLimit(.minutes(1))) struct SequencersTests {
    /// Three sequencers over one log with a publisher and an edge. All are on one loop, because the log of these tests is confined to one loop.
    private final class Stages: PublishSink, Edge, @unchecked Sendable {
        let loop = NIOAsyncTestingEventLoop()
        let log: FaultLog
        let clock = TestClock(60_000)
        let sequencers: Sequencers
        let publisher: Publisher
        /// Outcomes by number, and the relayed events. Confined to the loop.
        private(set) var outcomes: [UInt64: PublishOutcome] = [:]
        private(set) var relayed: [String] = []

        init(loops: Int = 3, storages: Int = 1, _ change: (inout Limits) -> Void = { _ in }) async {
            var limits = Limits()
            change(&limits)
            self.log = FaultLog(loop: self.loop, storages: storages)
            self.sequencers = Sequencers(
                loops: Array(repeating: self.loop, count: loops), log: self.log, limits: limits,
                clocks: Clocks(wall: { [clock] in clock.now }, steady: { [clock] in clock.now }))
            self.publisher = Publisher(loop: self.loop, router: self.sequencers.router)
            await self.sequencers.add(self, as: .loop(0))
        }

        func run() async { await self.loop.run() }

        /// Does the upkeep of one second, and waits for its end.
        func maintain() async {
            await self.sequencers.tick()
            while !Task.isCancelled, await self.sequencers.isMaintaining { await self.run() }
        }

        /// Publishes in one turn of the loop; `first` is the number of the first publish.
        func send(_ names: [String], from first: UInt64 = 0) async throws {
            try await self.loop.executeInContext {
                for (number, name) in names.enumerated() {
                    let event = Event(channel: channel(name), payload: ByteBuffer(string: name))
                    self.publisher.onLoop { $0.publish(event, sink: self, token: first + UInt64(number)) }
                }
            }
        }

        /// Publishes, and returns when all publishes have their outcomes.
        func publish(_ names: [String], from first: UInt64 = 0) async throws {
            try await self.send(names, from: first)
            while !Task.isCancelled, try await self.onLoop({ self.outcomes[first + UInt64(names.count) - 1] == nil || self.outcomes.count < names.count }) {
                await self.run()
            }
        }

        func onLoop<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async throws -> Value { try await self.loop.executeInContext(body) }

        func published(_ outcome: PublishOutcome, token: UInt64) { self.outcomes[token] = outcome }

        func relay(_ messages: [EdgeMessage]) {
            for case .events(let events) in messages { self.relayed += events.events.map { "\($0.event.channel) \($0.position.offset)" } }
        }
    }

    /// The sequencer of a channel, by its index.
    private func index(of name: String, in stages: Stages) -> Int { stages.sequencers.router.index(of: channel(name)) }

    @Test func everyPartitionHasOneSequencer() async throws {
        let stages = await Stages()
        #expect(await stages.sequencers.acquire(Grant.everyPartition()).isEmpty)
        var served: [PartitionID] = []
        for sequencer in stages.sequencers.all { served += await sequencer.machine.grants.map(\.partition) }
        #expect(served.sorted() == Array(0..<Partitions.countByDefault))
        for sequencer in stages.sequencers.all { #expect(await sequencer.machine.grants.count >= Partitions.countByDefault / 3) }
    }

    @Test func eventsOfOneTurnGoToTheirSequencersAndStayInOrder() async throws {
        let stages = await Stages()
        _ = await stages.sequencers.acquire(Grant.everyPartition())
        let names = (0..<60).map { "c\($0 % 10)" }
        try await stages.loop.executeInContext {
            stages.sequencers.router.interest(
                Set(names).map { InterestChange(channel: channel($0), subscribers: 1, wanted: .open) }, edge: .loop(0))
        }
        await stages.run()
        try await stages.publish(names)
        for name in Set(names) {
            let offsets = try await stages.onLoop {
                names.indices.filter { names[$0] == name }.map { number in
                    if case .published(let position, _) = stages.outcomes[UInt64(number)] { position.offset } else { 0 as UInt64 }
                }
            }
            #expect(offsets == Array(1...6), "\(name)")
            let relayed = try await stages.onLoop { stages.relayed.filter { $0.hasPrefix("\(name) ") } }
            #expect(relayed == (1...6).map { "\(name) \($0)" })
        }
        #expect(Set(names.map { self.index(of: $0, in: stages) }).count == 3, "all three sequencers have channels")
        #expect(await stages.sequencers.metrics.published == 60)
        #expect(await stages.sequencers.subscribers(of: channel("c3")) == 1)
        #expect(try await stages.sequencers.head(of: channel("c3")).offset == 6)
    }

    @Test func aPageHasTheChannelsOfAllSequencers() async throws {
        let stages = await Stages()
        _ = await stages.sequencers.acquire(Grant.everyPartition())
        try await stages.publish((0..<10).map { "a\($0)" })
        try await stages.loop.executeInContext {
            stages.sequencers.router.interest(
                (0..<10).map { InterestChange(channel: channel("b\($0)"), subscribers: 2, wanted: .open) }, edge: .loop(0))
        }
        await stages.run()
        let page = try await stages.sequencers.channels(prefix: "", after: nil, limit: 100)
        #expect(page.map(\.channel.string) == (0..<10).map { "a\($0)" } + (0..<10).map { "b\($0)" })
        #expect(page.map(\.subscribers) == Array(repeating: 0, count: 10) + Array(repeating: 2, count: 10))
    }

    @Test func grantsEndAtTheirSequencer() async throws {
        let stages = await Stages()
        _ = await stages.sequencers.acquire(Grant.everyPartition())
        let partition = Partitions().partition(ofHash: channel("c").hash64)
        await stages.sequencers.handOver([Grant(partition: partition, ownerEpoch: 1)])
        try await stages.publish(["c"])
        #expect(try await stages.onLoop { stages.outcomes[0] } == .refused(.moved))
        #expect(await stages.sequencers.acquire([Grant(partition: partition, ownerEpoch: 2)]).isEmpty)
        await stages.sequencers.release([Grant(partition: partition, ownerEpoch: 1)])
        #expect(try await stages.sequencers.head(of: channel("c")).offset == 0)
        await stages.sequencers.release([Grant(partition: partition, ownerEpoch: 2)])
        await #expect(throws: LogError.self) { try await stages.sequencers.head(of: channel("c")) }
    }

    @Test func oldHeadsOfAllSequencersAreForgotten() async throws {
        let stages = await Stages { limits in
            limits.headSecondsMax = 1
            limits.historySecondsMax = 1
        }
        _ = await stages.sequencers.acquire(Grant.everyPartition())
        let names = (0..<12).map { "c\($0)" }
        try await stages.publish(names)
        await stages.maintain()
        #expect(try await stages.onLoop { stages.log.forgets } == [], "the heads are not old yet")
        stages.clock.advance(seconds: 60)
        await stages.maintain()
        #expect(try await stages.onLoop { stages.log.stored.isEmpty })
        #expect(try await stages.onLoop { Set(stages.log.forgets.joined()) } == Set(names.map { channel($0) }))
    }

    /// The limit on parked publishes applies to each sequencer separately.
    @Test func aFullSequencerRefusesOnlyItsOwnPublishes() async throws {
        let stages = await Stages { $0.parkedPublishesMax = 10 }
        // Nothing is served yet, so publishes are parked.
        try await stages.onLoop { stages.log.sealFaults = [.unavailable, .unavailable, .unavailable] }
        #expect(await stages.sequencers.acquire(Grant.everyPartition()).count == Partitions.countByDefault)
        func names(of sequencer: Int) -> [String] { Array((0..<100).map { "c\($0)" }.filter { self.index(of: $0, in: stages) == sequencer }.prefix(10)) }
        try await stages.send(names(of: 1))
        await stages.run()
        #expect(await stages.sequencers.parkedEvents == [0, 10, 0])
        try await stages.send([names(of: 1)[0], names(of: 2)[0]], from: 10)
        await stages.run()
        #expect(await stages.sequencers.parkedEvents == [0, 10, 1])
        #expect(try await stages.onLoop { stages.outcomes } == [10: .refused(.overloaded)])
    }

    @Test func aStorageThatDoesNotAnswerDelaysOnlyItsPartitions() async throws {
        let stages = await Stages(loops: 2, storages: 3)
        #expect(await stages.sequencers.acquire(Grant.everyPartition()).isEmpty)
        let names = (0..<60).map { "c\($0)" }
        func storage(_ name: String) -> Int { Partitions().partition(ofHash: channel(name).hash64) % 3 }
        // The first two appends are of the two sequencers of one storage.
        let slow = names.filter { storage($0) == 1 }
        let others = names.filter { storage($0) != 1 }
        try await stages.onLoop { stages.log.appendFaults = [.wait, .wait] }
        try await stages.send(slow)
        await stages.run()
        try await stages.publish(others, from: 100)
        #expect(try await stages.onLoop { Set(stages.outcomes.keys) } == Set((0..<others.count).map { UInt64(100 + $0) }))
        await stages.log.release()
        while !Task.isCancelled, try await stages.onLoop({ stages.outcomes.count < names.count }) { await stages.run() }
        #expect(try await stages.onLoop { stages.log.appendedStorages.allSatisfy { $0.count == 1 } })
    }
}
