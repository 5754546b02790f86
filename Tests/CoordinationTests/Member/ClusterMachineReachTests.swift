import AdminAPI
import Partitioning
import Testing

@testable import Coordination

/// Nodes that the controller and other members cannot reach.
@Suite struct ClusterMachineReachTests {
    private func evictions(_ bench: ClusterMachineBench, of id: String) -> Int {
        bench.requests.count { request in
            guard case .multi(let parts) = request else { return false }
            return parts == [.check(path: "/rt/c/controller_epoch", version: 1), .delete(path: "/rt/c/members/\(id)", version: nil)]
        }
    }

    /// Lets time pass while the given members report every second. Only recent reports count.
    private func pass(
        _ duration: Duration, _ bench: inout ClusterMachineBench, reports others: [String] = [], change: (inout NodeReport) -> Void = { _ in }
    ) {
        var left = duration
        repeat {
            for id in others {
                var report = bench.report(of: id)
                change(&report)
                bench.receive(.report(report), from: id)
            }
            let step = min(left, .seconds(1))
            bench.advance(step)
            left -= step
        } while left > .zero
    }

    // MARK: - Closed ports

    @Test func withTwoNodesTheControllerAloneEvictsANodeThatRefusesConnections() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.handle(.linkDown(bench.process("n2"), isRefused: true))
        bench.advance(.milliseconds(299))
        #expect(self.evictions(bench, of: "n2") == 0)
        bench.advance(.milliseconds(1))
        #expect(self.evictions(bench, of: "n2") == 1)
        bench.advance(.seconds(1))
        #expect(self.evictions(bench, of: "n2") == 1 && bench.state("n2") == .down && bench.count("n2") == 0)
        #expect(bench.events.contains(.evicted))
    }

    @Test(arguments: [3, 4]) func withMoreNodesAnotherMemberMustReportTheSame(_ count: Int) {
        var bench = ClusterMachineBench.controller(of: count)
        let id = "n\(count)"
        let dead = bench.process(id)
        bench.handle(.linkDown(dead, isRefused: true))
        self.pass(.seconds(3), &bench)
        #expect(self.evictions(bench, of: id) == 0)
        // A report about an earlier incarnation does not count, because that was another process.
        self.pass(.seconds(3), &bench, reports: ["n2"]) { $0.refused = [.init(id: id, incarnation: 1)] }
        #expect(self.evictions(bench, of: id) == 0)
        self.pass(.zero, &bench, reports: ["n2"]) { $0.refused = [dead] }
        #expect(self.evictions(bench, of: id) == 1 && bench.state(id) == .down)
    }

    @Test func reportsOfOtherMembersAloneEvictNoNode() {
        var bench = ClusterMachineBench.controller(of: 4)
        let dead = bench.process("n4")
        self.pass(.seconds(10), &bench, reports: ["n2", "n3"]) { $0.refused = [dead] }
        #expect(self.evictions(bench, of: "n4") == 0 && bench.state("n4") == .active)
    }

    @Test func aNodeWhosePortIsOpenAgainInTimeIsNotEvicted() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.handle(.linkDown(bench.process("n2"), isRefused: true))
        bench.advance(.milliseconds(200))
        bench.handle(.linkUp(bench.process("n2")))
        bench.advance(.seconds(10))
        #expect(self.evictions(bench, of: "n2") == 0 && bench.state("n2") == .active)
    }

    // MARK: - Out of reach

    @Test func aNodeThatMostMembersCannotReachIsFencedAfterFourSeconds() {
        var bench = ClusterMachineBench.controller(of: 3)
        let lost = bench.process("n3")
        bench.handle(.linkDown(lost, isRefused: false))
        self.pass(.milliseconds(3999), &bench, reports: ["n2"]) { $0.unreachable = [lost] }
        #expect(bench.state("n3") == .active)
        bench.advance(.milliseconds(1))
        #expect(bench.state("n3") == .fenced && bench.count("n3") == 0 && bench.machine.view?.orphans == [])
        #expect(bench.incarnation("n3") > 0)
    }

    /// The node owns no partition that must be reassigned. It becomes active as soon as it is reached.
    @Test func aNodeThatWasNeverReachedStaysJoining() {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.arrive("n4", isLinked: false)
        let lost = bench.process("n4")
        bench.handle(.linkDown(lost, isRefused: false))
        self.pass(.seconds(20), &bench, reports: ["n2", "n3", "n4"]) { $0.unreachable = [lost] }
        #expect(bench.state("n4") == .joining)
        bench.handle(.linkUp(lost))
        self.pass(.seconds(1), &bench, reports: ["n2", "n3", "n4"])
        #expect(bench.state("n4") == .active)
    }

    @Test func oneBrokenLinkFencesNoNode() {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.handle(.linkDown(bench.process("n3"), isRefused: false))
        self.pass(.seconds(20), &bench, reports: ["n2"])
        #expect(bench.state("n3") == .active)
    }

    @Test func aFencedNodeIsActiveAgainAfterItWasReachableForHalfAMinute() {
        var bench = ClusterMachineBench.controller(of: 3)
        let lost = bench.process("n3")
        bench.handle(.linkDown(lost, isRefused: false))
        self.pass(.seconds(8), &bench, reports: ["n2"]) { $0.unreachable = [lost] }
        bench.handle(.linkUp(lost))
        self.pass(.seconds(28), &bench, reports: ["n2", "n3"])
        #expect(bench.state("n3") == .fenced)
        self.pass(.seconds(3), &bench, reports: ["n2", "n3"])
        #expect(bench.state("n3") == .active)
    }

    /// Reports about the old process do not count for a new process with the same id.
    @Test func aFencedNodeThatRestartsIsActiveWhenItIsReached() {
        var bench = ClusterMachineBench.controller(of: 3)
        let lost = bench.process("n3")
        bench.handle(.linkDown(lost, isRefused: false))
        self.pass(.seconds(5), &bench, reports: ["n2"]) { $0.unreachable = [lost] }
        #expect(bench.state("n3") == .fenced)
        bench.vanish("n3")
        bench.arrive("n3")
        #expect(bench.state("n3") == .active)
    }

    @Test func theStateOfEndedProcessesIsRemoved() {
        var bench = ClusterMachineBench.controller(of: 3)
        let lost = bench.process("n3")
        bench.handle(.linkDown(lost, isRefused: false))
        self.pass(.seconds(5), &bench, reports: ["n2"]) { $0.unreachable = [lost] }
        bench.store.end(200)
        bench.arrive("n2", isLinked: false)
        #expect(bench.machine.controlling?.guards.fenced.count == 1 && bench.machine.controlling?.guards.previous.awaited(at: bench.now) == ["n2"])
        bench.vanish("n2", "n3")
        #expect(bench.request(AdminRequest(.forget, node: "n3"))?.isSuccess == true)
        self.pass(.seconds(31), &bench)
        let guards = bench.machine.controlling?.guards
        #expect(guards?.fenced.isEmpty == true && guards?.previous.awaited(at: bench.now).isEmpty == true && guards?.counted.keys.sorted() == ["n2"])
    }

    @Test func nodesAreFencedOneAtATime() {
        var bench = ClusterMachineBench.controller(of: 6)
        let lost = [bench.process("n5"), bench.process("n6")]
        for peer in lost { bench.handle(.linkDown(peer, isRefused: false)) }
        self.pass(.seconds(4), &bench, reports: ["n2", "n3", "n4"]) { $0.unreachable = lost }
        #expect(bench.state("n5") == .fenced && bench.state("n6") == .active)
        self.pass(.milliseconds(9900), &bench, reports: ["n2", "n3", "n4"]) { $0.unreachable = lost }
        #expect(bench.state("n6") == .active)
        self.pass(.milliseconds(200), &bench, reports: ["n2", "n3", "n4"]) { $0.unreachable = lost }
        #expect(bench.state("n6") == .fenced)
    }

    /// More than half of the living members must report the node as unreachable. Reports of dead members do not count.
    @Test func theReportsOfDeadMembersDoNotCount() {
        var bench = ClusterMachineBench.controller(of: 5)
        let lost = bench.process("n3")
        bench.vanish("n4", "n5")
        bench.handle(.linkDown(lost, isRefused: false))
        self.pass(.seconds(5), &bench, reports: ["n2"]) { $0.unreachable = [lost] }
        #expect(bench.state("n3") == .fenced)
    }

    /// A joining node with a wrong link secret cannot report. Its silence must not prevent the fencing of another node.
    @Test func aJoiningNodeIsNoWitness() {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.arrive("n4", isLinked: false)
        let lost = bench.process("n3")
        bench.handle(.linkDown(lost, isRefused: false))
        self.pass(.seconds(5), &bench, reports: ["n2"]) { $0.unreachable = [lost] }
        #expect(bench.state("n4") == .joining && bench.state("n3") == .fenced)
    }
}
