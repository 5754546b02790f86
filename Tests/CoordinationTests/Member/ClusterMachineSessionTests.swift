import AdminAPI
import Partitioning
import Testing

@testable import Coordination

@Suite struct ClusterMachineSessionTests {
    /// A follower that serves partitions 0 and 1.
    private func serving() -> ClusterMachineBench {
        var bench = ClusterMachineBench.follower()
        bench.publish(bench.view(2, ["n1", "n1", "n2", "n2"], ownerEpochs: [2, 2, 1, 1]))
        bench.forget()
        return bench
    }

    private static let both = [Grant(partition: 0, ownerEpoch: 2), Grant(partition: 1, ownerEpoch: 2)]

    @Test func anOwnerContinuesToServeWithoutAConnection() {
        var bench = self.serving()
        bench.suspend()
        bench.advance(.seconds(60))
        #expect(bench.releases.isEmpty && bench.states == [.serving, .serving, nil, nil])
        #expect(bench.requests.isEmpty)
        bench.reconnect()
        bench.advance(.seconds(1))
        #expect(bench.releases.isEmpty && bench.states == [.serving, .serving, nil, nil])
    }

    /// Watches may have fired while there was no connection.
    @Test func allZnodesAreReadAgainAfterAReconnection() {
        var bench = self.serving()
        bench.suspend()
        bench.reconnect()
        #expect(
            Set(bench.requests) == [
                .get(path: "/rt/c/config", watch: true), .get(path: "/rt/c/controller", watch: true), .get(path: "/rt/c/view", watch: true),
                .exists(path: "/rt/c/members/n1", watch: true),
            ])
    }

    @Test func aPartitionThatIsReassignedWhileSuspendedIsReleased() {
        var bench = self.serving()
        bench.suspend()
        bench.receive(.view(bench.view(3, ["n2", "n1", "n2", "n2"], ownerEpochs: [3, 2, 1, 1])))
        #expect(bench.releases == [.init(partition: 0, ownerEpoch: 2)])
        #expect(bench.states == [nil, .serving, nil, nil])
    }

    @Test func aPartitionGrantedWhileTheSessionIsSuspendedIsSealedAfterTheReconnection() {
        var bench = self.serving()
        bench.suspend()
        bench.receive(.view(bench.view(3, ["n1", "n1", "n1", "n2"], ownerEpochs: [2, 2, 2, 1])))
        bench.advance(.seconds(1))
        #expect(bench.seals.isEmpty && bench.states == [.serving, .serving, nil, nil])
        bench.reconnect()
        #expect(bench.seals == [.init(partition: 2, ownerEpoch: 2)])
    }

    /// The ZooKeeper client decides when a session is lost. After the loss this node owns no partition.
    @Test(arguments: [ZooKeeperState.Loss.expired, .givenUp])
    func aLostSessionReleasesAllPartitionsImmediately(_ loss: ZooKeeperState.Loss) {
        var bench = self.serving()
        bench.suspend()
        bench.lose(loss)
        #expect(bench.releases == Self.both)
        #expect(bench.machine.ownership.isEmpty && bench.machine.incarnation == nil && bench.machine.controller?.id == "n2")
        #expect(bench.events == [.sessionLost])
        bench.advance(.seconds(60))
        #expect(bench.requests.isEmpty)
    }

    /// With a log that fences, the loss of the session ends no grant. The grants end with newer ones.
    @Test func withALogThatFencesALostSessionReleasesNothing() {
        var bench = ClusterMachineBench.follower { $0.useFencingLog() }
        bench.publish(bench.view(2, ["n1", "n1", "n2", "n2"], ownerEpochs: [2, 2, 1, 1]))
        bench.forget()
        bench.lose()
        bench.advance(.seconds(60))
        #expect(bench.releases.isEmpty && bench.states == [.serving, .serving, nil, nil])
        // Another node has got partition 0 meanwhile. The view comes from a peer.
        let view = bench.view(3, ["n2", nil, "n2", "n2"], ownerEpochs: [3, 2, 1, 1]) { $0.nodes[0].incarnation = nil }
        bench.write(view)
        bench.receive(.view(view))
        #expect(bench.releases == [Self.both[0]] && bench.states == [nil, .serving, nil, nil])
        bench.connect(session: 101)
        bench.settle()
        #expect(bench.machine.incarnation != nil && bench.releases == [Self.both[0]])
        bench.publish(bench.view(4, ["n2", "n1", "n2", "n2"], ownerEpochs: [3, 3, 1, 1]))
        #expect(bench.releases == Self.both && bench.seals == [.init(partition: 1, ownerEpoch: 3)] && bench.states == [nil, .serving, nil, nil])
    }

    @Test func withALogThatFencesAnEvictedNodeServesUntilANewerViewArrives() {
        var bench = ClusterMachineBench.follower { $0.useFencingLog() }
        bench.publish(bench.view(2, ["n1", "n1", "n2", "n2"], ownerEpochs: [2, 2, 1, 1]))
        bench.store.remove("/rt/c/members/n1")
        bench.settle()
        #expect(bench.releases.isEmpty && bench.states == [.serving, .serving, nil, nil])
        bench.handle(.leave)
        #expect(bench.releases == Self.both)
    }

    @Test func aNodeWithoutASessionStillForwardsRequestsToTheController() {
        var bench = self.serving()
        bench.lose()
        #expect(bench.request(AdminRequest(.status)) == nil)
        #expect(bench.sent(to: "n2").contains { if case .request = $0 { true } else { false } })
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        let own = bench.request(AdminRequest(.status), number: 2)
        #expect(own?.json.contains("has no connection to ZooKeeper") == true && own?.json.contains("There is no controller") == false)
    }

    @Test func aNodeWithoutASessionIsNotTheController() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.lose()
        #expect(bench.machine.controller == nil && !bench.machine.isController)
        #expect(bench.request(AdminRequest(.status))?.json.contains("and knows no controller") == true)
    }

    @Test func theResponseSaysThatTheNodeHasNotJoined() {
        var bench = ClusterMachineBench()
        #expect(bench.request(AdminRequest(.status))?.json.contains("n1 has not joined its cluster. n1 has no connection to ZooKeeper") == true)
    }

    @Test func aNewSessionIsANewIncarnationWithoutTheOldPartitions() {
        var bench = self.serving()
        let before = bench.incarnation("n1")
        bench.lose()
        bench.forget()
        bench.connect(session: 101)
        bench.settle()
        #expect(bench.incarnation("n1") > before && bench.machine.incarnation == bench.incarnation("n1"))
        // The view still names n1 as the owner, but the grant belongs to the old incarnation.
        #expect(bench.count("n1") == 2 && bench.seals.isEmpty && bench.machine.ownership.isEmpty)
        bench.publish(bench.view(3, ["n1", "n1", "n2", "n2"], ownerEpochs: [3, 3, 1, 1]))
        #expect(bench.seals == [.init(partition: 0, ownerEpoch: 3), .init(partition: 1, ownerEpoch: 3)])
    }

    @Test func requestsNameTheGenerationOfTheirSession() {
        var bench = self.serving()
        bench.lose()
        bench.forget()
        bench.connect(session: 101)
        bench.settle()
        for case .perform(_, _, let generation, _) in bench.effects { #expect(generation == 2) }
    }

    @Test func aReplyFromBeforeTheLossIsIgnored() throws {
        var bench = ClusterMachineBench()
        bench.found()
        bench.connect()
        bench.settle { if case .create("/rt/c/members/n1", _, _) = $0 { true } else { false } }
        let token = bench.open[0].token
        bench.lose()
        bench.handle(.replied(token: token, .success(.stat(.init(czxid: 5, mzxid: 5, version: 0, ephemeralOwner: 100)))))
        #expect(bench.machine.incarnation == nil && bench.machine.session.pending.isEmpty)
    }

    /// Another node or an operator has removed the member znode, although its session is still valid.
    @Test func anEvictedNodeReleasesItsPartitionsAndJoinsAsANewIncarnation() {
        var bench = self.serving()
        let before = bench.incarnation("n1")
        bench.store.remove("/rt/c/members/n1")
        bench.settle()
        #expect(bench.events == [.evicted] && bench.releases == Self.both && bench.machine.incarnation == nil)
        bench.advance(.milliseconds(499))
        #expect(bench.machine.incarnation == nil)
        bench.advance(.milliseconds(501))
        #expect(bench.incarnation("n1") > before && bench.machine.incarnation == bench.incarnation("n1"))
    }

    // MARK: - The controller's znode

    /// The reply to a read may arrive after the connection is lost: the znode still belongs to this node's session.
    @Test func aControllerWithoutAConnectionRecognizesItsZnode() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.handle(.changed(["/rt/c/controller"]))
        bench.suspend()
        bench.settle()
        #expect(bench.machine.isController && !bench.events.contains(.deposed))
    }

    /// If the node did not recognize its member znode, it would delete the znode as a leftover of a former session.
    @Test func aNodeWithoutAConnectionRecognizesItsMemberZnode() {
        var bench = ClusterMachineBench()
        bench.connect()
        bench.settle { if case .create("/rt/c/members/n1", _, _) = $0 { true } else { false } }
        bench.loseReply()
        bench.suspend()
        bench.settle()
        #expect(bench.machine.incarnation == bench.incarnation("n1") && bench.incarnation("n1") > 0)
    }

    // MARK: - Leaving

    @Test func aLeavingNodeReleasesItsPartitionsThenRemovesItsMemberZnode() {
        var bench = self.serving()
        bench.handle(.leave)
        #expect(bench.releases == Self.both && bench.events == [.left])
        #expect(bench.open.map(\.request) == [.delete(path: "/rt/c/members/n1", version: nil)])
        guard case .leaving? = bench.sent(to: "n2").last else { return recordMissing("the node does not announce that it leaves") }
        #expect(!bench.hasLeft)
        bench.reply()
        #expect(bench.hasLeft && bench.incarnation("n1") == -1)
    }

    @Test func aRemovalThatFailsIsRepeated() {
        var bench = self.serving()
        bench.handle(.leave)
        bench.reply(.failure(.ambiguous(code: -4)))
        #expect(!bench.hasLeft && bench.open.count == 1)
        bench.reply()
        #expect(bench.hasLeft)
    }

    @Test func aNodeThatIsNotYetAMemberLeavesImmediately() {
        var bench = ClusterMachineBench()
        bench.found()
        bench.connect()
        bench.settle { if case .create("/rt/c/members/n1", _, _) = $0 { true } else { false } }
        bench.handle(.leave)
        #expect(bench.hasLeft)
    }

    @Test func aLeavingNodeTakesNoNewPartitions() {
        var bench = self.serving()
        bench.handle(.leave)
        bench.forget()
        bench.receive(.view(bench.view(3, ["n1", "n1", "n1", "n1"], ownerEpochs: [3, 3, 3, 3])))
        bench.advance(.seconds(5))
        #expect(bench.seals.isEmpty && bench.machine.ownership.isEmpty)
    }

    @Test func aControllerThatLeavesWritesNoMoreViews() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.handle(.leave)
        bench.store.end(200)
        bench.advance(.seconds(5))
        #expect(bench.viewWrites.isEmpty && bench.hasLeft)
    }
}
