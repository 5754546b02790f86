import Testing

@testable import Coordination

/// Controllers that others remove: dead ones, and silent ones.
@Suite struct ClusterMachineDeposeTests {
    /// Under the epoch of the one that is removed, so that it is not the next one's node.
    private func deposals(_ stand: ClusterMachineStand) -> Int {
        stand.requests.count { $0 == .multi([.check(path: "/rt/c/controller_epoch", version: 0), .delete(path: "/rt/c/controller", version: 0)]) }
    }

    @Test func aControllerWhosePortIsClosedIsRemoved() {
        var stand = ClusterMachineStand.follower()
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: true))
        stand.advance(.milliseconds(299))
        #expect(stand.requests.isEmpty)
        stand.advance(.milliseconds(1))
        #expect(self.deposals(stand) == 1)
        stand.advance(.seconds(1))
        #expect(stand.machine.isController)
    }

    @Test func aControllerThatIsOnlyOutOfReachOrOfAnotherIncarnationStays() {
        var stand = ClusterMachineStand.follower()
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        stand.advance(.seconds(20))
        stand.handle(.linkDown(id: "n2", incarnation: 3, isRefused: true))
        stand.advance(.seconds(5))
        #expect(stand.machine.controller?.id == "n2" && self.deposals(stand) == 0)
    }

    // MARK: - Complaints

    private func complaints(_ stand: ClusterMachineStand) -> Int {
        stand.sent(to: "n3").count { if case .complaint(epoch: 1) = $0 { true } else { false } }
    }

    /// Follows `n2`, with links to it and to `n3`, of three members.
    private func withSilentController() -> ClusterMachineStand {
        var stand = ClusterMachineStand.follower()
        stand.addMember("n3", session: 300)
        stand.publish(stand.view(2, ["n2", "n2", "n3", "n3"], ownerEpochs: [1, 1, 2, 2]))
        stand.handle(.linkUp(id: "n3", incarnation: stand.incarnation("n3")))
        stand.receive(.heard)
        stand.forget()
        return stand
    }

    @Test func aSilentControllerIsComplainedAboutOnceASecondAndStaysForOneAlone() {
        var stand = self.withSilentController()
        stand.advance(.milliseconds(4900))
        #expect(self.complaints(stand) == 0)
        stand.advance(.seconds(5))
        #expect((4...6).contains(self.complaints(stand)) && stand.machine.controller?.id == "n2")
        stand.receive(.heard)
        stand.forget()
        stand.advance(.milliseconds(4900))
        #expect(self.complaints(stand) == 0)
    }

    /// Its links are cut without a word, and ZooKeeper knows nothing of it.
    @Test func aControllerThatNoLinkReachesIsRemovedWhenMostSaySo() {
        var stand = self.withSilentController()
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        stand.receive(.complaint(epoch: 1), from: "n3")
        stand.advance(.seconds(5))
        #expect(self.complaints(stand) > 0 && stand.machine.controller?.id == "n2")
        stand.receive(.complaint(epoch: 1), from: "n3")
        stand.settle()
        #expect(self.deposals(stand) == 1)
    }

    /// It is linked to one of the three others: two hear nothing, and one of them reaches most.
    @Test func theControllerItselfIsNotAskedWhetherItIsSilent() {
        var stand = self.withSilentController()
        stand.addMember("n4", session: 400)
        stand.publish(stand.view(3, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 3]))
        stand.handle(.linkUp(id: "n4", incarnation: stand.incarnation("n4")))
        stand.advance(.seconds(5))
        stand.receive(.complaint(epoch: 1), from: "n3")
        stand.settle()
        #expect(self.deposals(stand) == 1)
    }

    /// The other half has a controller that it hears: each would remove the other's for ever.
    @Test func halfACleftClusterRemovesNobody() {
        var stand = self.withSilentController()
        stand.addMember("n4", session: 400)
        stand.publish(stand.view(3, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 3]))
        for id in ["n2", "n4"] { stand.handle(.linkDown(id: id, incarnation: stand.incarnation(id), isRefused: false)) }
        stand.advance(.seconds(5))
        stand.receive(.complaint(epoch: 1), from: "n3")
        stand.settle()
        #expect(self.deposals(stand) == 0)
    }

    @Test func aControllerThatMostMembersComplainAboutIsRemoved() {
        var stand = self.withSilentController()
        stand.receive(.complaint(epoch: 1), from: "n3")
        stand.advance(.seconds(5))
        // The complaint of the other is too old by now.
        #expect(stand.machine.controller?.id == "n2")
        stand.receive(.complaint(epoch: 1), from: "n3")
        stand.settle()
        #expect(self.deposals(stand) == 1 && stand.store.tree["/rt/c/controller"] == nil)
    }

    // MARK: - Who has a vote

    private func close(_ ids: String..., in stand: inout ClusterMachineStand) {
        for id in ids { stand.handle(.linkDown(id: id, incarnation: stand.incarnation(id), isRefused: true)) }
    }

    /// One with a wrong link secret, for example: it hears of no controller, and reaches nobody.
    @Test(arguments: [NodeState.joining, .fenced]) func aNodeThatTheClusterHasNotTakenHasNoVote(_ state: NodeState) {
        var stand = self.withSilentController()
        stand.addMember("n4", session: 400)
        var view = stand.view(3, ["n2", "n2", "n3", "n3"], ownerEpochs: [1, 1, 2, 2])
        view.upsert(.init(id: "n4", incarnation: stand.incarnation("n4"), link: "n4:1", api: "n4:2", version: "1", state: state))
        stand.publish(view)
        stand.handle(.linkDown(id: "n4", incarnation: stand.incarnation("n4"), isRefused: false))
        self.close("n2", in: &stand)
        stand.receive(.complaint(epoch: 1), from: "n3")
        stand.advance(.milliseconds(300))
        #expect(self.deposals(stand) == 1)
    }

    /// The first node of a cluster has a wrong link secret: the others join, reach each other, and are never taken.
    @Test func nodesThatJoinReplaceAControllerThatNoneOfThemReaches() {
        var stand = self.withSilentController()
        var view = stand.view(3, ["n2", "n2", "n2", "n2"], ownerEpochs: [1, 1, 3, 3])
        for id in ["n1", "n3"] {
            view.upsert(.init(id: id, incarnation: stand.incarnation(id), link: "\(id):1", api: "\(id):2", version: "1", state: .joining))
        }
        stand.publish(view)
        stand.handle(.linkUp(id: "n3", incarnation: stand.incarnation("n3")))
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        stand.advance(.seconds(5))
        stand.receive(.complaint(epoch: 1), from: "n3")
        stand.settle()
        #expect(self.deposals(stand) == 1)
    }

    /// The controller died with another node, of four.
    @Test func aNodeThatIsDeadHasNoVote() {
        var stand = self.withSilentController()
        stand.addMember("n4", session: 400)
        stand.publish(stand.view(3, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 3]))
        self.close("n2", "n4", in: &stand)
        stand.receive(.complaint(epoch: 1), from: "n3")
        stand.advance(.milliseconds(300))
        #expect(self.deposals(stand) == 1)
    }

    /// Its own machine may refuse its connections.
    @Test func aNodeThatFindsAllPortsClosedRemovesNobodyAlone() {
        var stand = self.withSilentController()
        stand.addMember("n4", session: 400)
        stand.publish(stand.view(3, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 3]))
        self.close("n2", "n3", "n4", in: &stand)
        stand.advance(.seconds(40))
        #expect(self.deposals(stand) == 0)
    }

    /// Were it dead, its session would have ended: half a cluster behind a firewall is alive.
    @Test func aNodeWhosePortHasBeenClosedForLongHasItsVoteBack() {
        var stand = self.withSilentController()
        stand.addMember("n4", session: 400)
        stand.publish(stand.view(3, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 3]))
        self.close("n2", "n4", in: &stand)
        stand.advance(.seconds(30))
        stand.receive(.complaint(epoch: 1), from: "n3")
        stand.settle()
        #expect(self.deposals(stand) == 0)
    }
}
