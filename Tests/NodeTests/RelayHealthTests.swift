import Testing

@testable import Node

@Suite struct RelayHealthTests {
    @Test func aPartitionWithoutAnOwnerIsAProblemOnlyIfThatLasts() {
        var health = RelayHealth()
        let start = ContinuousClock.now
        for second in 0...5 {
            health.sample(expired: 0, unrouted: 3, now: start + .seconds(second))
            #expect(health.reasons == [])
        }
        health.sample(expired: 0, unrouted: 3, now: start + .seconds(6))
        #expect(health.reasons.count == 1 && health.reasons[0].contains("no owner of 3 partitions"))
        health.sample(expired: 0, unrouted: 0, now: start + .seconds(7))
        #expect(health.reasons == [])
        health.sample(expired: 0, unrouted: 1, now: start + .seconds(8))
        #expect(health.reasons == [])
    }

    @Test func refusedPublishesAreAProblemForSomeSeconds() {
        var health = RelayHealth()
        let start = ContinuousClock.now
        // What was refused before the first sample is not recent.
        health.sample(expired: 5, unrouted: 0, now: start)
        #expect(health.reasons == [])
        health.sample(expired: 6, unrouted: 0, now: start + .seconds(1))
        #expect(health.reasons.count == 1 && health.reasons[0].hasPrefix("1 publish was refused"))
        health.sample(expired: 8, unrouted: 0, now: start + .seconds(9))
        #expect(health.reasons[0].hasPrefix("3 publishes were refused"))
        health.sample(expired: 8, unrouted: 0, now: start + .seconds(19))
        #expect(health.reasons.count == 1)
        health.sample(expired: 8, unrouted: 0, now: start + .seconds(20))
        #expect(health.reasons == [])
    }
}
