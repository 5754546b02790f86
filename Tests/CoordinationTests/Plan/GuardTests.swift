import Testing

@testable import Coordination

@Suite struct GuardTests {
    private let start = ContinuousClock.now

    private func at(_ seconds: Int) -> ContinuousClock.Instant { self.start.advanced(by: .seconds(seconds)) }

    @Test func balancingStartsThreeSecondsAfterTheLastJoin() {
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

    @Test func continuousJoinsDelayBalancingForAtMostFifteenSeconds() {
        var debounce = RebalanceDebounce()
        for second in stride(from: 0, through: 14, by: 2) {
            debounce.joined(at: self.at(second))
            #expect(!debounce.isSettled(at: self.at(second)))
        }
        #expect(debounce.due == self.at(15))
        #expect(debounce.isSettled(at: self.at(15)))
        // The next join starts a new wait.
        debounce.joined(at: self.at(16))
        #expect(debounce.due == self.at(19))
    }

    @Test func manyLossesTogetherStartGuardedMode() {
        var guardian = MassFailureGuard()
        guardian.vanished("a", remaining: 9, at: self.at(0))
        guardian.vanished("b", remaining: 8, at: self.at(1))
        guardian.vanished("c", remaining: 7, at: self.at(2))
        guardian.vanished("d", remaining: 6, at: self.at(3))
        #expect(!guardian.isGuarded(at: self.at(3)), "4 of 10 are not more than 40 %")
        guardian.vanished("e", remaining: 5, at: self.at(4))
        #expect(guardian.isGuarded(at: self.at(4)))
        #expect(guardian.vanished == ["a", "b", "c", "d", "e"])
        #expect(guardian.due == self.at(19))
        guardian.returned("a", at: self.at(6))
        #expect(guardian.vanished == ["b", "c", "d", "e"])
        #expect(guardian.isGuarded(at: self.at(18)))
        #expect(!guardian.isGuarded(at: self.at(19)))
        // The same losses do not start guarded mode again.
        guardian.vanished("f", remaining: 4, at: self.at(19))
        #expect(!guardian.isGuarded(at: self.at(19)))
    }

    @Test func fewOrSlowLossesDoNotStartGuardedMode() {
        var guardian = MassFailureGuard()
        guardian.vanished("a", remaining: 1, at: self.at(0))
        guardian.vanished("b", remaining: 0, at: self.at(1))
        #expect(!guardian.isGuarded(at: self.at(1)), "fewer than 3 nodes vanished")
        guardian.vanished("c", remaining: 2, at: self.at(10))
        #expect(!guardian.isGuarded(at: self.at(10)), "the first node vanished 10 s ago")
        guardian.vanished("c", remaining: 2, at: self.at(10))
        #expect(!guardian.isGuarded(at: self.at(10)), "a node that vanishes twice counts once")
    }

    @Test func guardedModeEndsWhenTheLastNodeReturns() {
        var guardian = MassFailureGuard(hold: .seconds(100))
        for id in ["a", "b", "c"] { guardian.vanished(id, remaining: 1, at: self.at(0)) }
        for id in ["a", "b"] { guardian.returned(id, at: self.at(1)) }
        #expect(guardian.isGuarded(at: self.at(1)))
        guardian.returned("c", at: self.at(2))
        #expect(!guardian.isGuarded(at: self.at(2)))
    }

    @Test func repeatedLossesExtendGuardedModeToAtMostThirtySeconds() {
        var guardian = MassFailureGuard()
        for second in 0..<29 {
            guardian.vanished("n\(second % 7)", remaining: 2, at: self.at(second))
            if second >= 2 { #expect(guardian.isGuarded(at: self.at(second))) }
        }
        #expect(guardian.due == self.at(2 + 30))
    }

    private func alarms(_ flaps: inout FlapGuard, _ id: String, _ seconds: [Int]) -> [Bool] {
        seconds.map { flaps.lost(id, of: 1000, at: self.at($0)) }
    }

    @Test func theThirdLossWithinFiveMinutesAndEachFurtherLossIsAnAlarm() {
        var flaps = FlapGuard()
        let first = self.alarms(&flaps, "a", [0, 100, 299, 310])
        #expect(first == [false, false, true, true])
        let other = self.alarms(&flaps, "b", [350])
        #expect(other == [false])
        let later = self.alarms(&flaps, "a", [700, 701, 702])
        #expect(later == [false, false, true])
    }

    @Test func slowLossesAreNoAlarm() {
        var flaps = FlapGuard()
        let slow = self.alarms(&flaps, "a", Array(stride(from: 0, to: 3000, by: 150)))
        #expect(slow.allSatisfy { !$0 })
    }

    /// A ZooKeeper outage ends the sessions of most nodes together.
    @Test func lossesOfMostNodesTogetherAreNoAlarm() {
        var flaps = FlapGuard()
        for minute in 0..<5 {
            for (index, id) in ["a", "b", "c"].enumerated() {
                let isAlarm = flaps.lost(id, of: 4, at: self.at(minute * 50 + index))
                #expect(!isAlarm, "\(id) in minute \(minute)")
            }
        }
        // One node alone loses its session three times.
        let alone = [270, 285, 299].map { flaps.lost("a", of: 4, at: self.at($0)) }
        #expect(alone == [false, false, true])
    }

    /// A node may get a new id at each start. No operator would forget the old ids one by one.
    @Test func expiredLossesAreRemoved() {
        var flaps = FlapGuard()
        for second in 0..<10_000 { _ = flaps.lost("n\(second)", of: 1000, at: self.at(second)) }
        #expect(flaps.count == 300)
        _ = flaps.lost("b", of: 1000, at: self.at(14_000))
        #expect(flaps.count == 1)
    }

    // MARK: - Previous owners

    @Test func previousOwnersAreRememberedForTenMinutes() {
        var previous = PreviousOwners()
        previous.lost([1, 2], by: "a", at: self.at(0))
        previous.lost([2, 3], by: "b", at: self.at(300))
        #expect(previous.owners(at: self.at(300)) == [1: "a", 2: "b", 3: "b"])
        #expect(previous.owners(at: self.at(600)) == [2: "b", 3: "b"])
        #expect(previous.owners(at: self.at(899)) == [2: "b", 3: "b"])
        #expect(previous.owners(at: self.at(900)) == [:])
    }

    @Test func theWaitForANodeEndsWhenItReturnsOrTheTimeIsOver() {
        var previous = PreviousOwners()
        previous.wait(for: "a", until: self.at(1))
        previous.wait(for: "b", until: self.at(15))
        #expect(previous.awaited(at: self.at(0)) == ["a", "b"])
        #expect(previous.awaited(at: self.at(1)) == ["b"] && Set(previous.dues) == [self.at(1), self.at(15)])
        previous.returned("b")
        #expect(previous.awaited(at: self.at(2)) == [] && previous.dues == [self.at(1)])
    }

    /// Many nodes may vanish while the controller waits for a restart. The longer wait counts.
    @Test func theLongestWaitCounts() {
        var previous = PreviousOwners()
        previous.wait(for: "a", until: self.at(15))
        previous.wait(for: "a", until: self.at(1))
        #expect(previous.awaited(at: self.at(14)) == ["a"])
    }
}
