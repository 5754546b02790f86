import AdminAPI
import Testing

@testable import Coordination

/// Nodes that have not joined their cluster, and the reasons that they report.
@Suite struct ClusterMachineWaitingTests {
    private func bench(change: (inout ClusterSettings) -> Void = { _ in }) -> ClusterMachineBench {
        ClusterMachineBench { settings in
            settings.servers = "z:2181/a"
            settings.sessionFault = { " (Connection refused)" }
            change(&settings)
        }
    }

    private func waitings(_ bench: ClusterMachineBench) -> [String] {
        bench.effects.compactMap { if case .log(let event) = $0, event.kind == .waiting { event.text } else { nil } }
    }

    // MARK: - ZooKeeper

    @Test(arguments: [
        (ZooKeeperState.Loss.unreachable, "no ZooKeeper server of z:2181/a gives this node a session (Connection refused)"),
        (.unresolvable, "a host name in zookeeper z:2181/a does not resolve"),
        (.unauthenticated, "ZooKeeper (z:2181/a) refuses zookeeper-user and its password"),
    ]) func aNodeWithoutASessionReportsTheReason(_ loss: ZooKeeperState.Loss, _ sentence: String) {
        var bench = self.bench()
        bench.handle(.session(ZooKeeperState(generation: 1, phase: .connecting)))
        bench.handle(.session(ZooKeeperState(generation: 1, phase: .lost(loss))))
        bench.handle(.session(ZooKeeperState(generation: 2, phase: .connecting)))
        bench.advance(.milliseconds(4999))
        #expect(self.waitings(bench) == [] && bench.machine.membership.joinWatch.reason == nil)
        bench.advance(.milliseconds(1))
        #expect(self.waitings(bench) == ["not in cluster c for 5 seconds: \(sentence)"] && bench.machine.membership.joinWatch.reason == sentence)
        bench.advance(.seconds(600))
        // The event is repeated after 5, 10, 20, 40, 80, 160 and 300 more seconds.
        #expect(self.waitings(bench).count == 7 && !bench.machine.membership.joinWatch.hasJoined)
    }

    @Test func theReasonSaysThatTheServersMayHaveNoMajority() {
        var bench = self.bench()
        bench.connect()
        for _ in 0..<10 {
            while !bench.open.isEmpty { bench.reply(.failure(.ambiguous(code: -7))) }
            bench.wait(.seconds(1))
            bench.handle(.ticked)
        }
        #expect(bench.machine.membership.joinWatch.reason == "ZooKeeper has not created /rt/c: no reply in time; perhaps the servers have no majority")
    }

    @Test func anIDThatAnotherSessionHoldsIsTheReason() {
        var bench = self.bench { $0.duplicateWait = .seconds(60) }
        bench.found()
        bench.addMember("n1", session: 900, link: "elsewhere:1")
        bench.connect()
        bench.advance(.seconds(6))
        #expect(bench.machine.membership.joinWatch.reason?.contains("another session with ZooKeeper holds the id n1") == true)
        bench.store.end(900)
        // The new controller waits for a moment: a cluster with a configuration but no view may have lost the view.
        bench.advance(.seconds(3))
        #expect(bench.machine.membership.joinWatch.reason == nil && bench.machine.membership.joinWatch.hasJoined)
    }

    // MARK: - A chroot

    @Test func aMissingChrootIsCreated() {
        var bench = self.bench { $0.chroot = "/a/b" }
        bench.connect()
        bench.advance(.seconds(2))
        #expect(bench.machine.isController && bench.machine.membership.joinWatch.hasJoined)
        #expect(bench.requests.prefix(3) == [.createShared(path: "/a"), .createShared(path: "/a/b"), .createShared(path: "/a/b/rt")])
        #expect(bench.store.tree["/a/b/rt/c/members/n1"] != nil && bench.store.tree["/rt"] == nil)
    }

