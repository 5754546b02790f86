import AdminAPI
import Testing

@testable import Coordination

@Suite struct ClusterMachineGuardTests {
    @Test func theControllerWaitsForManyNodesThatVanishTogether() throws {
        var bench = ClusterMachineBench.controller(of: 7, partitionCount: 14)
        bench.vanish("n2", "n3", "n4")
        #expect(bench.machine.view?.mode == .guarded)
        let orphans = try #require(bench.machine.view?.orphans)
        #expect(orphans.count == 6)
        bench.advance(.milliseconds(14_900))
        #expect(bench.machine.view?.orphans == orphans)
        bench.advance(.milliseconds(200))
        #expect(bench.machine.view?.orphans == [] && bench.machine.view?.mode == .normal)
    }

    @Test func nodesThatReturnGetTheirPartitionsBackAndEndGuardedMode() throws {
        var bench = ClusterMachineBench.controller(of: 7, partitionCount: 14)
        let before = try #require(bench.machine.view)
        bench.vanish("n2", "n3", "n4")
        bench.advance(.seconds(2))
        for id in ["n2", "n3", "n4"] { bench.arrive(id) }
        bench.report()
        let after = try #require(bench.machine.view)
        #expect(after.mode == .normal && after.orphans == [])
        for id in ["n2", "n3", "n4"] {
            #expect(after.partitions(ownedBy: id) == before.partitions(ownedBy: id))
            #expect(after.partitions(ownedBy: id).allSatisfy { after.partitions[$0].ownerEpoch > before.partitions[$0].ownerEpoch })
        }
    }

    @Test func twoOfFiveNodesAreNoMassFailure() {
        var bench = ClusterMachineBench.controller(of: 5, partitionCount: 10)
        bench.vanish("n2", "n3")
        #expect(bench.machine.view?.mode == .normal && bench.machine.view?.orphans == [])
    }

    /// After a short ZooKeeper outage, the controller has kept its session. Other nodes gave up their sessions and have already joined again.
    @Test func newIncarnationsOfLivingNodesAreNoMassFailure() {
        var bench = ClusterMachineBench.controller(of: 4)
        for id in ["n2", "n3"] {
            bench.store.end(ClusterMachineBench.session(of: id))
            bench.addMember(id, session: ClusterMachineBench.session(of: id))
        }
        bench.settle()
        bench.advance(.seconds(3))
        bench.vanish("n4")
        #expect(bench.machine.view?.mode == .normal && bench.machine.view?.orphans == [])
    }

    /// The nodes seem gone for a moment, between the end of the old member znode and the creation of the new one.
    @Test func nodesThatAreMembersAgainAreNoMassFailure() {
        var bench = ClusterMachineBench.controller(of: 4)
        for id in ["n2", "n3"] {
            bench.vanish(id)
            bench.arrive(id, isLinked: false)
        }
        bench.advance(.seconds(1))
        bench.vanish("n4")
        #expect(bench.machine.view?.mode == .normal && bench.machine.view?.orphans == [])
    }

    /// Nodes that join again count as present, so only a few nodes are missing.
    @Test func nodesThatJoinCountAsPresent() {
        var bench = ClusterMachineBench.controller(of: 8, partitionCount: 16)
        for id in ["n2", "n3", "n4", "n5"] {
            bench.store.end(ClusterMachineBench.session(of: id))
            bench.addMember(id, session: ClusterMachineBench.session(of: id))
        }
        bench.settle()
        bench.vanish("n6", "n7", "n8")
        #expect(bench.machine.view?.mode == .normal)
    }

    // MARK: - Nodes that leave on purpose

    @Test func theControllerDoesNotWaitForNodesThatLeaveOnPurpose() {
        var bench = ClusterMachineBench.controller(of: 7, partitionCount: 14)
        for id in ["n2", "n3", "n4"] {
            bench.receive(.leaving, from: id)
            bench.vanish(id)
        }
        #expect(bench.machine.view?.mode == .normal && bench.machine.view?.orphans == [] && bench.state("n4") == .down)
    }

    private func isFlapping(_ bench: ClusterMachineBench) -> Bool { bench.machine.alarm?.hasPrefix("n2 restarted or lost its session") ?? false }

