import NIOCore
import PipelineTestKit
import Testing

@testable import Pipeline

@Suite(.timeLimit(.minutes(1))) struct SequencerBoundsTests {
    private final class Origin: PublishOrigin, @unchecked Sendable {
        private var parts: [UInt64: [Int: [PublishOutcome]]] = [:]
        /// The outcomes of each batch, in the order of its events.
        var outcomes: [UInt64: [PublishOutcome]] { self.parts.mapValues { $0.sorted { $0.key < $1.key }.flatMap(\.value) } }

        func published(_ outcomes: [PublishOutcome], batch: UInt64, from index: Int) {
            precondition(self.parts[batch]?[index] == nil, "A part has two outcomes")
            self.parts[batch, default: [:]][index] = outcomes
        }
    }

    private func batch(_ id: UInt64, _ count: Int, bytes: Int = 1, _ origin: Origin) -> PublishBatch {
        let event = Event(channel: channel("c"), payload: ByteBuffer(repeating: 0x61, count: bytes))
        return PublishBatch(id: id, events: Array(repeating: event, count: count), origin: origin)
    }

    // MARK: - Limits on parked publishes

    @Test func parkedPublishesAreLimited() async throws {
        let stage = try await Stage { $0.parkedPublishesMax = 2 }
        try await stage.appends(.none.late)
        for _ in 0..<4 { try await stage.publish() }
        #expect(try await stage.answers == [.refused(.overloaded)])
        await stage.release()
        #expect(try await stage.answers == [done(1), done(2), done(3), .refused(.overloaded)])
        let after = try await stage.publish()
        #expect(try await stage.outcome(after) == done(4))
    }

    @Test func parkedBytesAreLimited() async throws {
        let stage = try await Stage { $0.parkedBytesMax = 1000 }
        let origin = Origin()
        try await stage.appends(.none.late)
        for (id, bytes) in [(0, 1), (1, 500), (2, 500), (3, 300)] as [(UInt64, Int)] {
            let batch = self.batch(id, 1, bytes: bytes, origin)
            try await stage.run { stage.sequencer.publish(batch) }
        }
        #expect(try await stage.run { origin.outcomes } == [2: [.refused(.overloaded)]])
        await stage.release()
        #expect(try await stage.run { origin.outcomes } == [0: [done(1)], 1: [done(2)], 2: [.refused(.overloaded)], 3: [done(3)]])
    }

    @Test func aBatchAboveTheLimitIsAcceptedIfNothingIsParked() async throws {
        let stage = try await Stage { $0.parkedPublishesMax = 2 }
        let origin = Origin()
        try await stage.appends(.none.late)
        for (id, count) in [(0, 1), (1, 5), (2, 1)] as [(UInt64, Int)] {
            let batch = self.batch(id, count, origin)
            try await stage.run { stage.sequencer.publish(batch) }
        }
        #expect(try await stage.run { origin.outcomes } == [2: [.refused(.overloaded)]])
        await stage.release()
        #expect(try await stage.run { origin.outcomes[1] } == (2...6).map { done($0) })
    }

    @Test func aLargeBatchIsSplitIntoSeveralCommits() async throws {
        let stage = try await Stage { $0.commitEventsMax = 4 }
        try await stage.listen()
        let origin = Origin()
        let (large, small) = (self.batch(0, 10, origin), self.batch(1, 3, origin))
        try await stage.run {
            stage.sequencer.publish(large)
            stage.sequencer.publish(small)
        }
        try await stage.settle { origin.outcomes[1] != nil }
        #expect(try await stage.run { stage.log.appends.map(\.count) } == [4, 4, 2, 3])
        #expect(try await stage.run { origin.outcomes } == [0: (1...10).map { done($0) }, 1: (11...13).map { done($0) }])
        #expect(try await stage.run { stage.relayed } == (1...13).map { position(1, $0) })
        #expect(await stage.sequencers.parkedEvents == [0])
    }

    @Test func partsOfABatchHaveTheirOwnOutcomes() async throws {
        let stage = try await Stage { $0.commitEventsMax = 2 }
        let origin = Origin()
        try await stage.appends(.none, .unavailable)
        let batch = self.batch(0, 5, origin)
        try await stage.run { stage.sequencer.publish(batch) }
        try await stage.settle { origin.outcomes[0]?.count == 5 }
        #expect(try await stage.run { origin.outcomes } == [0: [done(1), done(2), full, full, done(3)]])
    }

    @Test func theRestOfABatchIsRefusedDuringAnUncertainCommit() async throws {
        let stage = try await Stage { $0.commitEventsMax = 2 }
        let origin = Origin()
        // Anything else would be committed by the append that is left.
        try await stage.appends(.uncertainButStored.late)
        let batch = self.batch(0, 5, origin)
        try await stage.run {
            stage.sequencer.publish(batch)
            stage.log.uncertain = [stage.partition(of: "c")]
        }
        await stage.release()
        try await stage.settle { origin.outcomes[0]?.count == 3 }
        try await stage.run { stage.log.uncertain = [] }
        try await stage.settle { origin.outcomes[0]?.count == 5 }
        let uncertain = PublishOutcome.refused(SequencerMachine.uncertain)
        #expect(try await stage.run { origin.outcomes } == [0: [done(1), done(2), uncertain, uncertain, uncertain]])
        #expect(try await stage.stored().count == 2)
    }

    // MARK: - Duplicates

    @Test func aMessageIDIsADuplicateOnlyInItsChannel() async throws {
        let stage = try await Stage()
        try await stage.publish("c", id: "m")
        try await stage.publish("d", id: "m")
        try await stage.publish("c", id: "n")
        try await stage.publish("c", id: "m")
        #expect(try await stage.answers == [done(1), done(1), done(2), duplicate(1)])
        #expect(await stage.metrics.duplicates == 1)
    }

    @Test func duplicatesOfACommitInFlightWaitForIt() async throws {
        let stage = try await Stage()
        try await stage.appends(.none.late)
        try await stage.publish(id: "m")
        try await stage.publish(id: "m")
        #expect(try await stage.answers == [])
        await stage.release()
        #expect(try await stage.answers == [done(1), duplicate(1)])
        #expect(try await stage.run { stage.log.appends.count } == 1)
    }

    @Test func duplicatesOfStoredEventsAreDetected() async throws {
        let stage = try await Stage(isStarted: false)
        try await stage.run {
            stage.log.known[channel("c")] = ChannelHead(head: position(3, 7), messageIDs: [("m", position(3, 6), 0)])
            stage.log.epochFloor = 5
        }
        try await stage.start()
        try await stage.publish(id: "m")
        try await stage.publish(id: "n")
        #expect(try await stage.answers == [duplicate(6, 3), done(8, 3)])
    }

    @Test func messageIDsExpireWithTheHistory() async throws {
        let stage = try await Stage { $0.historySecondsMax = 10 }
        try await stage.publish(id: "m")
        try await stage.run { stage.now = 10_000 }
        await stage.sequencers.tick()
        try await stage.publish(id: "m")
        try await stage.run { stage.now = 10_001 }
        await stage.sequencers.tick()
        try await stage.publish(id: "m")
        #expect(try await stage.answers == [done(1), duplicate(1), done(2)])
    }

    // MARK: - Start and stop

    @Test func publishesWaitForTheSeal() async throws {
        let stage = try await Stage(isStarted: false)
        try await stage.run { stage.log.sealFaults = [.unavailable] }
        await #expect(throws: LogError.self) { try await stage.start() }
        try await stage.publish()
        #expect(try await stage.answers == [])
        try await stage.start()
        #expect(try await stage.answers == [done(1)])
    }

    @Test func stoppingWaitsForAcceptedPublishes() async throws {
        let stage = try await Stage()
        try await stage.appends(.none.late)
        try await stage.publish()
        try await stage.publish()
        async let stopped: Void = stage.sequencers.stop(deadline: .now + .seconds(50))
        // Stopping has begun when publishes are refused.
        while try await stage.outcome(try await stage.publish()) != .refused(.stopping) {}
        await stage.release()
        await stopped
        #expect(try await Array(stage.answers.prefix(2)) == [done(1), done(2)])
    }

    @Test func stoppingEndsAtItsDeadline() async throws {
        let stage = try await Stage()
        try await stage.appends(.none.late)
        try await stage.publish()
        await stage.sequencers.stop(deadline: .now)
        #expect(try await stage.answers == [])
        await stage.release()
        #expect(try await stage.answers == [done(1)])
    }

    // MARK: - Upkeep

    @Test func aFailedForgetOfTheLogIsRepeated() async throws {
        let stage = try await Stage { limits in
            limits.headSecondsMax = 1
            limits.historySecondsMax = 1
        }
        try await stage.run { stage.log.forgetFaults = [.unavailable] }
        try await stage.publish()
        try await stage.run { stage.now = 60_000 }
        while try await stage.run({ stage.log.forgets.count }) < 2 { await stage.sequencers.tick() }
        while try await stage.run({ stage.log.epochFloor }) == 1 {}
        #expect(try await stage.run { stage.log.forgets } == [[channel("c")], [channel("c")]])
        #expect(await stage.metrics.upkeepFailures == 1)
        // A forgotten channel that is used again begins a new epoch.
        let again = try await stage.publish()
        #expect(try await stage.outcome(again) == done(1, 2))
    }

    @Test func oneTrimAtATime() async throws {
        let stage = try await Stage()
        try await stage.run { stage.log.trimFaults = [.unavailable.late] }
        for _ in 0..<3 { await stage.sequencers.tick() }
        #expect(try await stage.run { stage.log.trims } == 1)
        await stage.release()
        #expect(await stage.metrics.upkeepFailures == 1)
        await stage.sequencers.tick()
        #expect(try await stage.run { stage.log.trims } == 2)
    }
}
