import Testing

@testable import Coordination

@Suite struct ClusterMachineControllerTests {
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

    @Test func aMemberThatTheOthersCannotReachJoinsUntilHalfOfThemDo() {
        var stand = ClusterMachineStand.controller(of: 3)
        stand.addMember("n4", session: 400)
        stand.settle()
        stand.handle(.linkUp(id: "n4", incarnation: stand.incarnation("n4")))
        stand.advance(.seconds(5))
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
        stand.settle { $0 == .get(path: "/rt/c/members/n2", watch: false) }
        stand.answer(.failure(.ambiguous(code: -4)))
        stand.settle()
        #expect(stand.viewWrites.isEmpty)
        stand.advance(.seconds(1))
        #expect(stand.viewWrites.isEmpty && stand.state("n2") == .active)
        #expect(stand.requests.count { $0 == .get(path: "/rt/c/members/n2", watch: false) } == 2)
    }

    // MARK: - Moves

    @Test func aMoveIsFinishedWhenItsSourceHasReportedIt() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        #expect(stand.ask(ClusterQuestion(.move, node: "n1", partition: try #require(stand.machine.view?.partitions(ownedBy: "n2").first))) != nil)
        let partition = try #require(stand.machine.view?.moving.first)
        stand.advance(.seconds(20))
        #expect(stand.machine.view?.moving.contains(partition) == true)
        stand.report()
        #expect(stand.machine.view?.partitions[partition].owner == "n1" && stand.states[partition] == .serving)
    }
}
