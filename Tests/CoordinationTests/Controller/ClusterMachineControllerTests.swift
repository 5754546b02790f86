import AdminAPI
import Partitioning
import Testing

@testable import Coordination

@Suite struct ClusterMachineControllerTests {
    /// A finished handoff of the controller itself causes a new decision. Without ZooKeeper the controller decides nothing.
    @Test func aSuspendedControllerDecidesNothing() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.isStoragePrompt = false
        #expect(bench.request(AdminRequest(.drain, node: "n1"))?.isSuccess == true)
        bench.advance(.seconds(1))
        let handedOver = bench.handOvers
        #expect(!handedOver.isEmpty)
        bench.suspend()
        bench.settle()
        bench.forget()
        bench.handle(.handedOver(handedOver))
        bench.handle(.ticked)
        #expect(bench.requests.isEmpty && bench.events.isEmpty)
        bench.reconnect()
        bench.isStoragePrompt = true
        bench.balance()
        #expect(bench.state("n1") == .drained && bench.count("n1") == 0)
    }

    @Test func theFirstViewIsCreatedWithAnEpochCheckAndGrantsAllPartitions() throws {
        var bench = ClusterMachineBench(partitionCount: 4)
        bench.connect()
        bench.advance(.seconds(2))
        let write = try #require(bench.viewWrites.first)
        #expect(write[0] == .check(path: "/rt/c/controller_epoch", version: 1))
        guard case .create(_, let data, false) = write[1] else { return recordMissing("\(write)") }
        let view = try ClusterView(json: data)
        #expect(view.version == 1 && view.controllerEpoch == 1 && view.writer == "n1/\(bench.incarnation("n1"))/1")
        #expect(view.partitions == Array(repeating: .init(owner: "n1", ownerEpoch: 1), count: 4))
        #expect(view.node("n1")?.state == .active && view.node("n1")?.link == "n1:1")
        #expect(bench.states == Array(repeating: .serving, count: 4))
        #expect(bench.viewWrites.count == 1)
    }

    @Test func theNextViewReplacesOnlyTheVersionOnWhichItIsBased() throws {
        var bench = ClusterMachineBench.controller()
        bench.arrive("n2")
        let write = try #require(bench.viewWrites.first)
        #expect(write[0] == .check(path: "/rt/c/controller_epoch", version: 1))
        guard case .set(_, let data, version: 0) = write[1] else { return recordMissing("\(write)") }
        #expect(try ClusterView(json: data).version == 2)
        #expect(bench.machine.view == bench.storedView)
    }

    @Test func withoutAChangeNoViewIsWritten() {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.advance(.seconds(60))
        #expect(bench.viewWrites.isEmpty)
    }

    @Test func aNewViewIsPushedToAllLinkedNodes() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.arrive("n3")
        guard case .view(let view)? = bench.sent(to: "n2").last(where: { if case .view = $0 { true } else { false } }) else {
            return recordMissing("no view was pushed")
        }
        #expect(view.node("n3") != nil)
    }

    // MARK: - Nodes that join

    @Test func aMemberThatTheControllerCannotReachStaysJoiningAndOwnsNothing() {
        var bench = ClusterMachineBench.controller()
        bench.arrive("n2", isLinked: false)
        #expect(bench.state("n2") == .joining)
        #expect(bench.peers?.map(\.id) == ["n2"])
        bench.balance()
        #expect(bench.state("n2") == .joining && bench.count("n2") == 0)
        bench.handle(.linkUp(bench.process("n2")))
        bench.settle()
        #expect(bench.state("n2") == .active)
    }

    /// The link works in one direction only. If the node got partitions, the controller would receive no report about them.
    @Test func aMemberThatCannotReportStaysJoiningAndOwnsNothing() {
        var bench = ClusterMachineBench.controller()
        bench.addMember("n2", session: 200)
        bench.settle()
        bench.handle(.linkUp(bench.process("n2")))
        bench.advance(.seconds(20))
        #expect(bench.state("n2") == .joining && bench.count("n2") == 0)
        #expect(bench.request(AdminRequest(.status))?.json.contains("It has not reported to the controller n1 yet") == true)
        bench.report()
        #expect(bench.state("n2") == .active)
    }

    @Test func aMemberStaysJoiningUntilHalfOfTheOtherMembersReachIt() {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.addMember("n4", session: 400)
        bench.settle()
        bench.handle(.linkUp(bench.process("n4")))
        bench.receive(.report(bench.report(of: "n4")), from: "n4")
        bench.advance(.seconds(4))
        #expect(bench.state("n4") == .joining)
        bench.receive(.report(bench.report(of: "n2")), from: "n2")
        bench.settle()
        #expect(bench.state("n4") == .active)
    }

    @Test func balancingWaitsUntilThreeSecondsAfterTheLastJoin() {
        var bench = ClusterMachineBench.controller(partitionCount: 12)
        bench.arrive("n2")
        bench.advance(.seconds(2))
        bench.arrive("n3")
        bench.advance(.milliseconds(2900))
        #expect(bench.count("n1") == 12 && bench.state("n2") == .active && bench.state("n3") == .active)
        bench.advance(.milliseconds(200))
        #expect(bench.count("n1") < 12)
        bench.balance()
        #expect([bench.count("n1"), bench.count("n2"), bench.count("n3")] == [4, 4, 4])
    }

    @Test func continuousJoinsDelayBalancingForFifteenSeconds() {
        var bench = ClusterMachineBench.controller(partitionCount: 12)
        for index in 2...8 {
            bench.arrive("n\(index)")
            bench.advance(.seconds(2))
        }
        // It is 14 s after the first join and 2 s after the last join.
        #expect(bench.count("n1") == 12)
        bench.advance(.milliseconds(1100))
        #expect(bench.count("n1") < 12)
    }

    // MARK: - Nodes that vanish

    @Test func partitionsOfAVanishedNodeAreGrantedImmediatelyUnderTheNextOwnerEpoch() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        let before = try #require(bench.machine.view)
        bench.vanish("n2")
        let after = try #require(bench.machine.view)
        #expect(after.node("n2")?.state == .down && after.node("n2")?.incarnation == nil)
        for (old, new) in zip(before.partitions, after.partitions) {
            #expect(new.owner == "n1" && new.ownerEpoch == old.ownerEpoch + (old.owner == "n2" ? 1 : 0))
        }
        #expect(after.version == before.version + 1)
    }

    @Test func aNewIncarnationGetsGrantsWithNewOwnerEpochs() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        let before = try #require(bench.machine.view)
        bench.store.end(200)
        bench.arrive("n2")
        let after = try #require(bench.machine.view)
        #expect(after.node("n2")?.incarnation == bench.incarnation("n2"))
        #expect(before.partitions(ownedBy: "n2").allSatisfy { after.partitions[$0].ownerEpoch > before.partitions[$0].ownerEpoch })
        bench.balance()
        #expect(bench.count("n1") == 4 && bench.count("n2") == 4)
    }

    /// A member that is missing in an incomplete list is not gone.
    @Test func aMemberWhoseZnodeCouldNotBeReadDoesNotCountAsGone() {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.handle(.changed(["/rt/c/members"]))
        bench.settle { $0 == .get(path: "/rt/c/members/n2", watch: true) }
        bench.reply(.failure(.ambiguous(code: -4)))
        bench.settle()
        #expect(bench.viewWrites.isEmpty)
        bench.advance(.seconds(1))
        #expect(bench.viewWrites.isEmpty && bench.state("n2") == .active)
        #expect(bench.requests.count { $0 == .get(path: "/rt/c/members/n2", watch: true) } == 2)
    }

    // MARK: - Moves

    @Test func aMoveIsFinishedWhenItsSourceHasReportedTheHandoff() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        #expect(bench.request(AdminRequest(.move, node: "n1", partition: try #require(bench.machine.view?.partitions(ownedBy: "n2").first))) != nil)
        let partition = try #require(bench.machine.view?.moving.first)
        bench.advance(.seconds(4))
        #expect(bench.machine.view?.moving.contains(partition) == true)
        bench.report()
        #expect(bench.machine.view?.partitions[partition].owner == "n1" && bench.states[partition] == .serving)
    }

    /// The source may have released the partition long ago. If it has not, the next owner epoch fences it.
    @Test func aMoveFromASilentNodeEndsWithoutItsReport() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        let partition = try #require(bench.machine.view?.partitions(ownedBy: "n2").first)
        #expect(bench.request(AdminRequest(.move, node: "n1", partition: partition)) != nil)
        let before = try #require(bench.machine.view?.partitions[partition])
        #expect(before.move != nil)
        bench.advance(.seconds(5))
        let after = try #require(bench.machine.view?.partitions[partition])
        #expect(after.owner == "n1" && after.ownerEpoch == before.ownerEpoch + 1 && after.move == nil)
    }

    @Test func noPartitionMovesFromOrToASilentNode() {
        var bench = ClusterMachineBench.controller(of: 3, partitionCount: 12)
        for _ in 0..<6 {
            bench.advance(.seconds(1))
            bench.report(except: ["n3"])
        }
        #expect(bench.request(AdminRequest(.drain, node: "n3"))?.isSuccess == true)
        for _ in 0..<6 {
            bench.advance(.seconds(1))
            bench.report(except: ["n3"])
        }
        #expect(bench.machine.view?.moving == [] && bench.count("n3") == 4 && bench.state("n3") == .draining)
        // Partitions of a dead node are still reassigned.
        bench.vanish("n2")
        #expect(bench.machine.view?.orphans == [] && bench.count("n1") == 8)
        bench.balance()
        #expect(bench.count("n3") == 0 && bench.state("n3") == .drained)
    }

    @Test func healthIsCriticalWhileNoViewCanBeWritten() {
        var bench = ClusterMachineBench.controller(of: 2)
        let view = bench.store.tree["/rt/c/view"]!.data
        // A newer version might write such a view.
        bench.store.put("/rt/c/view", Array(#"{"v":900,"format":2}"#.utf8))
        bench.settle()
        let broken = bench.request(AdminRequest(.status), number: 1)
        #expect(broken?.json.contains("\"health\":\"critical\"") == true && broken?.json.contains("delete /rt/c/view") == true)
        bench.store.put("/rt/c/view", view)
        bench.settle()
        #expect(bench.request(AdminRequest(.status), number: 2)?.json.contains("\"health\":\"critical\"") == false)
    }

    @Test(arguments: ["", "{}", #"{"v":6"#, nil]) func aMissingOrUnreadableViewIsWrittenAgain(_ text: String?) {
        var bench = ClusterMachineBench.controller(of: 2)
        let version = bench.machine.view?.version ?? 0
        if let text { bench.store.put("/rt/c/view", Array(text.utf8)) } else { bench.store.remove("/rt/c/view") }
        bench.settle()
        #expect(bench.storedView == bench.machine.view && bench.storedView?.version == version + 1)
        #expect(bench.machine.alarm?.contains("its view of version \(version) was lost; the controller has written the view again") == true)
    }

    /// The owner still reports, so its partitions are not reassigned, and publishers wait.
    @Test func partitionsThatAreGrantedButNotServedForTenSecondsAreCritical() {
        var bench = ClusterMachineBench.controller(of: 2)
        func isTold(_ number: UInt64) -> Bool {
            let answer = bench.request(AdminRequest(.status), number: number)
            return answer?.json.contains("were granted to n2 and have not been served for 10 seconds") == true
                && answer?.json.contains("\"unserved\":4") == true && answer?.json.contains("\"health\":\"critical\"") == true
        }
        for second in 1...11 {
            bench.advance(.seconds(1))
            var report = bench.report(of: "n2")
            report.serving = []
            bench.receive(.report(report))
            #expect(!isTold(UInt64(second)) || second == 11)
        }
        bench.advance(.seconds(1))
        #expect(isTold(100) && bench.machine.controlling?.unservedTooLong(at: bench.now).count == 4)
        bench.report()
        bench.advance(.seconds(1))
        bench.report()
        #expect(!isTold(101))
    }

    @Test func partitionsOfADrainedNodeMoveOnlyToNodesThatReport() {
        var bench = ClusterMachineBench.controller(of: 3, partitionCount: 12)
        for second in 0..<40 {
            if second == 6 { #expect(bench.request(AdminRequest(.drain, node: "n2"))?.isSuccess == true) }
            bench.advance(.seconds(1))
            bench.report(except: ["n3"])
        }
        #expect(bench.state("n2") == .drained && bench.count("n1") == 8 && bench.count("n3") == 4)
    }

    // MARK: - The registry

    /// A refused request is repeated after a delay, and not as fast as the servers reply.
    @Test func theRemovalOfAnEntryIsRepeatedAfterADelay() {
        func isRemoval(_ request: ZooKeeperRequest) -> Bool {
            if case .multi(let parts) = request, case .delete("/rt/c/nodes/n3", _)? = parts.last { true } else { false }
        }
        var bench = ClusterMachineBench.controller(of: 3)
        bench.vanish("n3")
        bench.handle(.request(number: 1, AdminRequest(.forget, node: "n3")))
        bench.settle(until: isRemoval)
        bench.reply(.failure(.refused(.notEmpty, part: 1)))
        bench.settle(until: isRemoval)
        #expect(bench.requests.count(where: isRemoval) == 1 && bench.machine.isController)
        bench.advance(.milliseconds(200))
        #expect(bench.requests.count(where: isRemoval) == 2 && bench.store.tree["/rt/c/nodes/n3"] == nil)
    }

    @Test func aRemovalUnderAnOldEpochDeposesTheController() {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.handle(.linkDown(bench.process("n3"), isRefused: true))
        bench.receive(.report(bench.report(of: "n2")), from: "n2")
        var report = bench.report(of: "n2")
        report.refused = [.init(id: "n3", incarnation: bench.incarnation("n3"))]
        bench.receive(.report(report), from: "n2")
        bench.wait(.milliseconds(400))
        bench.handle(.ticked)
        bench.settle {
            if case .multi(let parts) = $0, case .delete("/rt/c/members/n3", _)? = parts.last { true } else { false }
        }
        bench.reply(.failure(.refused(.badVersion, part: 0)))
        #expect(!bench.machine.isController)
    }

    @Test func anUnreadableRecordDoesNotReactivateANode() {
        var bench = ClusterMachineBench.controller(of: 3)
        #expect(bench.request(AdminRequest(.drain, node: "n2"), number: 1)?.isSuccess == true)
        bench.balance()
        #expect(bench.state("n2") == .drained)
        for id in ["n2", "n3"] { bench.store.put("/rt/c/nodes/\(id)", Array("{\"desired\":7}".utf8)) }
        bench.settle()
        bench.balance()
        // The desired state of n2 is known from before. The desired state of n3 is unknown, so n3 is cordoned.
        #expect(bench.state("n2") == .drained && bench.state("n3") == .cordoned && bench.machine.alarm?.contains("cannot be read") == true)
        #expect(bench.request(AdminRequest(.undrain, node: "n2"), number: 2)?.isSuccess == true)
        bench.settle()
        #expect(bench.state("n2") == .active)
    }
}
