import Testing

@testable import Coordination

@Suite struct GuardTests {
    private let start = ContinuousClock.now

    private func at(_ seconds: Int) -> ContinuousClock.Instant { self.start.advanced(by: .seconds(seconds)) }

    @Test func joinsSettle() {
        var debounce = RebalanceDebounce()
        #expect(debounce.isSettled(at: self.at(0)))
        debounce.joined(at: self.at(0))
        #expect(!debounce.isSettled(at: self.at(2)))
        debounce.joined(at: self.at(2))
        #expect(debounce.due == self.at(5))
        #expect(!debounce.isSettled(at: self.at(4)))
        #expect(debounce.isSettled(at: self.at(5)))
        #expect(debounce.isSettled(at: self.at(500)))
    }

    @Test func joinsThatNeverEndWaitNoLongerThanTheLongest() {
        var debounce = RebalanceDebounce()
        for second in stride(from: 0, through: 14, by: 2) {
            debounce.joined(at: self.at(second))
            #expect(!debounce.isSettled(at: self.at(second)))
        }
        #expect(debounce.due == self.at(15))
        #expect(debounce.isSettled(at: self.at(15)))
        // The next join waits again.
        debounce.joined(at: self.at(16))
        #expect(debounce.due == self.at(19))
    }

    @Test func manyAtOnceAreHeld() {
        var guardian = MassFailureGuard()
        guardian.vanished("a", remaining: 9, at: self.at(0))
        guardian.vanished("b", remaining: 8, at: self.at(1))
        guardian.vanished("c", remaining: 7, at: self.at(2))
        guardian.vanished("d", remaining: 6, at: self.at(3))
        #expect(!guardian.isGuarded(at: self.at(3)), "4 of 10 are not more than 40 %")
        guardian.vanished("e", remaining: 5, at: self.at(4))
        #expect(guardian.isGuarded(at: self.at(4)))
        #expect(guardian.held(at: self.at(4)) == ["a", "b", "c", "d", "e"])
        #expect(guardian.due == self.at(19))
        guardian.returned("a", at: self.at(6))
        #expect(guardian.held(at: self.at(6)) == ["b", "c", "d", "e"])
        #expect(guardian.isGuarded(at: self.at(18)))
        #expect(!guardian.isGuarded(at: self.at(19)))
        #expect(guardian.held(at: self.at(19)) == [])
        // The same losses do not enter again.
        guardian.vanished("f", remaining: 4, at: self.at(19))
        #expect(!guardian.isGuarded(at: self.at(19)))
    }

    @Test func fewOrSlowLossesAreNotHeld() {
        var guardian = MassFailureGuard()
        guardian.vanished("a", remaining: 1, at: self.at(0))
        guardian.vanished("b", remaining: 0, at: self.at(1))
        #expect(!guardian.isGuarded(at: self.at(1)), "fewer than 3")
        guardian.vanished("c", remaining: 2, at: self.at(10))
        #expect(!guardian.isGuarded(at: self.at(10)), "the first was 10 s ago")
        guardian.vanished("c", remaining: 2, at: self.at(10))
        #expect(!guardian.isGuarded(at: self.at(10)), "one node twice is one")
    }

    @Test func theLastToReturnEndsIt() {
        var guardian = MassFailureGuard(hold: .seconds(100))
        for id in ["a", "b", "c"] { guardian.vanished(id, remaining: 1, at: self.at(0)) }
        for id in ["a", "b"] { guardian.returned(id, at: self.at(1)) }
        #expect(guardian.isGuarded(at: self.at(1)))
        guardian.returned("c", at: self.at(2))
        #expect(!guardian.isGuarded(at: self.at(2)))
    }

