import NIOCore
import NIOEmbedded
import PipelineTestKit
import Testing

@testable import Pipeline

@Suite(.timeLimit(.minutes(1))) struct FanoutFaultTests {
    private func stage(_ names: String..., reads: FaultLog.Fault...) async throws -> Stage {
        let stage = try await Stage()
        for name in names { for payload in ["1", "2", "3"] { try await stage.publish(name, payload) } }
        try await stage.run { stage.log.readFaults = reads }
        return stage
    }

    private func failures(_ stage: Stage) async -> UInt64 { await stage.fanout.metrics.replayFailures }

    @Test func aFailedReadIsRepeatedAndNoEventIsMissing() async throws {
        let stage = try await self.stage("c", reads: .unavailable)
        let reader = try await Reader(stage, [(channel("c"), .after(position(1, 1)))])
        #expect(await self.failures(stage) == 1)
        // Events that are committed meanwhile are delivered after the events that could not be read.
        try await stage.publish("c", "4")
        #expect(try await reader.data() == [])
        await stage.log.waitFor { $0.reads.count == 2 }
        try await stage.publish("c", "5")
        #expect(try await reader.data() == ["2", "3", "4", "5"])
        #expect(await self.failures(stage) == 1)
    }

    @Test func aSubscriberThatArrivesDuringAFailureIsServedWithTheOthers() async throws {
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

    @Test func aFailureDelaysOnlyItsChannel() async throws {
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

    @Test func nothingIsReadForSubscribersThatLeft() async throws {
        let stage = try await self.stage("c", "d", reads: .none.late)
        let reader = try await Reader(stage, [(channel("c"), .after(position(1, 0)))])
        try await reader.leave()
        await stage.release()
        #expect(try await reader.data() == [])
        #expect(try await stage.run { stage.log.reads.count } == 1)
        #expect(await stage.sequencers.subscribers(of: channel("c")) == 0)
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

    @Test func eventsOfARefusedCommitAreNeverRead() async throws {
        let stage = try await self.stage("c")
        try await stage.appends(.unavailable)
        try await stage.publish("c", "lost")
        try await stage.publish("c", "4")
        let reader = try await Reader(stage, [(channel("c"), .after(position(1, 2)))])
        #expect(try await reader.data() == ["3", "4"])
    }

    // MARK: - A backlog that has expired

    /// Returns the opening cursor and the data of a reader with a backlog of three events. `again` is the data after it has reconnected with that cursor.
    private func backlog(_ stage: Stage, _ names: [String] = ["c"]) async throws -> (opening: Cursor?, data: [String], again: [String]) {
        let reader = try await Reader(stage, names.map { (channel($0), .backlog(3)) })
        let opening = try await stage.run { reader.openingCursor }.flatMap { Cursor($0) }
        let data = try await reader.data()
        try await reader.leave()
        let again = try await Reader(stage, names.map { (channel($0), .after(opening?.position(of: channel($0)) ?? position(9, 9))) })
        return (opening, data, try await again.data())
    }

    @Test func aBacklogThatExpiredIsNoGap() async throws {
        let stage = try await self.stage("c")
        try await stage.run { stage.log.expire(channel("c"), upTo: 3) }
        let found = try await self.backlog(stage)
        #expect(found.opening?.position(of: channel("c")) == position(1, 3))
        #expect(found.data == [] && found.again == [])
    }

    @Test func aBacklogStartsAtTheOldestStoredEvent() async throws {
        let stage = try await self.stage("c", "d")
        try await stage.run { stage.log.expire(channel("c"), upTo: 2) }
        let found = try await self.backlog(stage, ["c", "d"])
        #expect(found.opening?.position(of: channel("c")) == position(1, 2))
        #expect(found.opening?.position(of: channel("d")) == position(1, 0))
        #expect(found.data.sorted() == ["1", "2", "3", "3"] && found.again.sorted() == found.data.sorted())
    }

    @Test func aBacklogOpensWhenItCanBeRead() async throws {
        let stage = try await self.stage("c", reads: .unavailable)
        let reader = try await Reader(stage, [(channel("c"), .backlog(2))])
        #expect(try await stage.run { reader.openingCursor } == nil)
        // Commits that arrive meanwhile count as the newest events of the requested backlog.
        try await stage.publish("c", "4")
        await stage.log.waitFor { $0.reads.count == 2 }
        #expect(try await reader.data() == ["3", "4"])
        // The read that opens the subscription also delivers its events.
        #expect(try await stage.run { stage.log.reads.count } == 2)
        let opening = try await stage.run { reader.openingCursor }
        #expect(opening.flatMap { Cursor($0) }?.position(of: channel("c")) == position(1, 2))
    }

    @Test func aSubscriberThatLeavesBeforeItsBacklogIsReadIsForgotten() async throws {
        let stage = try await self.stage("c", reads: .none.late)
        let leaver = try await Reader(stage, [(channel("c"), .backlog(2))])
        let stayer = try await Reader(stage, [(channel("c"), .backlog(1))])
        try await leaver.leave()
        await stage.release()
        #expect(try await leaver.data() == [])
        #expect(try await stayer.data() == ["3"])
    }

    // MARK: - Many waiting subscriptions

    @Test func anyWaitingSubscriptionMayLeave() async throws {
        let stage = try await self.stage("c", reads: .none.late)
        var readers: [Reader] = []
        for number in 0..<20 { readers.append(try await Reader(stage, [(channel("c"), .after(position(1, UInt64(number % 3))))])) }
        for number in [0, 19, 7, 8, 18, 1] { try await readers[number].leave() }
        await stage.release()
        for (number, reader) in readers.enumerated() {
            let expected = [0, 19, 7, 8, 18, 1].contains(number) ? [] : Array(["1", "2", "3"][(number % 3)...])
            #expect(try await reader.data() == expected)
        }
    }
}
