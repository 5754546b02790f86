import Partitioning
import Testing

@testable import Coordination

/// Controllers that others remove: dead ones, and silent ones.
@Suite struct ClusterMachineDeposeTests {
    /// Under the epoch of the one that is removed, so that it is not the next one's node.
    private func deposals(_ bench: ClusterMachineBench) -> Int {
        bench.requests.count { $0 == .multi([.check(path: "/rt/c/controller_epoch", version: 0), .delete(path: "/rt/c/controller", version: 0)]) }
    }

    @Test func aControllerWhosePortIsClosedIsRemoved() {
        var bench = ClusterMachineBench.follower()
        bench.handle(.linkDown(bench.process("n2"), isRefused: true))
        bench.advance(.milliseconds(299))
        #expect(bench.requests.isEmpty)
        bench.advance(.milliseconds(1))
        #expect(self.deposals(bench) == 1)
        bench.advance(.seconds(1))
        #expect(bench.machine.isController)
    }

    @Test func aControllerThatIsOnlyOutOfReachOrOfAnotherIncarnationStays() {
        var bench = ClusterMachineBench.follower()
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        bench.advance(.seconds(20))
        bench.handle(.linkDown(ProcessID(id: "n2", incarnation: 3), isRefused: true))
        bench.advance(.seconds(5))
        #expect(bench.machine.controller?.id == "n2" && self.deposals(bench) == 0)
    }

    // MARK: - Complaints

    private func complaints(_ bench: ClusterMachineBench) -> Int {
        bench.sent(to: "n3").count { if case .complaint(epoch: 1) = $0 { true } else { false } }
    }

    /// Follows `n2`, with links to it and to `n3`, of three members.
    private func withSilentController() -> ClusterMachineBench {
        var bench = ClusterMachineBench.follower()
        bench.addMember("n3", session: 300)
        bench.publish(bench.view(2, ["n2", "n2", "n3", "n3"], ownerEpochs: [1, 1, 2, 2]))
        bench.handle(.linkUp(bench.process("n3")))
        bench.receive(.acknowledged)
        bench.forget()
        return bench
    }

    @Test func aSilentControllerIsComplainedAboutOnceASecondAndStaysForOneAlone() {
        var bench = self.withSilentController()
        bench.advance(.milliseconds(4900))
        #expect(self.complaints(bench) == 0)
        bench.advance(.seconds(5))
        #expect((4...6).contains(self.complaints(bench)) && bench.machine.controller?.id == "n2")
        bench.receive(.acknowledged)
        bench.forget()
        bench.advance(.milliseconds(4900))
        #expect(self.complaints(bench) == 0)
    }

    /// Its links are cut without a word, and ZooKeeper knows nothing of it.
    @Test func aControllerThatNoLinkReachesIsRemovedWhenMostSaySo() {
        var bench = self.withSilentController()
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.advance(.seconds(5))
        #expect(self.complaints(bench) > 0 && bench.machine.controller?.id == "n2")
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.settle()
        #expect(self.deposals(bench) == 1)
    }

    /// It is linked to one of the three others: two hear nothing, and one of them reaches most.
    @Test func theControllerItselfIsNotAskedWhetherItIsSilent() {
        var bench = self.withSilentController()
        bench.addMember("n4", session: 400)
        bench.publish(bench.view(3, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 3]))
        bench.handle(.linkUp(bench.process("n4")))
        bench.advance(.seconds(5))
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.settle()
        #expect(self.deposals(bench) == 1)
    }

    /// The other half has a controller that it hears: each would remove the other's for ever.
    @Test func halfACleftClusterRemovesNobody() {
        var bench = self.withSilentController()
        bench.addMember("n4", session: 400)
        bench.publish(bench.view(3, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 3]))
        for id in ["n2", "n4"] { bench.handle(.linkDown(bench.process(id), isRefused: false)) }
        bench.advance(.seconds(5))
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.settle()
        #expect(self.deposals(bench) == 0)
    }

    @Test func aControllerThatMostMembersComplainAboutIsRemoved() {
        var bench = self.withSilentController()
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.advance(.seconds(5))
        // The complaint of the other is too old by now.
        #expect(bench.machine.controller?.id == "n2")
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.settle()
        #expect(self.deposals(bench) == 1 && bench.store.tree["/rt/c/controller"] == nil)
    }

    // MARK: - Who has a vote

    private func close(_ ids: String..., in bench: inout ClusterMachineBench) {
        for id in ids { bench.handle(.linkDown(bench.process(id), isRefused: true)) }
    }

    /// One with a wrong link secret, for example: it hears of no controller, and reaches nobody.
    @Test(arguments: [NodeState.joining, .fenced]) func aNodeThatTheClusterHasNotTakenHasNoVote(_ state: NodeState) {
        var bench = self.withSilentController()
        bench.addMember("n4", session: 400)
        var view = bench.view(3, ["n2", "n2", "n3", "n3"], ownerEpochs: [1, 1, 2, 2])
        view.upsert(.init(id: "n4", incarnation: bench.incarnation("n4"), link: "n4:1", api: "n4:2", version: "1", state: state))
        bench.publish(view)
        bench.handle(.linkDown(bench.process("n4"), isRefused: false))
        self.close("n2", in: &bench)
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.advance(.milliseconds(300))
        #expect(self.deposals(bench) == 1)
    }

    /// The first node of a cluster has a wrong link secret: the others join, reach each other, and are never taken.
    @Test func nodesThatJoinReplaceAControllerThatNoneOfThemReaches() {
        var bench = self.withSilentController()
        var view = bench.view(3, ["n2", "n2", "n2", "n2"], ownerEpochs: [1, 1, 3, 3])
        for id in ["n1", "n3"] {
            view.upsert(.init(id: id, incarnation: bench.incarnation(id), link: "\(id):1", api: "\(id):2", version: "1", state: .joining))
        }
        bench.publish(view)
        bench.handle(.linkUp(bench.process("n3")))
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        bench.advance(.seconds(5))
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.settle()
        #expect(self.deposals(bench) == 1)
    }

    /// The controller died with another node, of four.
    @Test func aNodeThatIsDeadHasNoVote() {
        var bench = self.withSilentController()
        bench.addMember("n4", session: 400)
        bench.publish(bench.view(3, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 3]))
        self.close("n2", "n4", in: &bench)
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.advance(.milliseconds(300))
        #expect(self.deposals(bench) == 1)
    }

    /// Its own machine may refuse its connections.
    @Test func aNodeThatFindsAllPortsClosedRemovesNobodyAlone() {
        var bench = self.withSilentController()
        bench.addMember("n4", session: 400)
        bench.publish(bench.view(3, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 3]))
        self.close("n2", "n3", "n4", in: &bench)
        bench.advance(.seconds(40))
        #expect(self.deposals(bench) == 0)
    }

    /// Were it dead, its session would have ended: half a cluster behind a firewall is alive.
    @Test func aNodeWhosePortHasBeenClosedForLongHasItsVoteBack() {
        var bench = self.withSilentController()
        bench.addMember("n4", session: 400)
        bench.publish(bench.view(3, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 3]))
        self.close("n2", "n4", in: &bench)
        bench.advance(.seconds(30))
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.settle()
        #expect(self.deposals(bench) == 0)
    }
}