    @Test func waveAfterWaveIsBounded() {
        var guardian = MassFailureGuard()
        for second in 0..<29 {
            guardian.vanished("n\(second % 7)", remaining: 2, at: self.at(second))
            if second >= 2 { #expect(guardian.isGuarded(at: self.at(second))) }
        }
        #expect(guardian.due == self.at(2 + 30))
    }

    /// Until when each loss cordons, in seconds; nil where it does not.
    private func cordons(_ flaps: inout FlapGuard, _ id: String, _ seconds: [Int]) -> [Int?] {
        seconds.map { second in flaps.lost(id, of: 1000, at: self.at(second)).map { Int($0.duration(to: self.start).components.seconds) * -1 } }
    }

    @Test func flappingCordonsForTwiceAsLongEachTime() {
        var flaps = FlapGuard()
        let first = self.cordons(&flaps, "a", [0, 100, 299])
        #expect(first == [nil, nil, 899])
        let other = self.cordons(&flaps, "b", [150])
        #expect(other == [nil])
        #expect(flaps.isCordoned("a", at: self.at(898)) && !flaps.isCordoned("a", at: self.at(899)))
        #expect(!flaps.isCordoned("b", at: self.at(299)))
        for (time, minutes) in [(2000, 20), (4000, 40), (8000, 80), (16000, 160), (28000, 160)] {
            let next = self.cordons(&flaps, "a", [time, time + 1, time + 2])
            #expect(next == [nil, nil, time + 2 + minutes * 60])
        }
        flaps.forget("a")
        #expect(!flaps.isCordoned("a", at: self.at(28_010)))
    }

    @Test func slowLossesAreForgivenAndSoIsAnHourOfPeace() {
        var flaps = FlapGuard()
        let slow = self.cordons(&flaps, "a", Array(stride(from: 0, to: 3000, by: 150)))
        #expect(slow.allSatisfy { $0 == nil })
        let first = self.cordons(&flaps, "a", [10_000, 10_001, 10_002])
        #expect(first == [nil, nil, 10_602])
        let second = self.cordons(&flaps, "a", [14_202, 14_203, 14_204])
        #expect(second == [nil, nil, 14_804], "10 minutes again")
    }

    /// A ZooKeeper outage ends the sessions of most nodes together.
    @Test func lossesOfMostNodesTogetherCordonNobody() {
        var flaps = FlapGuard()
        for minute in 0..<5 {
            for (index, id) in ["a", "b", "c"].enumerated() {
                #expect(flaps.lost(id, of: 4, at: self.at(minute * 50 + index)) == nil, "\(id) in minute \(minute)")
            }
        }
        // One of them alone, three times.
        #expect(flaps.lost("a", of: 4, at: self.at(270)) == nil && flaps.lost("a", of: 4, at: self.at(285)) == nil)
        #expect(flaps.lost("a", of: 4, at: self.at(299)) != nil)
    }

    /// Where ids are made anew with each start, nobody forgets them one by one.
    @Test func lossesThatDoNotMatterAnyMoreAreForgotten() {
        var flaps = FlapGuard()
        for second in 0..<10_000 { flaps.lost("n\(second)", of: 1000, at: self.at(second)) }
        #expect(flaps.count == 300)
        _ = self.cordons(&flaps, "a", [10_000, 10_001, 10_002])
        flaps.lost("b", of: 1000, at: self.at(14_000))
        #expect(flaps.count == 2, "its last cordon counts for an hour")
        flaps.lost("b", of: 1000, at: self.at(14_300))
        #expect(flaps.count == 1)
    }

    @Test func homesAreRememberedForTenMinutes() {
        var hints = HomeHints()
        hints.lost([1, 2], by: "a", at: self.at(0))
        hints.lost([2, 3], by: "b", at: self.at(300))
        #expect(hints.homes(at: self.at(300)) == [1: "a", 2: "b", 3: "b"])
        #expect(hints.homes(at: self.at(600)) == [2: "b", 3: "b"])
        #expect(hints.homes(at: self.at(899)) == [2: "b", 3: "b"])
        #expect(hints.homes(at: self.at(900)) == [:])
    }
}
