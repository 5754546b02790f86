import AdminAPI
import Testing

@testable import Coordination

/// Nodes that are not in their cluster, and what they say of it.
@Suite struct ClusterMachineWaitingTests {
    private func stand(change: (inout ClusterSettings) -> Void = { _ in }) -> ClusterMachineStand {
        ClusterMachineStand { settings in
            settings.servers = "z:2181/a"
            settings.sessionFault = { " (Connection refused)" }
            change(&settings)
        }
    }

    private func said(_ stand: ClusterMachineStand) -> [String] {
        stand.told.compactMap { if case .log(let event) = $0, event.kind == .waiting { event.text } else { nil } }
    }

    // MARK: - ZooKeeper

    @Test(arguments: [
        (ZooKeeperState.Loss.unreachable, "no ZooKeeper server of z:2181/a gives this node a session (Connection refused)"),
        (.unresolvable, "a name among the ZooKeeper servers z:2181/a does not resolve"),
        (.unauthenticated, "ZooKeeper (z:2181/a) refuses zookeeper-user and its password"),
    ]) func aNodeWithoutASessionSaysWhy(_ loss: ZooKeeperState.Loss, _ sentence: String) {
        var stand = self.stand()
        stand.handle(.session(ZooKeeperState(generation: 1, phase: .connecting)))
        stand.handle(.session(ZooKeeperState(generation: 1, phase: .lost(loss))))
        stand.handle(.session(ZooKeeperState(generation: 2, phase: .connecting)))
        stand.advance(.milliseconds(4999))
        #expect(self.said(stand) == [] && stand.machine.joinWatch.reason == nil)
        stand.advance(.milliseconds(1))
        #expect(self.said(stand) == ["not in cluster c for 5 seconds: \(sentence)"] && stand.machine.joinWatch.reason == sentence)
        stand.advance(.seconds(600))
        // After 5, 10, 20, 40, 80, 160 and 300 seconds more.
        #expect(self.said(stand).count == 7 && !stand.machine.joinWatch.hasJoined)
    }

    @Test func serversWithoutAMajorityAreTheReason() {
        var stand = self.stand()
        stand.connect()
        for _ in 0..<10 {
            while !stand.open.isEmpty { stand.answer(.failure(.ambiguous(code: -7))) }
            stand.wait(.seconds(1))
            stand.handle(.ticked)
        }
        #expect(stand.machine.joinWatch.reason == "ZooKeeper does not make /rt/c: no answer in time, as from servers without a majority")
    }

    @Test func anIDThatAnotherHoldsIsTheReason() {
        var stand = self.stand { $0.duplicateWait = .seconds(60) }
        stand.found()
        stand.addMember("n1", session: 900, link: "elsewhere:1")
        stand.connect()
        stand.advance(.seconds(6))
        #expect(stand.machine.joinWatch.reason?.contains("another session with ZooKeeper holds the id n1") == true)
        stand.store.end(900)
        // Its controller waits for a moment, because a cluster that has a configuration and no view may have lost it.
        stand.advance(.seconds(3))
        #expect(stand.machine.joinWatch.reason == nil && stand.machine.joinWatch.hasJoined)
    }

    // MARK: - A chroot

    @Test func aChrootThatDoesNotExistIsMade() {
        var stand = self.stand { $0.chroot = "/a/b" }
        stand.connect()
        stand.advance(.seconds(2))
        #expect(stand.machine.isController && stand.machine.joinWatch.hasJoined)
        #expect(stand.requests.prefix(3) == [.createShared(path: "/a"), .createShared(path: "/a/b"), .createShared(path: "/a/b/rt")])
        #expect(stand.store.tree["/a/b/rt/c/members/n1"] != nil && stand.store.tree["/rt"] == nil)
    }

    /// Whoever made it may not let everybody write beside it.
    @Test(arguments: [true, false]) func aChrootThatMayNotBeMadeHasToBeThere(_ exists: Bool) {
        var stand = self.stand { $0.chroot = "/a" }
        if exists { stand.store.put("/a", []) }
        stand.connect()
        for _ in 0..<40 {
            while let first = stand.open.first {
                stand.answer(first.request == .createShared(path: "/a") ? .failure(.refused(.notAuthorized, part: nil)) : nil)
            }
            stand.wait(.milliseconds(300))
            stand.handle(.ticked)
        }
        #expect(stand.machine.joinWatch.hasJoined == exists && stand.refusals == [])
        #expect(exists || stand.machine.joinWatch.reason?.hasPrefix("/a does not exist in ZooKeeper, and these credentials may not make it") == true)
    }

