import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Partitioning
import PipelineTestKit
import Testing

@testable import Pipeline

@Suite(.timeLimit(.minutes(1))) struct SequencerFaultTests {
    // MARK: - A log that is slow

    @Test func nothingIsAcknowledgedOrRelayedBeforeItIsStored() async throws {
        let stage = try await Stage()
        try await stage.listen()
        try await stage.appends(.none.late)
        try await stage.publish()
        #expect(try await stage.run { stage.history } == [])
        #expect(try await stage.sequencers.head(of: channel("c")) == position(1, 0))
        await stage.release()
        #expect(try await stage.run { stage.history } == ["0", "1-1"])
        #expect(try await stage.sequencers.head(of: channel("c")) == position(1, 1))
    }

    @Test func publishesBehindASlowCommitAreCommittedTogether() async throws {
        let stage = try await Stage()
        try await stage.appends(.none.late)
        for _ in 0..<5 { try await stage.publish() }
        #expect(await stage.sequencers.parkedEvents == [4])
        #expect(try await stage.answers == [])
        await stage.release()
        #expect(try await stage.answers == (1...5).map { done($0) })
        #expect(try await stage.run { stage.log.appends.map(\.count) } == [1, 4])
    }

    @Test func theEventsOfACommitAreLimited() async throws {
        let stage = try await Stage { $0.commitEventsMax = 3 }
        try await stage.appends(.none.late)
        for _ in 0..<8 { try await stage.publish() }
        await stage.release()
        try await stage.settle { stage.outcomes.count == 8 }
        #expect(try await stage.answers == (1...8).map { done($0) })
        #expect(try await stage.run { stage.log.appends.map(\.count) } == [1, 3, 3, 1])
    }

    // MARK: - A log that refuses

    @Test func aRefusedCommitUsesNoPosition() async throws {
        let stage = try await Stage()
        try await stage.listen()
        try await stage.appends(.unavailable)
        try await stage.publish()
        try await stage.publish()
        #expect(try await stage.answers == [full, done(1)])
        #expect(try await stage.run { stage.relayed } == [position(1, 1)])
        #expect(await stage.metrics.failedCommits == 1)
        #expect(await stage.metrics.published == 1)
    }

    @Test(arguments: [LogError.Code.unavailable, .unusable])
    func everyCertainErrorRefuses(_ code: LogError.Code) async throws {
        let stage = try await Stage()
        try await stage.appends(.init(error: LogError(code, "full")))
        try await stage.publish()
        #expect(try await stage.answers == [full])
        #expect(try await stage.run { stage.log.appends.count } == 1)
    }

    // MARK: - Another owner

    @Test func aFencedPartitionIsReleasedAndTheOthersAreServed() async throws {
        let stage = try await Stage()
        try await stage.listen()
        let partition = stage.partition(of: "c")
        try await stage.publish("c", id: "m")
        try await stage.run { stage.log.fenced = [partition] }
        try await stage.appends(.none.late)
        try await stage.publish("c")
        try await stage.publish("d")
        await stage.release()
        #expect(try await stage.answers == [done(1), moved, done(1)])
        // The next publish is refused without a call of the log.
        try await stage.publish("c", id: "m")
        #expect(try await stage.answers.last == moved)
        #expect(try await stage.run { stage.log.appends.count } == 3)
        #expect(await stage.metrics.fencedPartitions == 1)
        // Under a newer owner epoch the channel's head is read again, and edges receive it.
        try await stage.run { stage.log.fenced = [] }
        #expect(await stage.sequencers.acquire([Grant(partition: partition, ownerEpoch: 2)]).isEmpty)
        try await stage.publish("c")
        #expect(try await stage.answers.last == done(2))
        #expect(try await stage.run { stage.opened } == [position(1, 0), position(1, 1)])
    }

    @Test func onePartOfACommitIsFencedAndTheOthersAreStored() async throws {
        let stage = try await Stage()
        let partition = stage.partition(of: "c")
        try await stage.run { stage.log.fenced = [partition] }
        try await stage.appends(.none.late)
        try await stage.publish("e")
        for name in ["d", "c", "d", "c"] { try await stage.publish(name) }
        await stage.release()
        #expect(try await stage.answers == [done(1), done(1), moved, done(2), moved])
        #expect(try await stage.stored("d").count == 2)
        #expect(try await stage.stored("c").isEmpty)
    }

    @Test func aPartitionWhoseHeadsAreFencedIsReleased() async throws {
        let stage = try await Stage()
        let partition = stage.partition(of: "c")
        try await stage.run { stage.log.fencedHeads = [partition] }
        for name in ["c", "d", "c"] { try await stage.publish(name) }
        #expect(try await stage.answers == [moved, done(1), moved])
        #expect(try await stage.run { stage.log.heads.joined().filter { $0 == channel("c") }.count } == 1)
        #expect(await stage.metrics.fencedPartitions == 1)
    }

    // MARK: - A storage that loses data

    @Test func aChannelThatLostEventsBeginsANewEpochAndTheOthersContinue() async throws {
        let stage = try await Stage()
        try await stage.listen("c")
        let partition = stage.partition(of: "c")
        // Another channel of the same partition, which loses nothing.
        let other = (0...).lazy.map { "o\($0)" }.first { stage.partition(of: $0) == partition }!
        try await stage.listen(other)
        for name in ["c", "c", other] { try await stage.publish(name, id: "m-\(name)") }
        try await stage.publish("c", id: "second")
        try await stage.run {
            stage.log.lost = [partition]
            stage.log.lose(channel("c"), from: 2)
        }
        // The commit that finds it is refused; its publisher repeats it.
        try await stage.publish("c", id: "third")
        #expect(try await stage.answers.last == .refused(.logUnavailable("lost")))
        #expect(try await stage.run { stage.log.seals.last?.map(\.partition) } == [partition])
        for name in ["c", other] { try await stage.publish(name, id: "third") }
        #expect(try await stage.answers.suffix(2) == [done(1, 2), done(2, 1)])
        // The edge is told where the channel begins again; of the other channel it sees nothing new.
        #expect(try await stage.run { stage.opened } == [position(1, 0), position(1, 0), position(2, 0), position(1, 1)])
        // The lost event can be published again, the kept one is a duplicate.
        try await stage.publish("c", id: "second")
        try await stage.publish("c", id: "m-c")
        #expect(try await stage.answers.suffix(2) == [done(2, 2), duplicate(1, 1)])
        #expect(await stage.metrics.lostPartitions == 1)
    }

    @Test func lostDataIsDetectedWithoutAPublish() async throws {
        let stage = try await Stage()
        try await stage.listen("c")
        try await stage.publish("c")
        try await stage.run {
            stage.log.lost = [stage.partition(of: "c")]
            stage.log.lose(channel("c"), from: 1)
        }
        let tick = Task { await stage.sequencers.tick() }
        try await stage.settle { stage.opened.count == 2 }
        await tick.value
        #expect(try await stage.run { stage.opened } == [position(1, 0), position(2, 0)])
    }

    @Test func publishesWaitInOrderWhileAPartitionIsSealedAgain() async throws {
        let stage = try await Stage()
        try await stage.publish("c")
        try await stage.run {
            stage.log.lost = [stage.partition(of: "c")]
            stage.log.sealFaults = [.none.late]
        }
        try await stage.publish("c", "refused")
        for number in 1...3 { try await stage.publish("c", "\(number)") }
        try await stage.publish("d")
        #expect(try await stage.answers.count == 3)
        await stage.release()
        try await stage.settle { stage.outcomes.count == 6 }
        #expect(try await stage.stored("c") == ["x", "1", "2", "3"])
    }

    @Test func publishesAreRefusedWhenAPartitionCannotBeSealedAgain() async throws {
        let stage = try await Stage()
        try await stage.publish("c")
        try await stage.run {
            stage.log.lost = [stage.partition(of: "c")]
            stage.log.sealFaults = [.unavailable.late, .none]
        }
        try await stage.publish("c", "lost")
        for number in 1...3 { try await stage.publish("c", "\(number)") }
        await stage.release()
        try await stage.settle { stage.outcomes.count == 5 }
        #expect(try await stage.answers.suffix(3) == [full, full, full])
        // The seal is repeated a second later.
        try await stage.settle { stage.log.seals.count == 2 }
        try await stage.publish("c", "again")
        try await stage.settle { stage.outcomes.count == 6 }
        #expect(try await stage.stored("c") == ["x", "again"])
    }

    @Test func publishersOfAnUncertainCommitAreNotKeptWaiting() async throws {
        let stage = try await Stage()
        try await stage.appends(.uncertainButStored, .uncertain, .uncertain.late)
        try await stage.publish("c", id: "m")
        try await stage.run { stage.now += 1500 }
        try await stage.settle { stage.outcomes.count == 1 }
        #expect(try await stage.answers.first.map { if case .refused(.logUnavailable) = $0 { true } else { false } } == true)
        try await stage.settle { stage.log.appends.count == 3 }
        // The log answers in the end, and the repeated publish is a duplicate.
        await stage.release()
        try await stage.settle { stage.log.appends.count == 4 }
        try await stage.publish("c", id: "m")
        #expect(try await stage.answers.last == duplicate(1))
        #expect(try await stage.stored("c") == ["x"])
    }

    @Test func handingOverWaitsForTheCommitInFlightAndRefusesOtherPublishes() async throws {
        let stage = try await Stage()
        let grant = Grant(partition: stage.partition(of: "c"), ownerEpoch: 1)
        try await stage.appends(.none.late)
        try await stage.publish("c")
        try await stage.publish("c")
        async let handedOver: Void = stage.sequencers.handOver([grant])
        while await !stage.isHandingOver(grant) { try await stage.run {} }
        await stage.release()
        await handedOver
        #expect(try await stage.answers == [done(1), moved])
        #expect(try await stage.stored() == ["x"])
        await stage.sequencers.release([grant])
        #expect(try await stage.run { stage.log.released } == [grant])
    }

    /// A release applies only to its own owner epoch, not to a newer one.
    @Test func releasingAnOlderGrantKeepsTheNewerGrant() async throws {
        let stage = try await Stage()
        let partition = stage.partition(of: "c")
        _ = await stage.sequencers.acquire([Grant(partition: partition, ownerEpoch: 2)])
        await stage.sequencers.release([Grant(partition: partition, ownerEpoch: 1)])
        try await stage.publish("c")
        #expect(try await stage.answers == [done(1)])
    }

    // MARK: - Heads

    @Test func aHeadIsReadOnceAtTheFirstUseOfItsChannel() async throws {
        let stage = try await Stage()
        try await stage.run { stage.log.known[channel("c")] = ChannelHead(head: position(3, 7)) }
        try await stage.listen("d")
        for name in ["c", "c", "d", "c"] { try await stage.publish(name) }
        #expect(try await stage.run { stage.log.heads.map { $0.map(\.string) } } == [["d"], ["c"]])
        #expect(try await stage.answers == [done(8, 3), done(9, 3), done(1), done(10, 3)])
    }

    @Test func channelsUsedDuringAReadAreInTheNextRead() async throws {
        let stage = try await Stage()
        try await stage.run { stage.log.headFaults = [.none.late] }
        for name in ["a", "b", "c", "b"] { try await stage.publish(name) }
        try await stage.listen("d")
        #expect(try await stage.run { stage.log.heads.map(\.count) } == [1])
        #expect(try await stage.answers == [])
        await stage.release()
        #expect(try await stage.answers == [done(1), done(1), done(1), done(2)])
        #expect(try await stage.run { Set(stage.log.heads.joined().map(\.string)) } == ["a", "b", "c", "d"])
        #expect(try await stage.run { stage.opened } == [position(1, 0)])
    }

    @Test func aHeadThatCannotBeReadRefusesItsChannelOnly() async throws {
        let stage = try await Stage()
        try await stage.publish("d")
        try await stage.run { stage.log.headFaults = [.unavailable] }
        try await stage.publish("c")
        try await stage.publish("d")
        #expect(try await stage.answers == [done(1), full, done(2)])
        try await stage.publish("c")
        #expect(try await stage.answers.last == done(1))
    }

    @Test func edgesWaitForAHeadThatCannotBeReadYet() async throws {
        let stage = try await Stage()
        try await stage.run { stage.log.headFaults = [.unavailable] }
        try await stage.listen()
        #expect(try await stage.run { stage.opened } == [])
        await stage.loop.advanceTime(by: .seconds(1))
        try await stage.run {}
        #expect(try await stage.run { stage.opened } == [position(1, 0)])
    }

    @Test func theSameMessageIsAcceptedAfterARefusal() async throws {
        let stage = try await Stage()
        try await stage.appends(.unavailable)
        for _ in 0..<3 { try await stage.publish(id: "m") }
        #expect(try await stage.answers == [full, done(1), duplicate(1)])
        #expect(try await stage.stored() == ["x"])
    }

    @Test func publishesBehindARefusedCommitAreCommitted() async throws {
        let stage = try await Stage()
        try await stage.appends(.unavailable.late)
        try await stage.publish(id: "m", "a")
        try await stage.publish(id: "m", "b")
        try await stage.publish("d", "c")
        await stage.release()
        #expect(try await stage.answers == [full, done(1), done(1)])
        #expect(try await stage.stored() == ["b"])
    }

    @Test func aRefusedChannelDoesNotCountForTheLimit() async throws {
        let stage = try await Stage { $0.channelsMax = 1 }
        try await stage.appends(.unavailable)
        try await stage.publish("a")
        try await stage.publish("b")
        try await stage.publish("a")
        #expect(try await stage.answers == [full, done(1), .refused(.tooManyChannels)])
        #expect(try await stage.run { stage.log.stored.count } == 1)
    }

    // MARK: - A log with uncertain commits

    @Test(arguments: [false, true])
    func anUncertainCommitIsRepeatedUntilItsResultIsKnown(_ isStored: Bool) async throws {
        let stage = try await Stage()
        try await stage.listen()
        let fault = isStored ? FaultLog.Fault.uncertainButStored : .uncertain
        try await stage.appends(fault, fault)
        try await stage.publish()
        #expect(try await stage.answers == [])
        await stage.log.waitFor { $0.appends.count == 3 }
        #expect(try await stage.answers == [done(1)])
        #expect(try await stage.run { stage.log.appends } == Array(repeating: [position(1, 1)], count: 3))
        #expect(try await stage.stored() == ["x"])
        #expect(try await stage.run { stage.relayed } == [position(1, 1)])
    }

    @Test func publishesBehindAnUncertainCommitAreRefusedInItsPartitionOnly() async throws {
        let stage = try await Stage()
        try await stage.appends(.uncertain.late, .none, .none.late)
        try await stage.publish()
        try await stage.publish()
        let other = try await stage.publish("d")
        await stage.release()
        #expect(try await stage.outcome(other) == done(1))
        let uncertain = PublishOutcome.refused(SequencerMachine.uncertain)
        #expect(try await stage.outcome(1) == uncertain)
        let late = try await stage.publish()
        #expect(try await stage.outcome(late) == uncertain)
        #expect(await stage.sequencers.parkedEvents == [0])
        #expect(try await stage.outcome(0) == nil)
        await stage.log.waitFor { $0.appends.count == 3 }
        let third = try await stage.publish("d")
        #expect(try await stage.outcome(third) == done(2))
        await stage.release()
        #expect(try await stage.outcome(0) == done(1))
        #expect(await stage.metrics.refused == 2)
    }

    /// One call of the log may be uncertain for one partition of a batch only.
    @Test func anUncertainPartitionOfACommitDoesNotDelayTheOthers() async throws {
        let stage = try await Stage()
        try await stage.listen("d")
        try await stage.run { stage.log.uncertain = [stage.partition(of: "c")] }
        try await stage.appends(.none.late)
        try await stage.publish("a")
        for name in ["c", "d", "c"] { try await stage.publish(name) }
        await stage.release()
        #expect(try await stage.outcome(2) == done(1))
        #expect(try await stage.run { stage.relayed } == [position(1, 1)])
        #expect(try await stage.outcome(1) == nil)
        for offset in 2...4 as ClosedRange<UInt64> {
            let number = try await stage.publish("d")
            #expect(try await stage.outcome(number) == done(offset))
        }
        try await stage.run { stage.log.uncertain = [] }
        try await stage.settle { stage.outcomes[1] != nil && stage.outcomes[3] != nil }
        #expect(try await stage.outcome(1) == done(1))
        #expect(try await stage.outcome(3) == done(2))
    }

    /// The next owner's seal decides, so a hand-over does not wait for a log that stays silent.
    @Test func aHandOverDoesNotWaitForAnUncertainCommit() async throws {
        let stage = try await Stage()
        let grant = Grant(partition: stage.partition(of: "c"), ownerEpoch: 1)
        try await stage.run { stage.log.uncertain = [grant.partition] }
        try await stage.publish("c")
        await stage.sequencers.handOver([grant])
        #expect(try await stage.answers == [moved])
        // The same if the result is unknown after the hand-over has begun.
        let next = Grant(partition: grant.partition, ownerEpoch: 2)
        try await stage.run { stage.log.uncertain = [] }
        _ = await stage.sequencers.acquire([next])
        try await stage.run { stage.log.uncertain = [grant.partition] }
        try await stage.appends(.none.late)
        try await stage.publish("c")
        async let handedOver: Void = stage.sequencers.handOver([next])
        while await !stage.isHandingOver(next) { try await stage.run {} }
        await stage.release()
        await handedOver
        #expect(try await stage.answers == [moved, moved])
        try await stage.settle { stage.log.appends.count >= 2 }
        #expect(await stage.sequencer.machine.isDrained)
    }

    @Test func fencedGrantsAreReportedAndReleasedInTheLog() async throws {
        let stage = try await Stage()
        let reported = NIOLockedValueBox<[Grant]>([])
        await stage.sequencers.onFenced { grants in reported.withLockedValue { $0 += grants } }
        let grants = ["a", "c", "d"].map { Grant(partition: stage.partition(of: $0), ownerEpoch: 1) }
        // By a commit, by a read of heads, and by a look at the seals.
        try await stage.publish("a")
        try await stage.run { stage.log.fenced = [grants[0].partition] }
        try await stage.publish("a")
        try await stage.run { stage.log.fencedHeads = [grants[1].partition] }
        try await stage.publish("c")
        try await stage.run { stage.log.fenced.insert(grants[2].partition) }
        let tick = Task { await stage.sequencers.tick() }
        try await stage.settle { stage.log.released.count == 3 }
        await tick.value
        #expect(reported.withLockedValue { $0 } == grants)
        #expect(try await stage.run { stage.log.released } == grants)
        #expect(try await stage.answers == [done(1), moved, moved])
    }

    /// The head must not be read before the log has forgotten the channel: the event after it would have no predecessor.
    @Test func aChannelThatIsUsedWhileTheLogForgetsItBeginsANewEpoch() async throws {
        let stage = try await Stage()
        try await stage.run {
            stage.log.known[channel("c")] = ChannelHead(head: position(3, 7))
            stage.log.forgetFaults = [.none.late]
            stage.now = 1_000_000_000
        }
        let tick = Task { await stage.sequencers.tick() }
        try await stage.settle { stage.log.forgets.count == 1 }
        try await stage.publish("c")
        try await stage.listen("c")
        try await stage.publish("d")
        #expect(try await stage.run { stage.log.heads.joined().contains(channel("c")) } == false)
        await stage.release()
        try await stage.settle { stage.outcomes.count == 2 }
        await tick.value
        #expect(try await stage.outcome(0) == done(1, 4))
        #expect(try await stage.run { stage.opened } == [position(4, 0)])
    }

    @Test func publishingContinuesAfterAnUncertainCommit() async throws {
        let stage = try await Stage()
        try await stage.appends(.uncertainButStored)
        try await stage.publish(id: "m")
        let early = try await stage.publish(id: "m")
        await stage.log.waitFor { $0.appends.count == 2 }
        let again = try await stage.publish(id: "m")
        let next = try await stage.publish()
        #expect(try await stage.outcome(early) == .refused(SequencerMachine.uncertain))
        #expect(try await stage.outcome(again) == duplicate(1))
        #expect(try await stage.outcome(next) == done(2))
    }

    @Test func anUncertainCommitMayBeRefusedLater() async throws {
        let stage = try await Stage()
        try await stage.appends(.uncertain, .unavailable)
        try await stage.publish(id: "m")
        await stage.log.waitFor { $0.appends.count == 2 }
        #expect(try await stage.answers == [full])
        let again = try await stage.publish(id: "m")
        #expect(try await stage.outcome(again) == done(1))
    }
}
