import AdminAPI
import Testing

@testable import Coordination

@Suite struct ClusterMachineGuardTests {
    @Test func manyNodesThatVanishTogetherAreWaitedFor() throws {
        var stand = ClusterMachineStand.controller(of: 7, partitionCount: 14)
        stand.vanish("n2", "n3", "n4")
        #expect(stand.machine.view?.mode == .guarded)
        let orphans = try #require(stand.machine.view?.orphans)
        #expect(orphans.count == 6)
        stand.advance(.milliseconds(14_900))
        #expect(stand.machine.view?.orphans == orphans)
        stand.advance(.milliseconds(200))
        #expect(stand.machine.view?.orphans == [] && stand.machine.view?.mode == .normal)
    }

    @Test func whoeverComesBackGetsItsPartitionsBackAndEndsTheGuard() throws {
        var stand = ClusterMachineStand.controller(of: 7, partitionCount: 14)
        let before = try #require(stand.machine.view)
        stand.vanish("n2", "n3", "n4")
        stand.advance(.seconds(2))
        for id in ["n2", "n3", "n4"] { stand.arrive(id) }
        stand.report()
        let after = try #require(stand.machine.view)
        #expect(after.mode == .normal && after.orphans == [])
        for id in ["n2", "n3", "n4"] {
            #expect(after.partitions(ownedBy: id) == before.partitions(ownedBy: id))
            #expect(after.partitions(ownedBy: id).allSatisfy { after.partitions[$0].ownerEpoch > before.partitions[$0].ownerEpoch })
        }
    }

    @Test func twoOfFiveAreNotMany() {
        var stand = ClusterMachineStand.controller(of: 5, partitionCount: 10)
        stand.vanish("n2", "n3")
        #expect(stand.machine.view?.mode == .normal && stand.machine.view?.orphans == [])
    }

    /// As a ZooKeeper outage of some seconds does it: the controller kept its session, the others gave theirs up and are members again.
    @Test func newIncarnationsOfLivingNodesAreNoMassFailure() {
        var stand = ClusterMachineStand.controller(of: 4)
        for id in ["n2", "n3"] {
            stand.store.end(ClusterMachineStand.session(of: id))
            stand.addMember(id, session: ClusterMachineStand.session(of: id))
        }
        stand.settle()
        stand.advance(.seconds(3))
        stand.vanish("n4")
        #expect(stand.machine.view?.mode == .normal && stand.machine.view?.orphans == [])
    }

    /// Seen as gone for a moment, between the end of the old member node and the making of the new one.
    @Test func nodesThatAreMembersAgainAreNoMassFailure() {
        var stand = ClusterMachineStand.controller(of: 4)
        for id in ["n2", "n3"] {
            stand.vanish(id)
            stand.arrive(id, isLinked: false)
        }
        stand.advance(.seconds(1))
        stand.vanish("n4")
        #expect(stand.machine.view?.mode == .normal && stand.machine.view?.orphans == [])
    }

    /// Nodes that join again are there: those that are missing are few.
    @Test func nodesThatJoinCountAsPresent() {
        var stand = ClusterMachineStand.controller(of: 8, partitionCount: 16)
        for id in ["n2", "n3", "n4", "n5"] {
            stand.store.end(ClusterMachineStand.session(of: id))
            stand.addMember(id, session: ClusterMachineStand.session(of: id))
        }
        stand.settle()
        stand.vanish("n6", "n7", "n8")
        #expect(stand.machine.view?.mode == .normal)
    }

    // MARK: - Nodes that leave on purpose

    @Test func whoeverSaysThatItLeavesIsNotWaitedFor() {
        var stand = ClusterMachineStand.controller(of: 7, partitionCount: 14)
        for id in ["n2", "n3", "n4"] {
            stand.receive(.leaving, from: id)
            stand.vanish(id)
        }
        #expect(stand.machine.view?.mode == .normal && stand.machine.view?.orphans == [] && stand.state("n4") == .down)
    }

    private func isFlapping(_ stand: ClusterMachineStand) -> Bool { stand.machine.alarm?.hasPrefix("n2 restarted or lost its session") ?? false }

