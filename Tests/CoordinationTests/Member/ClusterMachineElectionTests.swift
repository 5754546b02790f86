import AdminAPI
import Testing

@testable import Coordination

@Suite struct ClusterMachineElectionTests {
    private static func isElection(_ request: ZooKeeperRequest) -> Bool {
        guard case .multi(let parts) = request else { return false }
        return parts.contains { if case .create("/rt/c/controller", _, true) = $0 { true } else { false } }
    }

    private func elections(_ stand: ClusterMachineStand) -> Int { stand.requests.count(where: Self.isElection) }

    /// A node in a cluster that has no controller, which asks for the lock next.
    private func electing(epoch: Int32 = 6) -> ClusterMachineStand {
        var stand = ClusterMachineStand()
        stand.found(epoch: epoch)
        stand.connect()
        for _ in 0..<4 where !stand.open.contains(where: { Self.isElection($0.request) }) {
            stand.settle(until: Self.isElection)
            if stand.open.isEmpty {
                stand.wait(.milliseconds(200))
                stand.handle(.ticked)
            }
        }
        return stand
    }

    @Test func theLockAndTheNextEpochAreWrittenTogether() throws {
        var stand = self.electing()
        guard case .multi(let parts)? = stand.open.first?.request, parts.count == 2, case .create(let path, let data, true) = parts[1] else {
            return recordMissing("\(stand.open)")
        }
        #expect(parts[0] == .set(path: "/rt/c/controller_epoch", data: Array("7".utf8), version: 0))
        #expect(path == "/rt/c/controller")
        let record = try #require(ControllerRecord(json: data, stat: .init(czxid: 1, mzxid: 1, version: 0, ephemeralOwner: 100)))
        #expect(
            record.id == "n1" && record.incarnation == stand.incarnation("n1") && record.epoch == 7 && record.epochVersion == 1 && record.link == "n1:1"
                && record.api == "n1:2")
        #expect(!stand.machine.isController)
        stand.settle()
        #expect(stand.machine.isController && stand.machine.controller?.epoch == 7)
        #expect(stand.events.contains(.elected))
    }

    /// By hand, or by another program: a number that has no next one must not end the processes that read it. Its znode's version is what fences, so
    /// the number only has to be above those of all views.
    @Test(arguments: ["2147483647", "-1", "seven", "", nil])
    func anEpochThatCannotBeCountedOnFromIsAnAlarmAndTheNewestViewCounts(_ text: String?) {
        var stand = ClusterMachineStand.follower()
        stand.publish(stand.view(2, ["n2", "n2", "n2", "n2"]) { $0.controllerEpoch = 6 })
        if let text { stand.store.put("/rt/c/controller_epoch", Array(text.utf8)) } else { stand.store.remove("/rt/c/controller_epoch") }
        stand.store.end(200)
        stand.advance(.seconds(5))
        #expect(stand.machine.isController && stand.machine.controller?.epoch == 7)
        #expect(stand.machine.alarm?.contains("/rt/c/controller_epoch") == true)
    }

    /// Of which epochs there were, nothing is known then.
    @Test func anEpochThatCannotBeCountedOnFromWaitsForAViewThatCanBeRead() {
        var stand = ClusterMachineStand()
        stand.found()
        stand.store.put("/rt/c/controller_epoch", [])
        stand.store.put("/rt/c/view", [])
        stand.connect()
        stand.advance(.seconds(5))
        #expect(!stand.machine.isController && stand.machine.alarm?.contains("/rt/c/controller_epoch") == true)
        stand.store.put("/rt/c/controller_epoch", Array("6".utf8))
        stand.advance(.seconds(5))
        #expect(stand.machine.isController && stand.machine.controller?.epoch == 7)
    }

    /// At a random moment, so that not all do at once.
    @Test func theLockIsTriedForWithinAFifthOfASecond() {
        var stand = ClusterMachineStand()
        stand.found()
        stand.connect()
        stand.settle()
        #expect(!stand.machine.isController && self.elections(stand) == 0)
        stand.advance(.milliseconds(200))
        #expect(stand.machine.isController)
    }

    @Test func nobodyTriesWhileThereIsAController() {
        var stand = ClusterMachineStand.follower()
        stand.advance(.seconds(60))
        #expect(self.elections(stand) == 0 && stand.machine.controller?.id == "n2")
    }

    @Test func theNextIsElectedWhenTheControllersSessionEnds() {
        var stand = ClusterMachineStand.follower()
        stand.store.end(200)
        stand.advance(.seconds(1))
        #expect(stand.machine.isController && stand.machine.controller?.epoch == 2)
    }

    @Test func whoeverComesSecondFollows() {
        var stand = self.electing()
        stand.addMember("n2", session: 200)
        stand.store.put("/rt/c/controller_epoch", Array("7".utf8))
        stand.addController("n2", epoch: 7, session: 200)
        stand.advance(.seconds(2))
        #expect(!stand.machine.isController && stand.machine.controller?.id == "n2" && self.elections(stand) == 1)
        #expect(stand.viewWrites.isEmpty)
    }

    /// It holds the lock without knowing the epoch's version, so it gives it back and begins again.
    @Test func anElectionWhoseAnswerWasLostIsHeldAgain() {
        var stand = self.electing()
        stand.answerIsLost()
        stand.advance(.seconds(1))
        #expect(stand.requests.contains(.delete(path: "/rt/c/controller", version: 0)))
        #expect(stand.machine.isController && stand.machine.controller?.epoch == 8)
    }

    @Test func anElectionThatWasLostItselfIsHeldAgain() {
        var stand = self.electing()
        stand.answer(.failure(.ambiguous(code: -4)))
        stand.advance(.seconds(1))
        #expect(stand.machine.isController && stand.machine.controller?.epoch == 7)
    }

    /// ZooKeeper has lost epochs under which views were written; every node refuses what is older.
    @Test func anElectionGoesBeyondTheEpochOfTheNewestView() {
        var stand = ClusterMachineStand.follower()
        stand.publish(stand.view(2, ["n2", "n2", "n2", "n2"]) { $0.controllerEpoch = 9 })
        stand.store.end(200)
        stand.advance(.seconds(1))
        #expect(stand.machine.isController && stand.machine.controller?.epoch == 10)
    }

    // MARK: - Candidates that reach few others

    /// Follows `n2`, of four members, whose node is about to go.
    private func ofFour() -> ClusterMachineStand {
        var stand = ClusterMachineStand.follower()
        for (id, session) in [("n3", Int64(300)), ("n4", 400)] { stand.addMember(id, session: session) }
        stand.publish(stand.view(2, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 2]))
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        return stand
    }

    /// A wrong link secret, for example: as the controller it would only have to be deposed.
    @Test func aCandidateThatReachesLessThanHalfOfTheOthersLetsThemGoFirst() {
        var stand = self.ofFour()
        for id in ["n3", "n4"] { stand.handle(.linkDown(id: id, incarnation: stand.incarnation(id), isRefused: false)) }
        stand.advance(.seconds(20))
        stand.store.end(200)
        stand.advance(.milliseconds(1900))
        #expect(self.elections(stand) == 0)
        stand.advance(.milliseconds(400))
        #expect(stand.machine.isController)
    }

    @Test func aLinkThatIsMadeMeanwhileEndsTheWait() {
        var stand = self.ofFour()
        stand.advance(.seconds(20))
        stand.store.end(200)
        stand.advance(.milliseconds(300))
        #expect(self.elections(stand) == 0)
        stand.handle(.linkUp(id: "n3", incarnation: stand.incarnation("n3")))
        stand.settle()
        #expect(stand.machine.isController)
    }

    /// The last controller is gone, and so is a node whose port is closed; who was linked a moment ago may be linked again in a moment.
    @Test(arguments: [false, true]) func theDeadAreNotCountedAmongTheOthers(_ areOthersDead: Bool) {
        var stand = self.ofFour()
        for id in ["n3", "n4"] {
            if !areOthersDead { stand.handle(.linkUp(id: id, incarnation: stand.incarnation(id))) }
            stand.handle(.linkDown(id: id, incarnation: stand.incarnation(id), isRefused: areOthersDead))
        }
        stand.advance(.seconds(areOthersDead ? 20 : 5))
        stand.store.end(200)
        stand.advance(.milliseconds(300))
        #expect(stand.machine.isController)
    }

    // MARK: - Deposed

    @Test func aViewOfALaterEpochDeposesTheController() {
        var stand = ClusterMachineStand.controller(of: 2)
        guard var view = stand.machine.view else { return recordMissing("no view") }
        view.version += 1
        view.controllerEpoch = 5
        stand.receive(.view(view))
        #expect(!stand.machine.isController && stand.machine.view == view)
        stand.advance(.seconds(5))
        #expect(stand.machine.isController && stand.machine.controller?.epoch == 6)
    }

    /// Everything it writes is checked against the epoch it was elected with.
    @Test func whoeverRaisesTheEpochDeposesTheController() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.store.put("/rt/c/controller_epoch", Array("9".utf8))
        // The watch is late.
        _ = stand.store.takeFired()
        stand.store.end(200)
        stand.settle()
        #expect(stand.viewWrites.count == 1 && !stand.machine.isController && stand.events.contains(.deposed))
        #expect(stand.storedView?.node("n2")?.state == .active)
    }

    @Test func aControllerWhoseNodeBelongsToAnotherStepsDown() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.store.remove("/rt/c/controller")
        stand.addController("n2", epoch: 2, session: 200)
        stand.settle()
        #expect(!stand.machine.isController && stand.machine.controller?.id == "n2")
    }

    @Test func aControllerThatOthersRemovedLetsThemGoFirstForAMinute() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.store.remove("/rt/c/controller")
        stand.settle()
        #expect(!stand.machine.isController && stand.events.contains(.deposed))
        stand.advance(.milliseconds(2999))
        #expect(self.elections(stand) == 0)
        stand.advance(.milliseconds(300))
        #expect(stand.machine.isController && stand.machine.controller?.epoch == 2)
    }

    @Test func aControllerThatWasDeposedLongAgoWaitsForNobody() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.store.remove("/rt/c/controller")
        stand.store.put("/rt/c/controller_epoch", Array("2".utf8))
        stand.addController("n2", epoch: 2, session: 200)
        stand.settle()
        stand.advance(.seconds(60))
        stand.store.remove("/rt/c/controller")
        stand.advance(.milliseconds(300))
        #expect(stand.machine.isController && stand.machine.controller?.epoch == 3)
    }
}
