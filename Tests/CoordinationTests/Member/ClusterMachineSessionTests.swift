import AdminAPI
import Partitioning
import Testing

@testable import Coordination

@Suite struct ClusterMachineSessionTests {
    /// A follower that serves partitions 0 and 1.
    private func serving() -> ClusterMachineStand {
        var stand = ClusterMachineStand.follower()
        stand.publish(stand.view(2, ["n1", "n1", "n2", "n2"], ownerEpochs: [2, 2, 1, 1]))
        stand.forget()
        return stand
    }

    private static let both = [Grant(partition: 0, ownerEpoch: 2), Grant(partition: 1, ownerEpoch: 2)]

    @Test func anOwnerServesOnWhileItsConnectionIsGone() {
        var stand = self.serving()
        stand.suspend()
        stand.advance(.seconds(60))
        #expect(stand.releases.isEmpty && stand.states == [.serving, .serving, nil, nil])
        #expect(stand.requests.isEmpty)
        stand.reconnect()
        stand.advance(.seconds(1))
        #expect(stand.releases.isEmpty && stand.states == [.serving, .serving, nil, nil])
    }

    /// Watches may have fired while there was no connection.
    @Test func everythingIsReadAgainAfterTheConnectionIsBack() {
        var stand = self.serving()
        stand.suspend()
        stand.reconnect()
        #expect(
            Set(stand.requests) == [
                .get(path: "/rt/c/config", watch: true), .get(path: "/rt/c/controller", watch: true), .get(path: "/rt/c/view", watch: true),
                .exists(path: "/rt/c/members/n1", watch: true),
            ])
    }

    @Test func whatIsTakenAwayWhileSuspendedIsReleased() {
        var stand = self.serving()
        stand.suspend()
        stand.receive(.view(stand.view(3, ["n2", "n1", "n2", "n2"], ownerEpochs: [3, 2, 1, 1])))
        #expect(stand.releases == [.init(partition: 0, ownerEpoch: 2)])
        #expect(stand.states == [nil, .serving, nil, nil])
    }

    @Test func whatIsGrantedWhileSuspendedIsTakenWhenTheConnectionIsBack() {
        var stand = self.serving()
        stand.suspend()
        stand.receive(.view(stand.view(3, ["n1", "n1", "n1", "n2"], ownerEpochs: [2, 2, 2, 1])))
        stand.advance(.seconds(1))
        #expect(stand.seals.isEmpty && stand.states == [.serving, .serving, nil, nil])
        stand.reconnect()
        #expect(stand.seals == [.init(partition: 2, ownerEpoch: 2)])
    }

    /// How long a session may be silent is its client's business; from then on nothing is this node's.
    @Test(arguments: [ZooKeeperState.Loss.expired, .givenUp])
    func aLostSessionGivesEverythingUpAtOnce(_ loss: ZooKeeperState.Loss) {
        var stand = self.serving()
        stand.suspend()
        stand.lose(loss)
        #expect(stand.releases == Self.both)
        #expect(stand.machine.ownership.isEmpty && stand.machine.incarnation == nil && stand.machine.controller?.id == "n2")
        #expect(stand.events == [.sessionLost])
        stand.advance(.seconds(60))
        #expect(stand.requests.isEmpty)
    }

    @Test func aNodeWithoutASessionAsksTheControllerAllTheSame() {
        var stand = self.serving()
        stand.lose()
        #expect(stand.ask(AdminRequest(.status)) == nil)
        #expect(stand.sent(to: "n2").contains { if case .request = $0 { true } else { false } })
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        let own = stand.ask(AdminRequest(.status), number: 2)
        #expect(own?.json.contains("has no connection to ZooKeeper") == true && own?.json.contains("There is no controller") == false)
    }

    @Test func aControllerWithoutASessionIsNone() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.lose()
        #expect(stand.machine.controller == nil && !stand.machine.isController)
        #expect(stand.ask(AdminRequest(.status))?.json.contains("and knows of no controller") == true)
    }

    @Test func aNodeThatNeverJoinedSaysSo() {
        var stand = ClusterMachineStand()
        #expect(stand.ask(AdminRequest(.status))?.json.contains("n1 has not joined its cluster. n1 has no connection to ZooKeeper") == true)
    }

    @Test func aNewSessionIsANewIncarnationThatOwnsNothingOfTheOld() {
        var stand = self.serving()
        let before = stand.incarnation("n1")
        stand.lose()
        stand.forget()
        stand.connect(session: 101)
        stand.settle()
        #expect(stand.incarnation("n1") > before && stand.machine.incarnation == stand.incarnation("n1"))
        // The view still names the id as the owner, and means the incarnation that is gone.
        #expect(stand.count("n1") == 2 && stand.seals.isEmpty && stand.machine.ownership.isEmpty)
        stand.publish(stand.view(3, ["n1", "n1", "n2", "n2"], ownerEpochs: [3, 3, 1, 1]))
        #expect(stand.seals == [.init(partition: 0, ownerEpoch: 3), .init(partition: 1, ownerEpoch: 3)])
    }

    @Test func requestsNameTheGenerationOfTheirSession() {
        var stand = self.serving()
        stand.lose()
        stand.forget()
        stand.connect(session: 101)
        stand.settle()
        for case .perform(_, _, let generation, _) in stand.told { #expect(generation == 2) }
    }

    @Test func anAnswerFromBeforeTheLossIsToNobody() throws {
        var stand = ClusterMachineStand()
        stand.found()
        stand.connect()
        stand.settle { if case .create("/rt/c/members/n1", _, _) = $0 { true } else { false } }
        let token = stand.open[0].token
        stand.lose()
        stand.handle(.answered(token: token, .success(.stat(.init(czxid: 5, mzxid: 5, version: 0, ephemeralOwner: 100)))))
        #expect(stand.machine.incarnation == nil && stand.machine.session.pending.isEmpty)
    }

    /// Another node, or an operator, has removed the member node of a session that lives.
    @Test func anEvictedNodeGivesEverythingUpAndComesBackAsAnother() {
        var stand = self.serving()
        let before = stand.incarnation("n1")
        stand.store.remove("/rt/c/members/n1")
        stand.settle()
        #expect(stand.events == [.evicted] && stand.releases == Self.both && stand.machine.incarnation == nil)
        stand.advance(.milliseconds(499))
        #expect(stand.machine.incarnation == nil)
        stand.advance(.milliseconds(501))
        #expect(stand.incarnation("n1") > before && stand.machine.incarnation == stand.incarnation("n1"))
    }

    // MARK: - Leaving

    @Test func aLeavingNodeReleasesThenRemovesItsMemberNodeThenIsGone() {
        var stand = self.serving()
        stand.handle(.leave)
        #expect(stand.releases == Self.both && stand.events == [.left])
        #expect(stand.open.map(\.request) == [.delete(path: "/rt/c/members/n1", version: nil)])
        guard case .leaving? = stand.sent(to: "n2").last else { return recordMissing("it does not say so") }
        #expect(!stand.hasLeft)
        stand.answer()
        #expect(stand.hasLeft && stand.incarnation("n1") == -1)
    }

    @Test func aRemovalThatFailsIsAskedForAgain() {
        var stand = self.serving()
        stand.handle(.leave)
        stand.answer(.failure(.ambiguous(code: -4)))
        #expect(!stand.hasLeft && stand.open.count == 1)
        stand.answer()
        #expect(stand.hasLeft)
    }

    @Test func aNodeThatIsNoMemberYetLeavesAtOnce() {
        var stand = ClusterMachineStand()
        stand.found()
        stand.connect()
        stand.settle { if case .create("/rt/c/members/n1", _, _) = $0 { true } else { false } }
        stand.handle(.leave)
        #expect(stand.hasLeft)
    }

    @Test func aLeavingNodeTakesNothingNew() {
        var stand = self.serving()
        stand.handle(.leave)
        stand.forget()
        stand.receive(.view(stand.view(3, ["n1", "n1", "n1", "n1"], ownerEpochs: [3, 3, 3, 3])))
        stand.advance(.seconds(5))
        #expect(stand.seals.isEmpty && stand.machine.ownership.isEmpty)
    }

    @Test func aControllerThatLeavesWritesNoMoreViews() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.handle(.leave)
        stand.store.end(200)
        stand.advance(.seconds(5))
        #expect(stand.viewWrites.isEmpty && stand.hasLeft)
    }
}