    @Test func restartsOnPurposeAreNoLosses() {
        var stand = ClusterMachineStand.controller(of: 2)
        for _ in 0..<5 {
            stand.receive(.leaving, from: "n2")
            self.restart("n2", &stand)
        }
        #expect(!self.isFlapping(stand))
        // The next process of that id has said nothing.
        for _ in 0..<3 { self.restart("n2", &stand) }
        #expect(self.isFlapping(stand))
    }

    /// So quickly that the controller sees the next incarnation only.
    @Test func aQuickRestartOnPurposeIsNoLossEither() {
        var stand = ClusterMachineStand.controller(of: 2)
        for _ in 0..<5 {
            stand.receive(.leaving, from: "n2")
            stand.store.end(200)
            stand.arrive("n2")
            stand.advance(.seconds(2))
        }
        #expect(stand.state("n2") == .active && !self.isFlapping(stand))
    }

    /// A controller that leaves has told whoever comes after it.
    @Test func theNextControllerKnowsThatTheLastOneLeft() {
        var stand = ClusterMachineStand.follower()
        stand.receive(.leaving)
        stand.store.end(200)
        stand.advance(.seconds(5))
        #expect(stand.machine.isController && stand.state("n2") == .down && stand.machine.controlling?.guards.flaps.count == 0)
    }

    @Test func whoHasLeftIsNotRememberedForEver() {
        var stand = ClusterMachineStand.controller(of: 2)
        for _ in 0..<10 {
            stand.receive(.leaving, from: "n2")
            self.restart("n2", &stand)
        }
        #expect(stand.machine.peers.leaving.count <= 2)
    }

    // MARK: - Maintenance

    @Test func maintenanceHoldsBalancingAndNotFailover() {
        var stand = ClusterMachineStand.controller(of: 2)
        #expect(stand.ask(AdminRequest(.pause))?.isSuccess == true)
        #expect(stand.machine.view?.mode == .maintenance)
        stand.arrive("n3")
        stand.balance()
        #expect(stand.state("n3") == .active && stand.count("n3") == 0)
        stand.vanish("n2")
        #expect(stand.count("n2") == 0 && stand.machine.view?.orphans == [])
        #expect(stand.ask(AdminRequest(.resume), number: 2)?.isSuccess == true)
        stand.balance()
        #expect(stand.machine.view?.mode == .normal && stand.count("n3") == 4)
    }

    // MARK: - Sessions that are lost again and again

    private func restart(_ id: String, _ stand: inout ClusterMachineStand) {
        stand.vanish(id)
        stand.advance(.seconds(2))
        stand.arrive(id)
        stand.advance(.seconds(2))
    }

    @Test func threeLossesInAFewMinutesAreAnAlarmAndTheNodeKeepsItsShare() {
        var stand = ClusterMachineStand.controller(of: 2)
        for _ in 0..<2 { self.restart("n2", &stand) }
        #expect(!self.isFlapping(stand))
        self.restart("n2", &stand)
        #expect(self.isFlapping(stand) && stand.state("n2") == .active)
        stand.balance()
        #expect(stand.count("n2") == 4)
        stand.advance(.seconds(601))
        #expect(!self.isFlapping(stand))
    }

    @Test func outagesOfZooKeeperAreNoNodesLosses() {
        var stand = ClusterMachineStand.controller(of: 4)
        for _ in 0..<4 {
            for id in ["n2", "n3", "n4"] {
                stand.store.end(ClusterMachineStand.session(of: id))
                stand.arrive(id)
            }
            stand.advance(.seconds(30))
        }
        #expect(["n2", "n3", "n4"].allSatisfy { stand.state($0) == .active } && stand.machine.alarm == nil)
    }

    /// However often the view that says so has to be written.
    @Test func oneLossCountsOnce() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.store.end(200)
        for _ in 0..<3 {
            stand.settle { if case .multi = $0 { true } else { false } }
            if !stand.open.isEmpty { stand.answer(.failure(.notSent(code: -4))) }
            stand.settle()
            stand.wait(.milliseconds(100))
            stand.handle(.ticked)
        }
        stand.advance(.seconds(2))
        #expect(stand.state("n2") == .down)
        stand.arrive("n2")
        #expect(stand.state("n2") == .active && !self.isFlapping(stand))
    }
}