    /// The owner of the parent znode may allow no other user to create znodes there.
    @Test(arguments: [true, false]) func aChrootThatTheNodeMayNotCreateMustExist(_ exists: Bool) {
        var bench = self.bench { $0.chroot = "/a" }
        if exists { bench.store.put("/a", []) }
        bench.connect()
        for _ in 0..<40 {
            while let first = bench.open.first {
                bench.reply(first.request == .createShared(path: "/a") ? .failure(.refused(.notAuthorized, part: nil)) : nil)
            }
            bench.wait(.milliseconds(300))
            bench.handle(.ticked)
        }
        #expect(bench.machine.membership.joinWatch.hasJoined == exists && bench.refusals == [])
        #expect(
            exists || bench.machine.membership.joinWatch.reason?.hasPrefix("/a does not exist in ZooKeeper, and these credentials may not create it") == true)
    }

    // MARK: - The controller

    private func member(_ state: NodeState?) -> ClusterMachineBench {
        var bench = self.bench()
        bench.found()
        bench.addMember("n2", session: 200)
        bench.addController("n2", session: 200)
        bench.connect()
        bench.settle()
        var view = bench.view(1, ["n2", "n2", "n2", "n2"])
        view.nodes.removeAll { $0.id == "n1" }
        if let state {
            view.upsert(.init(id: "n1", incarnation: bench.incarnation("n1"), link: "n1:1", api: "n1:2", version: "1", state: state))
        }
        bench.publish(view)
        return bench
    }

    @Test func aControllerThatCannotBeDialledIsTheReason() {
        var bench = self.member(.joining)
        bench.handle(.linkDown(bench.process("n2"), isRefused: false, reason: "rejected: n1 and n2 have different link secrets"))
        bench.advance(.seconds(5))
        #expect(bench.machine.membership.joinWatch.reason == "no link to the controller n2 at n2:1: rejected: n1 and n2 have different link secrets")
        #expect(!bench.machine.membership.joinWatch.hasJoined)
    }

    @Test(arguments: [nil, NodeState.joining]) func aControllerThatDoesNotAdmitThisNodeIsTheReason(_ state: NodeState?) {
        var bench = self.member(state)
        bench.handle(.linkUp(bench.process("n2")))
        bench.advance(.seconds(5))
        let sentence = state == nil ? "has not added this node to the view" : "cannot reach this node's link at n1:1"
        #expect(bench.machine.membership.joinWatch.reason?.contains(sentence) == true, "\(bench.machine.membership.joinWatch.reason ?? "")")
        #expect(!bench.machine.membership.joinWatch.hasJoined)
    }

    @Test(arguments: [NodeState.active, .cordoned, .draining, .drained, .fenced]) func aNodeThatTheControllerHasAdmittedHasJoined(_ state: NodeState) {
        var bench = self.member(state)
        bench.advance(.seconds(20))
        #expect(bench.machine.membership.joinWatch.reason == nil && bench.machine.membership.joinWatch.hasJoined && self.waitings(bench) == [])
    }

    /// A node that was a member reports why it has no session. It does not count as a starting node.
    @Test func aFormerMemberReportsWhyItHasNoSession() {
        var bench = self.member(.active)
        bench.lose()
        bench.advance(.seconds(5))
        #expect(bench.machine.membership.joinWatch.reason?.contains("gives this node a session") == true && bench.machine.membership.joinWatch.hasJoined)
    }

    @Test func aLeavingNodeReportsNoReason() {
        var bench = self.member(.joining)
        bench.handle(.leave)
        bench.advance(.seconds(20))
        #expect(self.waitings(bench) == [])
    }

    // MARK: - Isolation

    @Test func aMemberWithoutAnyLinkIsIsolatedAfterElevenSeconds() {
        var bench = self.member(.active)
        bench.handle(.linkUp(bench.process("n2")))
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        bench.advance(.milliseconds(10_999))
        #expect(!bench.machine.isIsolated(at: bench.now))
        bench.advance(.milliseconds(1))
        #expect(bench.machine.isIsolated(at: bench.now))
        bench.handle(.linkUp(bench.process("n2")))
        #expect(!bench.machine.isIsolated(at: bench.now))
    }

    /// If two nodes lose their link, the controller stays ready and the other node is isolated.
    @Test func aControllerIsNotIsolated() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        bench.advance(.seconds(60))
        #expect(bench.machine.isController && !bench.machine.isIsolated(at: bench.now))
    }

    /// The other members may be dead, but without ZooKeeper they stay in the view. A load balancer must be able to use this node.
    @Test func withoutZooKeeperNoMemberIsIsolated() {
        var bench = self.member(.active)
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        bench.advance(.seconds(5))
        bench.suspend()
        bench.lose()
        bench.advance(.seconds(60))
        #expect(bench.machine.membership.joinWatch.hasJoined && !bench.machine.isIsolated(at: bench.now))
    }

    @Test func theLastMemberIsNotIsolated() {
        var bench = self.member(.active)
        bench.handle(.linkDown(bench.process("n2"), isRefused: true))
        bench.store.end(200)
        bench.advance(.seconds(60))
        #expect(!bench.machine.isIsolated(at: bench.now))
    }
}