    @Test func restartsOnPurposeAreNoLosses() {
        var bench = ClusterMachineBench.controller(of: 2)
        for _ in 0..<5 {
            bench.receive(.leaving, from: "n2")
            self.restart("n2", &bench)
        }
        #expect(!self.isFlapping(bench))
        // The next processes with this id do not announce that they leave.
        for _ in 0..<3 { self.restart("n2", &bench) }
        #expect(self.isFlapping(bench))
    }

    /// The restart is so quick that the controller sees only the next incarnation.
    @Test func aQuickRestartOnPurposeIsNoLoss() {
        var bench = ClusterMachineBench.controller(of: 2)
        for _ in 0..<5 {
            bench.receive(.leaving, from: "n2")
            bench.store.end(200)
            bench.arrive("n2")
            bench.advance(.seconds(2))
        }
        #expect(bench.state("n2") == .active && !self.isFlapping(bench))
    }

    /// A controller that leaves announces this to the other nodes, so the next controller knows it.
    @Test func theNextControllerKnowsThatThePreviousControllerLeft() {
        var bench = ClusterMachineBench.follower()
        bench.receive(.leaving)
        bench.store.end(200)
        bench.advance(.seconds(5))
        #expect(bench.machine.isController && bench.state("n2") == .down && bench.machine.controlling?.guards.flaps.count == 0)
    }

    @Test func processesThatHaveLeftAreRemoved() {
        var bench = ClusterMachineBench.controller(of: 2)
        for _ in 0..<10 {
            bench.receive(.leaving, from: "n2")
            self.restart("n2", &bench)
        }
        #expect(bench.machine.peers.leaving.count <= 2)
    }

    // MARK: - Maintenance

    @Test func maintenanceStopsBalancingButNotFailover() {
        var bench = ClusterMachineBench.controller(of: 2)
        #expect(bench.request(AdminRequest(.pause))?.isSuccess == true)
        #expect(bench.machine.view?.mode == .maintenance)
        bench.arrive("n3")
        bench.balance()
        #expect(bench.state("n3") == .active && bench.count("n3") == 0)
        bench.vanish("n2")
        #expect(bench.count("n2") == 0 && bench.machine.view?.orphans == [])
        #expect(bench.request(AdminRequest(.resume), number: 2)?.isSuccess == true)
        bench.balance()
        #expect(bench.machine.view?.mode == .normal && bench.count("n3") == 4)
    }

    // MARK: - Repeated losses of sessions

    private func restart(_ id: String, _ bench: inout ClusterMachineBench) {
        bench.vanish(id)
        bench.advance(.seconds(2))
        bench.arrive(id)
        bench.advance(.seconds(2))
    }

    @Test func threeLossesInAFewMinutesAreAnAlarmAndTheNodeKeepsItsShare() {
        var bench = ClusterMachineBench.controller(of: 2)
        for _ in 0..<2 { self.restart("n2", &bench) }
        #expect(!self.isFlapping(bench))
        self.restart("n2", &bench)
        #expect(self.isFlapping(bench) && bench.state("n2") == .active)
        bench.balance()
        #expect(bench.count("n2") == 4)
        bench.advance(.seconds(601))
        #expect(!self.isFlapping(bench))
    }

    @Test func outagesOfZooKeeperDoNotCountAsLossesOfANode() {
        var bench = ClusterMachineBench.controller(of: 4)
        for _ in 0..<4 {
            for id in ["n2", "n3", "n4"] {
                bench.store.end(ClusterMachineBench.session(of: id))
                bench.arrive(id)
            }
            bench.advance(.seconds(30))
        }
        #expect(["n2", "n3", "n4"].allSatisfy { bench.state($0) == .active } && bench.machine.alarm == nil)
    }

    /// The write of the view fails several times, but the loss counts once.
    @Test func oneLossCountsOnce() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.store.end(200)
        for _ in 0..<3 {
            bench.settle { if case .multi = $0 { true } else { false } }
            if !bench.open.isEmpty { bench.reply(.failure(.notSent(code: -4))) }
            bench.settle()
            bench.wait(.milliseconds(100))
            bench.handle(.ticked)
        }
        bench.advance(.seconds(2))
        #expect(bench.state("n2") == .down)
        bench.arrive("n2")
        #expect(bench.state("n2") == .active && !self.isFlapping(bench))
    }
}
