import AdminAPI
import Partitioning
import Testing

@testable import Coordination

@Suite struct ClusterMachineControllerTests {
    /// The controller's own report may show that a partition is handed over, and then it decides again. Without ZooKeeper it decides nothing.
    @Test func aSuspendedControllerDecidesNothing() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.isStoragePrompt = false
        #expect(stand.ask(AdminRequest(.drain, node: "n1"))?.isSuccess == true)
        stand.advance(.seconds(1))
        let handedOver = stand.handOvers
        #expect(!handedOver.isEmpty)
        stand.suspend()
        stand.settle()
        stand.forget()
        stand.handle(.handedOver(handedOver))
        stand.handle(.ticked)
        #expect(stand.requests.isEmpty && stand.events.isEmpty)
        stand.reconnect()
        stand.isStoragePrompt = true
        stand.balance()
        #expect(stand.state("n1") == .drained && stand.count("n1") == 0)
    }

    @Test func theFirstViewIsCreatedUnderTheEpochAndGrantsEverything() throws {
        var stand = ClusterMachineStand(partitionCount: 4)
        stand.connect()
        stand.advance(.seconds(2))
        let write = try #require(stand.viewWrites.first)
        #expect(write[0] == .check(path: "/rt/c/controller_epoch", version: 1))
        guard case .create(_, let data, false) = write[1] else { return recordMissing("\(write)") }
        let view = try ClusterView(json: data)
        #expect(view.version == 1 && view.controllerEpoch == 1 && view.writer == "n1/\(stand.incarnation("n1"))/1")
        #expect(view.partitions == Array(repeating: .init(owner: "n1", ownerEpoch: 1), count: 4))
        #expect(view.node("n1")?.state == .active && view.node("n1")?.link == "n1:1")
        #expect(stand.states == Array(repeating: .serving, count: 4))
        #expect(stand.viewWrites.count == 1)
    }

    @Test func theNextViewIsWrittenOverTheVersionItWasMadeFrom() throws {
        var stand = ClusterMachineStand.controller()
        stand.arrive("n2")
        let write = try #require(stand.viewWrites.first)
        #expect(write[0] == .check(path: "/rt/c/controller_epoch", version: 1))
        guard case .set(_, let data, version: 0) = write[1] else { return recordMissing("\(write)") }
        #expect(try ClusterView(json: data).version == 2)
        #expect(stand.machine.view == stand.storedView)
    }

    @Test func whenNothingIsDifferentNothingIsWritten() {
        var stand = ClusterMachineStand.controller(of: 3)
        stand.advance(.seconds(60))
        #expect(stand.viewWrites.isEmpty)
    }

    @Test func aNewViewIsPushedToWhoeverHasALink() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.arrive("n3")
        guard case .view(let view)? = stand.sent(to: "n2").last(where: { if case .view = $0 { true } else { false } }) else {
            return recordMissing("not pushed")
        }
        #expect(view.node("n3") != nil)
    }

    // MARK: - Who comes

    @Test func aMemberThatTheControllerCannotReachJoinsAndOwnsNothing() {
        var stand = ClusterMachineStand.controller()
        stand.arrive("n2", isLinked: false)
        #expect(stand.state("n2") == .joining)
        #expect(stand.peers?.map(\.id) == ["n2"])
        stand.balance()
        #expect(stand.state("n2") == .joining && stand.count("n2") == 0)
        stand.handle(.linkUp(id: "n2", incarnation: stand.incarnation("n2")))
        stand.settle()
        #expect(stand.state("n2") == .active)
    }

    /// A way that works in one direction only: it would be given partitions, and nobody would hear what becomes of them.
    @Test func aMemberThatCannotReportJoinsAndOwnsNothing() {
        var stand = ClusterMachineStand.controller()
        stand.addMember("n2", session: 200)
        stand.settle()
        stand.handle(.linkUp(id: "n2", incarnation: stand.incarnation("n2")))
        stand.advance(.seconds(20))
        #expect(stand.state("n2") == .joining && stand.count("n2") == 0)
        #expect(stand.ask(AdminRequest(.status))?.json.contains("It has not reported to the controller n1 yet") == true)
        stand.report()
        #expect(stand.state("n2") == .active)
    }

    @Test func aMemberThatTheOthersCannotReachJoinsUntilHalfOfThemDo() {
        var stand = ClusterMachineStand.controller(of: 3)
        stand.addMember("n4", session: 400)
        stand.settle()
        stand.handle(.linkUp(id: "n4", incarnation: stand.incarnation("n4")))
        stand.receive(.report(stand.report(of: "n4")), from: "n4")
        stand.advance(.seconds(4))
        #expect(stand.state("n4") == .joining)
        stand.receive(.report(stand.report(of: "n2")), from: "n2")
        stand.settle()
        #expect(stand.state("n4") == .active)
    }

    @Test func balancingWaitsUntilThreeSecondsAfterTheLastJoin() {
        var stand = ClusterMachineStand.controller(partitionCount: 12)
        stand.arrive("n2")
        stand.advance(.seconds(2))
        stand.arrive("n3")
        stand.advance(.milliseconds(2900))
        #expect(stand.count("n1") == 12 && stand.state("n2") == .active && stand.state("n3") == .active)
        stand.advance(.milliseconds(200))
        #expect(stand.count("n1") < 12)
        stand.balance()
        #expect([stand.count("n1"), stand.count("n2"), stand.count("n3")] == [4, 4, 4])
    }

    @Test func joinsThatDoNotEndHoldBalancingForAQuarterOfAMinute() {
        var stand = ClusterMachineStand.controller(partitionCount: 12)
        for index in 2...8 {
            stand.arrive("n\(index)")
            stand.advance(.seconds(2))
        }
        // 14 s after the first, 2 s after the last.
        #expect(stand.count("n1") == 12)
        stand.advance(.milliseconds(1100))
        #expect(stand.count("n1") < 12)
    }

    // MARK: - Who goes

    @Test func whatAVanishedNodeOwnedIsGrantedAtOnceUnderTheNextOwnerEpoch() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        let before = try #require(stand.machine.view)
        stand.vanish("n2")
        let after = try #require(stand.machine.view)
        #expect(after.node("n2")?.state == .down && after.node("n2")?.incarnation == nil)
        for (old, new) in zip(before.partitions, after.partitions) {
            #expect(new.owner == "n1" && new.ownerEpoch == old.ownerEpoch + (old.owner == "n2" ? 1 : 0))
        }
        #expect(after.version == before.version + 1)
    }

    @Test func anotherIncarnationOfTheSameIDIsGrantedAnew() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        let before = try #require(stand.machine.view)
        stand.store.end(200)
        stand.arrive("n2")
        let after = try #require(stand.machine.view)
        #expect(after.node("n2")?.incarnation == stand.incarnation("n2"))
        #expect(before.partitions(ownedBy: "n2").allSatisfy { after.partitions[$0].ownerEpoch > before.partitions[$0].ownerEpoch })
        stand.balance()
        #expect(stand.count("n1") == 4 && stand.count("n2") == 4)
    }

    /// Whoever is not on half a list is not gone.
    @Test func aMemberThatCouldNotBeReadIsNotTakenForGone() {
        var stand = ClusterMachineStand.controller(of: 3)
        stand.handle(.changed(["/rt/c/members"]))
        stand.settle { $0 == .get(path: "/rt/c/members/n2", watch: true) }
        stand.answer(.failure(.ambiguous(code: -4)))
        stand.settle()
        #expect(stand.viewWrites.isEmpty)
        stand.advance(.seconds(1))
        #expect(stand.viewWrites.isEmpty && stand.state("n2") == .active)
        #expect(stand.requests.count { $0 == .get(path: "/rt/c/members/n2", watch: true) } == 2)
    }

    // MARK: - Moves

    @Test func aMoveIsFinishedWhenItsSourceHasReportedIt() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        #expect(stand.ask(AdminRequest(.move, node: "n1", partition: try #require(stand.machine.view?.partitions(ownedBy: "n2").first))) != nil)
        let partition = try #require(stand.machine.view?.moving.first)
        stand.advance(.seconds(4))
        #expect(stand.machine.view?.moving.contains(partition) == true)
        stand.report()
        #expect(stand.machine.view?.partitions[partition].owner == "n1" && stand.states[partition] == .serving)
    }

    /// It may have given it up long ago. Under the next owner epoch whatever it still does is fenced.
    @Test func aMoveOutOfANodeThatSaysNothingIsEndedWithoutIt() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        let partition = try #require(stand.machine.view?.partitions(ownedBy: "n2").first)
        #expect(stand.ask(AdminRequest(.move, node: "n1", partition: partition)) != nil)
        let before = try #require(stand.machine.view?.partitions[partition])
        #expect(before.move != nil)
        stand.advance(.seconds(5))
        let after = try #require(stand.machine.view?.partitions[partition])
        #expect(after.owner == "n1" && after.ownerEpoch == before.ownerEpoch + 1 && after.move == nil)
    }

    @Test func nothingIsMovedFromOrToANodeThatSaysNothing() {
        var stand = ClusterMachineStand.controller(of: 3, partitionCount: 12)
        for _ in 0..<6 {
            stand.advance(.seconds(1))
            stand.report(except: ["n3"])
        }
        #expect(stand.ask(AdminRequest(.drain, node: "n3"))?.isSuccess == true)
        for _ in 0..<6 {
            stand.advance(.seconds(1))
            stand.report(except: ["n3"])
        }
        #expect(stand.machine.view?.moving == [] && stand.count("n3") == 4 && stand.state("n3") == .draining)
        // What a dead one leaves behind is given to others all the same.
        stand.vanish("n2")
        #expect(stand.machine.view?.orphans == [] && stand.count("n1") == 8)
        stand.balance()
        #expect(stand.count("n3") == 0 && stand.state("n3") == .drained)
    }

    @Test func whileNoViewCanBeWrittenItIsCritical() {
        var stand = ClusterMachineStand.controller(of: 2)
        let view = stand.store.tree["/rt/c/view"]!.data
        // As a newer version might write it.
        stand.store.put("/rt/c/view", Array(#"{"v":900,"format":2}"#.utf8))
        stand.settle()
        let broken = stand.ask(AdminRequest(.status), number: 1)
        #expect(broken?.json.contains("\"health\":\"critical\"") == true && broken?.json.contains("delete /rt/c/view") == true)
        stand.store.put("/rt/c/view", view)
        stand.settle()
        #expect(stand.ask(AdminRequest(.status), number: 2)?.json.contains("\"health\":\"critical\"") == false)
    }

    @Test(arguments: ["", "{}", #"{"v":6"#, nil]) func aViewThatIsNoneIsWrittenAgain(_ text: String?) {
        var stand = ClusterMachineStand.controller(of: 2)
        let version = stand.machine.view?.version ?? 0
        if let text { stand.store.put("/rt/c/view", Array(text.utf8)) } else { stand.store.remove("/rt/c/view") }
        stand.settle()
        #expect(stand.storedView == stand.machine.view && stand.storedView?.version == version + 1)
        #expect(stand.machine.alarm?.contains("its view of version \(version) was gone; it was written again") == true)
    }

    /// Its owner reports, so nothing is reassigned, and publishers wait.
    @Test func whatIsGrantedAndNotServedForTenSecondsIsCritical() {
        var stand = ClusterMachineStand.controller(of: 2)
        func isTold(_ number: UInt64) -> Bool {
            let answer = stand.ask(AdminRequest(.status), number: number)
            return answer?.json.contains("were granted to n2 and have not been served for 10 seconds") == true
                && answer?.json.contains("\"unserved\":4") == true && answer?.json.contains("\"health\":\"critical\"") == true
        }
        for second in 1...11 {
            stand.advance(.seconds(1))
            var report = stand.report(of: "n2")
            report.serving = []
            stand.receive(.report(report))
            #expect(!isTold(UInt64(second)) || second == 11)
        }
        stand.advance(.seconds(1))
        #expect(isTold(100) && stand.machine.controlling?.unservedTooLong(at: stand.now).count == 4)
        stand.report()
        stand.advance(.seconds(1))
        stand.report()
        #expect(!isTold(101))
    }

    @Test func whatADrainedNodeHadGoesToThoseThatAnswer() {
        var stand = ClusterMachineStand.controller(of: 3, partitionCount: 12)
        for second in 0..<40 {
            if second == 6 { #expect(stand.ask(AdminRequest(.drain, node: "n2"))?.isSuccess == true) }
            stand.advance(.seconds(1))
            stand.report(except: ["n3"])
        }
        #expect(stand.state("n2") == .drained && stand.count("n1") == 8 && stand.count("n3") == 4)
    }

    // MARK: - The registry

    /// What the servers refuse is not repeated as fast as they answer.
    @Test func anEntryThatCannotBeRemovedIsTriedAgainAfterAWhile() {
        func isRemoval(_ request: ZooKeeperRequest) -> Bool {
            if case .multi(let parts) = request, case .delete("/rt/c/nodes/n3", _)? = parts.last { true } else { false }
        }
        var stand = ClusterMachineStand.controller(of: 3)
        stand.vanish("n3")
        stand.handle(.request(number: 1, AdminRequest(.forget, node: "n3")))
        stand.settle(until: isRemoval)
        stand.answer(.failure(.refused(.notEmpty, part: 1)))
        stand.settle(until: isRemoval)
        #expect(stand.requests.count(where: isRemoval) == 1 && stand.machine.isController)
        stand.advance(.milliseconds(200))
        #expect(stand.requests.count(where: isRemoval) == 2 && stand.store.tree["/rt/c/nodes/n3"] == nil)
    }

    @Test func aRemovalUnderAnOldEpochDeposes() {
        var stand = ClusterMachineStand.controller(of: 3)
        stand.handle(.linkDown(id: "n3", incarnation: stand.incarnation("n3"), isRefused: true))
        stand.receive(.report(stand.report(of: "n2")), from: "n2")
        var report = stand.report(of: "n2")
        report.refused = [.init(id: "n3", incarnation: stand.incarnation("n3"))]
        stand.receive(.report(report), from: "n2")
        stand.wait(.milliseconds(400))
        stand.handle(.ticked)
        stand.settle {
            if case .multi(let parts) = $0, case .delete("/rt/c/members/n3", _)? = parts.last { true } else { false }
        }
        stand.answer(.failure(.refused(.badVersion, part: 0)))
        #expect(!stand.machine.isController)
    }

    @Test func whatCannotBeReadOfANodeLeavesItAsItWas() {
        var stand = ClusterMachineStand.controller(of: 3)
        #expect(stand.ask(AdminRequest(.drain, node: "n2"), number: 1)?.isSuccess == true)
        stand.balance()
        #expect(stand.state("n2") == .drained)
        for id in ["n2", "n3"] { stand.store.put("/rt/c/nodes/\(id)", Array("{\"desired\":7}".utf8)) }
        stand.settle()
        stand.balance()
        // One wish is known from before; the other one might have been any.
        #expect(stand.state("n2") == .drained && stand.state("n3") == .cordoned && stand.machine.alarm?.contains("cannot be read") == true)
        #expect(stand.ask(AdminRequest(.undrain, node: "n2"), number: 2)?.isSuccess == true)
        stand.settle()
        #expect(stand.state("n2") == .active)
    }
}