    // MARK: - The controller

    private func member(_ state: NodeState?) -> ClusterMachineStand {
        var stand = self.stand()
        stand.found()
        stand.addMember("n2", session: 200)
        stand.addController("n2", session: 200)
        stand.connect()
        stand.settle()
        var view = stand.view(1, ["n2", "n2", "n2", "n2"])
        view.nodes.removeAll { $0.id == "n1" }
        if let state {
            view.upsert(.init(id: "n1", incarnation: stand.incarnation("n1"), link: "n1:1", api: "n1:2", version: "1", state: state))
        }
        stand.publish(view)
        return stand
    }

    @Test func aControllerThatCannotBeDialledIsTheReason() {
        var stand = self.member(.joining)
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false, reason: "rejected: n1 and n2 have different link secrets"))
        stand.advance(.seconds(5))
        #expect(stand.machine.joinWatch.reason == "no link to the controller n2 at n2:1: rejected: n1 and n2 have different link secrets")
        #expect(!stand.machine.joinWatch.hasJoined)
    }

    @Test(arguments: [nil, NodeState.joining]) func aControllerThatDoesNotTakeThisNodeIsTheReason(_ state: NodeState?) {
        var stand = self.member(state)
        stand.handle(.linkUp(id: "n2", incarnation: stand.incarnation("n2")))
        stand.advance(.seconds(5))
        let sentence = state == nil ? "has not taken this node into the view" : "cannot reach this node's link at n1:1"
        #expect(stand.machine.joinWatch.reason?.contains(sentence) == true, "\(stand.machine.joinWatch.reason ?? "")")
        #expect(!stand.machine.joinWatch.hasJoined)
    }

    @Test(arguments: [NodeState.active, .cordoned, .draining, .drained, .fenced]) func aNodeThatTheControllerHasTakenIsIn(_ state: NodeState) {
        var stand = self.member(state)
        stand.advance(.seconds(20))
        #expect(stand.machine.joinWatch.reason == nil && stand.machine.joinWatch.hasJoined && self.said(stand) == [])
    }

    /// It has served, and says why it is out; it is not a node that starts.
    @Test func aNodeThatWasInSaysWhyItIsOut() {
        var stand = self.member(.active)
        stand.lose()
        stand.advance(.seconds(5))
        #expect(stand.machine.joinWatch.reason?.contains("gives this node a session") == true && stand.machine.joinWatch.hasJoined)
    }

    @Test func whoLeavesWaitsForNothing() {
        var stand = self.member(.joining)
        stand.handle(.leave)
        stand.advance(.seconds(20))
        #expect(self.said(stand) == [])
    }

    // MARK: - Isolated

    @Test func aMemberWithoutAnyLinkIsIsolatedAfterTheOthersWouldBeGone() {
        var stand = self.member(.active)
        stand.handle(.linkUp(id: "n2", incarnation: stand.incarnation("n2")))
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        stand.advance(.milliseconds(10_999))
        #expect(!stand.machine.isIsolated(at: stand.now))
        stand.advance(.milliseconds(1))
        #expect(stand.machine.isIsolated(at: stand.now))
        stand.handle(.linkUp(id: "n2", incarnation: stand.incarnation("n2")))
        #expect(!stand.machine.isIsolated(at: stand.now))
    }

    /// Of two, the one that the other has to get to serves on.
    @Test func aControllerIsNotIsolated() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        stand.advance(.seconds(60))
        #expect(stand.machine.isController && !stand.machine.isIsolated(at: stand.now))
    }

    /// The others may be dead, and nothing can take them out of the view: a load balancer is to have this one left.
    @Test func withoutZooKeeperNoMemberIsIsolated() {
        var stand = self.member(.active)
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        stand.advance(.seconds(5))
        stand.suspend()
        stand.lose()
        stand.advance(.seconds(60))
        #expect(stand.machine.joinWatch.hasJoined && !stand.machine.isIsolated(at: stand.now))
    }

    @Test func aLastMemberIsNotIsolated() {
        var stand = self.member(.active)
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: true))
        stand.store.end(200)
        stand.advance(.seconds(60))
        #expect(!stand.machine.isIsolated(at: stand.now))
    }
}
