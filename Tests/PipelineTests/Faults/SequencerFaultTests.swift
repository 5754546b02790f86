import NIOCore
import Testing

@testable import Pipeline

@Suite(.timeLimit(.minutes(1))) struct SequencerFaultTests {
    // MARK: - A log that is slow

    @Test func nothingIsSaidBeforeTheLogHasIt() async throws {
        let stage = try await Stage()
        try await stage.listen()
        try await stage.appends(.none.late)
        try await stage.publish()
        #expect(try await stage.run { stage.history } == [])
        #expect(await stage.sequencer.head(of: channel("c")) == position(1, 0))
        await stage.release()
        #expect(try await stage.run { stage.history } == ["0", "1-1"])
        #expect(await stage.sequencer.head(of: channel("c")) == position(1, 1))
    }

    @Test func whatWaitsBehindASlowCommitGoesTogether() async throws {
        let stage = try await Stage()
        try await stage.appends(.none.late)
        for _ in 0..<5 { try await stage.publish() }
        #expect(await stage.sequencer.parkedEvents == 4)
        #expect(try await stage.answers == [])
        await stage.release()
        #expect(try await stage.answers == (1...5).map { done($0) })
        #expect(try await stage.run { stage.log.appends.map(\.count) } == [1, 4])
    }

    @Test func aCommitHoldsSoManyEvents() async throws {
        let stage = try await Stage { $0.commitEventsMax = 3 }
        try await stage.appends(.none.late)
        for _ in 0..<8 { try await stage.publish() }
        await stage.release()
        try await stage.settle { stage.outcomes.count == 8 }
        #expect(try await stage.answers == (1...8).map { done($0) })
        #expect(try await stage.run { stage.log.appends.map(\.count) } == [1, 3, 3, 1])
    }

    // MARK: - A log that refuses

    @Test func aRefusedCommitTakesNoPosition() async throws {
        let stage = try await Stage()
        try await stage.listen()
        try await stage.appends(.unavailable)
        try await stage.publish()
        try await stage.publish()
        #expect(try await stage.answers == [full, done(1)])
        #expect(try await stage.run { stage.relayed } == [position(1, 1)])
        #expect(await stage.statistics.failedCommits == 1)
        #expect(await stage.statistics.published == 1)
    }

    @Test(arguments: [LogError.Code.unavailable, .fenced, .unusable])
    func everyCertainErrorRefuses(_ code: LogError.Code) async throws {
        let stage = try await Stage()
        try await stage.appends(.init(error: LogError(code, "full")))
        try await stage.publish()
        #expect(try await stage.answers == [full])
        #expect(try await stage.run { stage.log.appends.count } == 1)
    }

    @Test func theSameMessageIsAcceptedAfterARefusal() async throws {
        let stage = try await Stage()
        try await stage.appends(.unavailable)
        for _ in 0..<3 { try await stage.publish(id: "m") }
        #expect(try await stage.answers == [full, done(1), duplicate(1)])
        #expect(try await stage.stored() == ["x"])
    }

    @Test func whatWaitedBehindARefusedCommitIsAnswered() async throws {
        let stage = try await Stage()
        try await stage.appends(.unavailable.late)
        try await stage.publish(id: "m", "a")
        try await stage.publish(id: "m", "b")
        try await stage.publish("d", "c")
        await stage.release()
        #expect(try await stage.answers == [full, done(1), done(1)])
        #expect(try await stage.stored() == ["b"])
    }

    @Test func aChannelThatWasRefusedTakesNoRoom() async throws {
        let stage = try await Stage { $0.channelsMax = 1 }
        try await stage.appends(.unavailable)
        try await stage.publish("a")
        try await stage.publish("b")
        try await stage.publish("a")
        #expect(try await stage.answers == [full, done(1), .refused(.tooManyChannels)])
        #expect(await stage.sequencer.channelCount == 1)
    }

    // MARK: - A log that does not know

    @Test(arguments: [false, true])
    func anUncertainCommitIsRepeatedUntilItIsKnown(_ isStored: Bool) async throws {
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

    @Test func nothingWaitsBehindAnUncertainCommit() async throws {
        let stage = try await Stage()
        try await stage.appends(.uncertain.late, .none.late)
        try await stage.publish()
        try await stage.publish("d")
        await stage.release()
        let uncertain = PublishOutcome.refused(Sequencing.uncertain)
        #expect(try await stage.outcome(1) == uncertain)
        let late = try await stage.publish()
        #expect(try await stage.outcome(late) == uncertain)
        #expect(await stage.sequencer.parkedEvents == 0)
        #expect(try await stage.outcome(0) == nil)
        await stage.log.waitFor { $0.appends.count == 2 }
        await stage.release()
        #expect(try await stage.outcome(0) == done(1))
        #expect(await stage.statistics.refused == 2)
    }

    @Test func afterAnUncertainCommitItGoesOn() async throws {
        let stage = try await Stage()
        try await stage.appends(.uncertainButStored)
        try await stage.publish(id: "m")
        let early = try await stage.publish(id: "m")
        await stage.log.waitFor { $0.appends.count == 2 }
        let again = try await stage.publish(id: "m")
        let next = try await stage.publish()
        #expect(try await stage.outcome(early) == .refused(Sequencing.uncertain))
        #expect(try await stage.outcome(again) == duplicate(1))
        #expect(try await stage.outcome(next) == done(2))
    }

    @Test func anUncertainCommitMayTurnOutRefused() async throws {
        let stage = try await Stage()
        try await stage.appends(.uncertain, .unavailable)
        try await stage.publish(id: "m")
        await stage.log.waitFor { $0.appends.count == 2 }
        #expect(try await stage.answers == [full])
        let again = try await stage.publish(id: "m")
        #expect(try await stage.outcome(again) == done(1))
    }
}
