import AdminAPI
import Partitioning
import Testing

@testable import Coordination

/// Nodes that are out of reach, for the controller and for the others.
@Suite struct ClusterMachineReachTests {
    private func evictions(_ stand: ClusterMachineStand, of id: String) -> Int {
        stand.requests.count { request in
            guard case .multi(let parts) = request else { return false }
            return parts == [.check(path: "/rt/c/controller_epoch", version: 1), .delete(path: "/rt/c/members/\(id)", version: nil)]
        }
    }

    private func peer(_ id: String, _ stand: ClusterMachineStand) -> ProcessID { .init(id: id, incarnation: stand.incarnation(id)) }

    /// Time passes, and some go on reporting what they see: only what was said lately counts.
    private func pass(
        _ duration: Duration, _ stand: inout ClusterMachineStand, reports others: [String] = [], change: (inout NodeReport) -> Void = { _ in }
    ) {
        var left = duration
        repeat {
            for id in others {
                var report = stand.report(of: id)
                change(&report)
                stand.receive(.report(report), from: id)
            }
            let step = min(left, .seconds(1))
            stand.advance(step)
            left -= step
        } while left > .zero
    }

    // MARK: - Closed ports

    @Test func ofTwoTheControllerAloneEvictsWhoseLinkIsRefused() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: true))
        stand.advance(.milliseconds(299))
        #expect(self.evictions(stand, of: "n2") == 0)
        stand.advance(.milliseconds(1))
        #expect(self.evictions(stand, of: "n2") == 1)
        stand.advance(.seconds(1))
        #expect(self.evictions(stand, of: "n2") == 1 && stand.state("n2") == .down && stand.count("n2") == 0)
        #expect(stand.events.contains(.evicted))
    }

    @Test(arguments: [3, 4]) func ofMoreOneOtherHasToSeeTheSame(_ count: Int) {
        var stand = ClusterMachineStand.controller(of: count)
        let id = "n\(count)"
        let dead = self.peer(id, stand)
        stand.handle(.linkDown(id: id, incarnation: dead.incarnation, isRefused: true))
        self.pass(.seconds(3), &stand)
        #expect(self.evictions(stand, of: id) == 0)
        // Of an earlier incarnation, and so of another process.
        self.pass(.seconds(3), &stand, reports: ["n2"]) { $0.refused = [.init(id: id, incarnation: 1)] }
        #expect(self.evictions(stand, of: id) == 0)
        self.pass(.zero, &stand, reports: ["n2"]) { $0.refused = [dead] }
        #expect(self.evictions(stand, of: id) == 1 && stand.state(id) == .down)
    }

    @Test func whatOthersSeeAloneEvictsNobody() {
        var stand = ClusterMachineStand.controller(of: 4)
        let dead = self.peer("n4", stand)
        self.pass(.seconds(10), &stand, reports: ["n2", "n3"]) { $0.refused = [dead] }
        #expect(self.evictions(stand, of: "n4") == 0 && stand.state("n4") == .active)
    }

    @Test func aPortThatIsOpenAgainInTimeSavesItsNode() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: true))
        stand.advance(.milliseconds(200))
        stand.handle(.linkUp(id: "n2", incarnation: stand.incarnation("n2")))
        stand.advance(.seconds(10))
        #expect(self.evictions(stand, of: "n2") == 0 && stand.state("n2") == .active)
    }

    // MARK: - Out of reach

    @Test func aNodeThatMostOthersCannotReachIsFencedAfterFourSeconds() {
        var stand = ClusterMachineStand.controller(of: 3)
        let lost = self.peer("n3", stand)
        stand.handle(.linkDown(id: "n3", incarnation: lost.incarnation, isRefused: false))
        self.pass(.milliseconds(3999), &stand, reports: ["n2"]) { $0.unreachable = [lost] }
        #expect(stand.state("n3") == .active)
        stand.advance(.milliseconds(1))
        #expect(stand.state("n3") == .fenced && stand.count("n3") == 0 && stand.machine.view?.orphans == [])
        #expect(stand.incarnation("n3") > 0)
    }

    /// It has nothing that others would have to be given, and is active as soon as it is reached.
    @Test func aNodeThatWasNeverReachedStaysJoining() {
        var stand = ClusterMachineStand.controller(of: 3)
        stand.arrive("n4", isLinked: false)
        let lost = self.peer("n4", stand)
        stand.handle(.linkDown(id: "n4", incarnation: lost.incarnation, isRefused: false))
        self.pass(.seconds(20), &stand, reports: ["n2", "n3", "n4"]) { $0.unreachable = [lost] }
        #expect(stand.state("n4") == .joining)
        stand.handle(.linkUp(id: "n4", incarnation: lost.incarnation))
        self.pass(.seconds(1), &stand, reports: ["n2", "n3", "n4"])
        #expect(stand.state("n4") == .active)
    }

    @Test func oneBrokenPairFencesNobody() {
        var stand = ClusterMachineStand.controller(of: 3)
        stand.handle(.linkDown(id: "n3", incarnation: stand.incarnation("n3"), isRefused: false))
        self.pass(.seconds(20), &stand, reports: ["n2"])
        #expect(stand.state("n3") == .active)
    }

    @Test func aFencedNodeIsTakenBackAfterHalfAMinuteWithinReach() {
        var stand = ClusterMachineStand.controller(of: 3)
        let lost = self.peer("n3", stand)
        stand.handle(.linkDown(id: "n3", incarnation: lost.incarnation, isRefused: false))
        self.pass(.seconds(8), &stand, reports: ["n2"]) { $0.unreachable = [lost] }
        stand.handle(.linkUp(id: "n3", incarnation: lost.incarnation))
        self.pass(.seconds(28), &stand, reports: ["n2", "n3"])
        #expect(stand.state("n3") == .fenced)
        self.pass(.seconds(3), &stand, reports: ["n2", "n3"])
        #expect(stand.state("n3") == .active)
    }

    /// Another process of the same id is judged by itself.
    @Test func aFencedNodeThatIsRestartedIsTakenBackWhenItIsReached() {
        var stand = ClusterMachineStand.controller(of: 3)
        let lost = self.peer("n3", stand)
        stand.handle(.linkDown(id: "n3", incarnation: lost.incarnation, isRefused: false))
        self.pass(.seconds(5), &stand, reports: ["n2"]) { $0.unreachable = [lost] }
        #expect(stand.state("n3") == .fenced)
        stand.vanish("n3")
        stand.arrive("n3")
        #expect(stand.state("n3") == .active)
    }

    @Test func whatIsKnownOfProcessesThatAreGoneIsForgotten() {
        var stand = ClusterMachineStand.controller(of: 3)
        let lost = self.peer("n3", stand)
        stand.handle(.linkDown(id: "n3", incarnation: lost.incarnation, isRefused: false))
        self.pass(.seconds(5), &stand, reports: ["n2"]) { $0.unreachable = [lost] }
        stand.store.end(200)
        stand.arrive("n2", isLinked: false)
        #expect(stand.machine.controlling?.guards.fenced.count == 1 && stand.machine.controlling?.guards.previous.awaited(at: stand.now) == ["n2"])
        stand.vanish("n2", "n3")
        #expect(stand.ask(AdminRequest(.forget, node: "n3"))?.isSuccess == true)
        self.pass(.seconds(31), &stand)
        let guards = stand.machine.controlling?.guards
        #expect(guards?.fenced.isEmpty == true && guards?.previous.awaited(at: stand.now).isEmpty == true && guards?.counted.keys.sorted() == ["n2"])
    }

    @Test func nodesAreFencedOneAtATime() {
        var stand = ClusterMachineStand.controller(of: 6)
        let lost = [self.peer("n5", stand), self.peer("n6", stand)]
        for peer in lost { stand.handle(.linkDown(id: peer.id, incarnation: peer.incarnation, isRefused: false)) }
        self.pass(.seconds(4), &stand, reports: ["n2", "n3", "n4"]) { $0.unreachable = lost }
        #expect(stand.state("n5") == .fenced && stand.state("n6") == .active)
        self.pass(.milliseconds(9900), &stand, reports: ["n2", "n3", "n4"]) { $0.unreachable = lost }
        #expect(stand.state("n6") == .active)
        self.pass(.milliseconds(200), &stand, reports: ["n2", "n3", "n4"]) { $0.unreachable = lost }
        #expect(stand.state("n6") == .fenced)
    }

    /// Most others of those that live: what the dead once reported does not count.
    @Test func theReportsOfNodesThatAreGoneCountForNothing() {
        var stand = ClusterMachineStand.controller(of: 5)
        let lost = self.peer("n3", stand)
        stand.vanish("n4", "n5")
        stand.handle(.linkDown(id: "n3", incarnation: lost.incarnation, isRefused: false))
        self.pass(.seconds(5), &stand, reports: ["n2"]) { $0.unreachable = [lost] }
        #expect(stand.state("n3") == .fenced)
    }

    /// One with a wrong link secret reports to nobody, and its silence must not keep another in.
    @Test func aNodeThatOnlyJoinsIsNoWitness() {
        var stand = ClusterMachineStand.controller(of: 3)
        stand.arrive("n4", isLinked: false)
        let lost = self.peer("n3", stand)
        stand.handle(.linkDown(id: "n3", incarnation: lost.incarnation, isRefused: false))
        self.pass(.seconds(5), &stand, reports: ["n2"]) { $0.unreachable = [lost] }
        #expect(stand.state("n4") == .joining && stand.state("n3") == .fenced)
    }
}
