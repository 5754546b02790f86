import AdminAPI
import Testing

@testable import Coordination

@Suite struct ClusterMachineElectionTests {
    private static func isElection(_ request: ZooKeeperRequest) -> Bool {
        guard case .multi(let parts) = request else { return false }
        return parts.contains { if case .create("/rt/c/controller", _, true) = $0 { true } else { false } }
    }

    private func elections(_ bench: ClusterMachineBench) -> Int { bench.requests.count(where: Self.isElection) }

    /// A node in a cluster without a controller, whose next request is the election.
    private func electing(epoch: Int32 = 6) -> ClusterMachineBench {
        var bench = ClusterMachineBench()
        bench.found(epoch: epoch)
        bench.connect()
        for _ in 0..<4 where !bench.open.contains(where: { Self.isElection($0.request) }) {
            bench.settle(until: Self.isElection)
            if bench.open.isEmpty {
                bench.wait(.milliseconds(200))
                bench.handle(.ticked)
            }
        }
        return bench
    }

    @Test func theControllersZnodeAndTheNextEpochAreWrittenTogether() throws {
        var bench = self.electing()
        guard case .multi(let parts)? = bench.open.first?.request, parts.count == 2, case .create(let path, let data, true) = parts[1] else {
            return recordMissing("\(bench.open)")
        }
        #expect(parts[0] == .set(path: "/rt/c/controller_epoch", data: Array("7".utf8), version: 0))
        #expect(path == "/rt/c/controller")
        let record = try #require(ControllerRecord(json: data, stat: .init(czxid: 1, mzxid: 1, version: 0, ephemeralOwner: 100)))
        #expect(
            record.id == "n1" && record.incarnation == bench.incarnation("n1") && record.epoch == 7 && record.epochVersion == 1 && record.link == "n1:1"
                && record.api == "n1:2")
        #expect(!bench.machine.isController)
        bench.settle()
        #expect(bench.machine.isController && bench.machine.controller?.epoch == 7)
        #expect(bench.events.contains(.elected))
    }

    /// An operator or another program has written an invalid epoch. This must not crash the processes that read it. The version of the znode is the fence, so
    /// the number only has to be above the epochs of all views.
    @Test(arguments: ["2147483647", "-1", "seven", "", nil])
    func anInvalidEpochIsAnAlarmAndTheEpochOfTheNewestViewCounts(_ text: String?) {
        var bench = ClusterMachineBench.follower()
        bench.publish(bench.view(2, ["n2", "n2", "n2", "n2"]) { $0.controllerEpoch = 6 })
        if let text { bench.store.put("/rt/c/controller_epoch", Array(text.utf8)) } else { bench.store.remove("/rt/c/controller_epoch") }
        bench.store.end(200)
        bench.advance(.seconds(5))
        #expect(bench.machine.isController && bench.machine.controller?.epoch == 7)
        #expect(bench.machine.alarm?.contains("/rt/c/controller_epoch") == true)
    }

    /// Without a readable view, no node knows which epochs were used before.
    @Test func withAnInvalidEpochAndAnUnreadableViewNoControllerIsElected() {
        var bench = ClusterMachineBench()
        bench.found()
        bench.store.put("/rt/c/controller_epoch", [])
        bench.store.put("/rt/c/view", [])
        bench.connect()
        bench.advance(.seconds(5))
        #expect(!bench.machine.isController && bench.machine.alarm?.contains("/rt/c/controller_epoch") == true)
        bench.store.put("/rt/c/controller_epoch", Array("6".utf8))
        bench.advance(.seconds(5))
        #expect(bench.machine.isController && bench.machine.controller?.epoch == 7)
    }

    /// Each node tries at a random time, so that not all nodes try together.
    @Test func anElectionStartsWithin200Milliseconds() {
        var bench = ClusterMachineBench()
        bench.found()
        bench.connect()
        bench.settle()
        #expect(!bench.machine.isController && self.elections(bench) == 0)
        bench.advance(.milliseconds(200))
        #expect(bench.machine.isController)
    }

    @Test func noElectionStartsWhileThereIsAController() {
        var bench = ClusterMachineBench.follower()
        bench.advance(.seconds(60))
        #expect(self.elections(bench) == 0 && bench.machine.controller?.id == "n2")
    }

    @Test func aNewControllerIsElectedWhenTheControllersSessionEnds() {
        var bench = ClusterMachineBench.follower()
        bench.store.end(200)
        bench.advance(.seconds(1))
        #expect(bench.machine.isController && bench.machine.controller?.epoch == 2)
    }

    @Test func aNodeThatLosesTheElectionFollowsTheController() {
        var bench = self.electing()
        bench.addMember("n2", session: 200)
        bench.store.put("/rt/c/controller_epoch", Array("7".utf8))
        bench.addController("n2", epoch: 7, session: 200)
        bench.advance(.seconds(2))
        #expect(!bench.machine.isController && bench.machine.controller?.id == "n2" && self.elections(bench) == 1)
        #expect(bench.viewWrites.isEmpty)
    }

    /// The node has created the controller's znode but does not know the version of the epoch. So it deletes the znode and starts a new election.
    @Test func anElectionWhoseReplyWasLostIsRepeated() {
        var bench = self.electing()
        bench.loseReply()
        bench.advance(.seconds(1))
        #expect(bench.requests.contains(.delete(path: "/rt/c/controller", version: 0)))
        #expect(bench.machine.isController && bench.machine.controller?.epoch == 8)
    }

    @Test func anElectionThatWasNotExecutedIsRepeated() {
        var bench = self.electing()
        bench.reply(.failure(.ambiguous(code: -4)))
        bench.advance(.seconds(1))
        #expect(bench.machine.isController && bench.machine.controller?.epoch == 7)
    }

    /// ZooKeeper has lost epochs under which views were written. All nodes refuse views with an older epoch.
    @Test func theEpochOfAnElectionIsAboveTheEpochOfTheNewestView() {
        var bench = ClusterMachineBench.follower()
        bench.publish(bench.view(2, ["n2", "n2", "n2", "n2"]) { $0.controllerEpoch = 9 })
        bench.store.end(200)
        bench.advance(.seconds(1))
        #expect(bench.machine.isController && bench.machine.controller?.epoch == 10)
    }

    // MARK: - Candidates that reach few members

    /// A follower of `n2` in a cluster of four members. The link to `n2` is down.
    private func ofFour() -> ClusterMachineBench {
        var bench = ClusterMachineBench.follower()
        for (id, session) in [("n3", Int64(300)), ("n4", 400)] { bench.addMember(id, session: session) }
        bench.publish(bench.view(2, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 2]))
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        return bench
    }

    /// The candidate may have a wrong link secret. As the controller, it would soon be deposed.
    @Test func aCandidateThatReachesLessThanHalfOfTheMembersWaits() {
        var bench = self.ofFour()
        for id in ["n3", "n4"] { bench.handle(.linkDown(bench.process(id), isRefused: false)) }
        bench.advance(.seconds(20))
        bench.store.end(200)
        bench.advance(.milliseconds(1900))
        #expect(self.elections(bench) == 0)
        bench.advance(.milliseconds(400))
        #expect(bench.machine.isController)
    }

    @Test func aNewLinkEndsTheWait() {
        var bench = self.ofFour()
        bench.advance(.seconds(20))
        bench.store.end(200)
        bench.advance(.milliseconds(300))
        #expect(self.elections(bench) == 0)
        bench.handle(.linkUp(bench.process("n3")))
        bench.settle()
        #expect(bench.machine.isController)
    }

    /// The last controller and nodes with a closed port count as dead. A link that broke a moment ago counts as up, because it may come back.
    @Test(arguments: [false, true]) func deadNodesDoNotCountForACandidate(_ areOthersDead: Bool) {
        var bench = self.ofFour()
        for id in ["n3", "n4"] {
            if !areOthersDead { bench.handle(.linkUp(bench.process(id))) }
            bench.handle(.linkDown(bench.process(id), isRefused: areOthersDead))
        }
        bench.advance(.seconds(areOthersDead ? 20 : 5))
        bench.store.end(200)
        bench.advance(.milliseconds(300))
        #expect(bench.machine.isController)
    }

    // MARK: - Deposed controllers

    @Test func aViewOfALaterEpochDeposesTheController() {
        var bench = ClusterMachineBench.controller(of: 2)
        guard var view = bench.machine.view else { return recordMissing("no view") }
        view.version += 1
        view.controllerEpoch = 5
        bench.receive(.view(view))
        #expect(!bench.machine.isController && bench.machine.view == view)
        bench.advance(.seconds(5))
        #expect(bench.machine.isController && bench.machine.controller?.epoch == 6)
    }

    /// ZooKeeper checks each write of a controller against the version of the epoch with which it was elected.
    @Test func aHigherEpochDeposesTheController() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.store.put("/rt/c/controller_epoch", Array("9".utf8))
        // The controller is not notified of the change before it writes.
        _ = bench.store.takeFired()
        bench.store.end(200)
        bench.settle()
        #expect(bench.viewWrites.count == 1 && !bench.machine.isController && bench.events.contains(.deposed))
        #expect(bench.storedView?.node("n2")?.state == .active)
    }

    @Test func aControllerWhoseZnodeBelongsToAnotherNodeStepsDown() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.store.remove("/rt/c/controller")
        bench.addController("n2", epoch: 2, session: 200)
        bench.settle()
        #expect(!bench.machine.isController && bench.machine.controller?.id == "n2")
    }

    @Test func aControllerThatWasRemovedWaitsBeforeItsNextElection() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.store.remove("/rt/c/controller")
        bench.settle()
        #expect(!bench.machine.isController && bench.events.contains(.deposed))
        bench.advance(.milliseconds(2999))
        #expect(self.elections(bench) == 0)
        bench.advance(.milliseconds(300))
        #expect(bench.machine.isController && bench.machine.controller?.epoch == 2)
    }

    @Test func aControllerThatWasDeposedAMinuteAgoDoesNotWait() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.store.remove("/rt/c/controller")
        bench.store.put("/rt/c/controller_epoch", Array("2".utf8))
        bench.addController("n2", epoch: 2, session: 200)
        bench.settle()
        bench.advance(.seconds(60))
        bench.store.remove("/rt/c/controller")
        bench.advance(.milliseconds(300))
        #expect(bench.machine.isController && bench.machine.controller?.epoch == 3)
    }
}
