import Partitioning
import Testing

@testable import Coordination

/// Dead and silent controllers that other members remove.
@Suite struct ClusterMachineDeposeTests {
    /// The number of removals. Each checks the epoch of the old controller, so that it never removes the znode of the next controller.
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

    @Test func anUnreachableControllerOrARefusalByAnOldIncarnationIsNoReasonForRemoval() {
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

    /// A follower of `n2` in a cluster of three members, with links to `n2` and `n3`.
    private func withSilentController() -> ClusterMachineBench {
        var bench = ClusterMachineBench.follower()
        bench.addMember("n3", session: 300)
        bench.publish(bench.view(2, ["n2", "n2", "n3", "n3"], ownerEpochs: [1, 1, 2, 2]))
        bench.handle(.linkUp(bench.process("n3")))
        bench.receive(.acknowledged)
        bench.forget()
        return bench
    }

    @Test func oneMemberComplainsOncePerSecondAndCannotRemoveASilentController() {
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

    /// The links of the controller are cut, but its session with ZooKeeper continues.
    @Test func aControllerThatNoLinkReachesIsRemovedIfMostMembersComplain() {
        var bench = self.withSilentController()
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.advance(.seconds(5))
        #expect(self.complaints(bench) > 0 && bench.machine.controller?.id == "n2")
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.settle()
        #expect(self.deposals(bench) == 1)
    }

    /// Two of three other members complain. The controller itself has no vote, so they are more than half.
    @Test func theControllerHasNoVoteAboutItself() {
        var bench = self.withSilentController()
        bench.addMember("n4", session: 400)
        bench.publish(bench.view(3, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 3]))
        bench.handle(.linkUp(bench.process("n4")))
        bench.advance(.seconds(5))
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.settle()
        #expect(self.deposals(bench) == 1)
    }

    /// The cluster is split in half. If each half could remove the controller, the halves would remove each other's controllers again and again.
    @Test func halfOfASplitClusterRemovesNoController() {
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
        // The complaint of n3 is too old by now.
        #expect(bench.machine.controller?.id == "n2")
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.settle()
        #expect(self.deposals(bench) == 1 && bench.store.tree["/rt/c/controller"] == nil)
    }

    // MARK: - Who has a vote

    private func close(_ ids: String..., in bench: inout ClusterMachineBench) {
        for id in ids { bench.handle(.linkDown(bench.process(id), isRefused: true)) }
    }

    /// For example, a node with a wrong link secret gets no message from any controller, and reaches no member.
    @Test(arguments: [NodeState.joining, .fenced]) func aJoiningOrFencedNodeHasNoVote(_ state: NodeState) {
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

    /// The first node of a cluster has a wrong link secret. The other nodes reach each other, but that controller never admits them.
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

    /// In a cluster of four nodes, the controller and another node have died.
    @Test func aDeadNodeHasNoVote() {
        var bench = self.withSilentController()
        bench.addMember("n4", session: 400)
        bench.publish(bench.view(3, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 3]))
        self.close("n2", "n4", in: &bench)
        bench.receive(.complaint(epoch: 1), from: "n3")
        bench.advance(.milliseconds(300))
        #expect(self.deposals(bench) == 1)
    }

    /// This node's own computer may block all its connections.
    @Test func aNodeThatSeesAllPortsClosedRemovesNoControllerAlone() {
        var bench = self.withSilentController()
        bench.addMember("n4", session: 400)
        bench.publish(bench.view(3, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 3]))
        self.close("n2", "n3", "n4", in: &bench)
        bench.advance(.seconds(40))
        #expect(self.deposals(bench) == 0)
    }

    /// A dead node's session would have ended within 30 seconds. So the node is alive, for example behind a firewall with half of the cluster.
    @Test func aNodeWhosePortHasBeenClosedForThirtySecondsHasAVoteAgain() {
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
