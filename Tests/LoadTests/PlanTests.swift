import Testing

@testable import Load

@Suite struct PlanTests {
    @Test func everyChannelHasOnePublisherAndEveryWorkerHasItsShare() {
        for _ in 0..<200 {
            let plan = LoadPlan(
                subscribers: Int.random(in: 0...500), channels: Int.random(in: 1...40), publishers: Int.random(in: 1...20),
                rate: .perSecond(Double.random(in: 1...5000)), processes: Int.random(in: 1...5)
            )
            let owned = (0..<plan.publishers).flatMap { Array(plan.streams(ofPublisher: $0)) }
            #expect(owned.sorted() == Array(0..<plan.channels))
            #expect((0..<plan.processes).flatMap { Array(plan.subscribers(ofWorker: $0)) } == Array(0..<plan.subscribers))
            #expect((0..<plan.processes).flatMap { Array(plan.publishers(ofWorker: $0)) } == Array(0..<plan.publishers))
            for publisher in 0..<plan.publishers {
                let streams = Array(plan.streams(ofPublisher: publisher))
                #expect(streams.count == plan.streamsCount(ofPublisher: publisher))
                #expect((0..<streams.count * 2).map { plan.stream(ofPublisher: publisher, event: $0) } == streams + streams)
            }
        }
    }

    @Test func subscribersSpreadOverChannels() {
        let plan = LoadPlan(subscribers: 10, channels: 4, channelsPerSubscriber: 3, publishers: 1, rate: .none)
        #expect(plan.channels(ofSubscriber: 0) == [0, 1, 2])
        #expect(plan.channels(ofSubscriber: 1) == [3, 0, 1])
        let single = LoadPlan(subscribers: 10, channels: 4, publishers: 1, rate: .none)
        #expect((0..<10).map { single.firstChannel(ofSubscriber: $0) } == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1])
    }

    @Test func aHotChannelHasALaneForEachPublisher() {
        let plan = LoadPlan(subscribers: 10, channels: 100, publishers: 8, isHot: true, rate: .maximum)
        #expect(plan.channels == 1 && plan.lanes == 8 && plan.streams == 8 && plan.slotsPerSubscriber == 8)
        #expect((0..<8).map { plan.stream(ofPublisher: $0, event: 5) } == Array(0..<8))
    }

    @Test func allPublishersTogetherHaveTheRequestedRate() {
        let plan = LoadPlan(subscribers: 1, channels: 10, publishers: 3, rate: .perSecond(1000))
        var due = 0
        for publisher in 0..<3 {
            var schedule = plan.schedule(ofPublisher: publisher, start: 5_000_000_000)
            while schedule.due(at: 6_999_999_999) != nil {
                schedule.advance()
                due += 1
            }
        }
        #expect((1998...2002).contains(due))
    }

    @Test func aLateScheduleKeepsItsTimes() {
        var schedule = PublishSchedule(start: 1000, pace: .every(100))
        #expect(schedule.due(at: 999) == nil)
        #expect(schedule.backlog(at: 1000) == 0)
        #expect(schedule.backlog(at: 1450) == 5)
        #expect(schedule.due(at: 1450) == 1000)
        schedule.advance()
        #expect(schedule.due(at: 1450) == 1100)
        #expect(schedule.backlog(at: 1450) == 4)
        for _ in 0..<4 { schedule.advance() }
        #expect(schedule.due(at: 1450) == nil && schedule.next == 1500)
    }

    @Test func aClosedLoopIsAlwaysDue() {
        let schedule = PublishSchedule(start: 1000, pace: .closedLoop)
        #expect(schedule.due(at: 999) == nil && schedule.due(at: 1234) == 1234)
        #expect(schedule.next == nil && schedule.backlog(at: 9999) == 0)
    }
}
