import AdminAPI
import Partitioning
import Testing

@testable import Coordination

/// What operators change, at the controller.
@Suite struct ClusterMachineChangeTests {
    private static let check = ZooKeeperRequest.Part.check(path: "/rt/c/controller_epoch", version: 1)

    private func record(_ id: String, _ stand: ClusterMachineStand) throws -> NodeRecord {
        try NodeRecord(json: try #require(stand.store.tree["/rt/c/nodes/\(id)"]).data)
    }

    private func configuration(_ stand: ClusterMachineStand) throws -> ClusterConfiguration {
        try ClusterConfiguration(json: try #require(stand.store.tree["/rt/c/config"]).data)
    }

    @Test func pauseAndResumeWriteTheConfigurationUnderTheEpoch() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.handle(.request(number: 1, AdminRequest(.pause, by: "me")))
        guard case .multi(let parts)? = stand.open.last?.request, parts.count == 2, case .set("/rt/c/config", _, version: 0) = parts[1] else {
            return recordMissing("\(stand.open)")
        }
        #expect(parts[0] == Self.check && stand.answer(to: 1) == nil)
        stand.settle()
        #expect(stand.answer(to: 1)?.isSuccess == true && stand.events.contains(.operation))
        #expect(try self.configuration(stand).rebalance == .paused && stand.machine.view?.mode == .maintenance)
        #expect(stand.ask(AdminRequest(.pause), number: 2)?.json.contains("nothing to change") == true)
        #expect(stand.ask(AdminRequest(.resume), number: 3)?.isSuccess == true)
        #expect(try self.configuration(stand).rebalance == .automatic && stand.machine.view?.mode == .normal)
    }

    @Test func aDrainedNodeGivesEverythingAwayAndComesBackWhenUndrained() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        #expect(stand.ask(AdminRequest(.drain, node: "n2", by: "me", note: "disk"))?.isSuccess == true)
        let record = try self.record("n2", stand)
        #expect(record.desired == .draining && record.by == "me" && record.note == "disk")
        #expect(stand.state("n2") == .draining)
        stand.balance()
        #expect(stand.state("n2") == .drained && stand.count("n2") == 0 && stand.count("n1") == 8)
        #expect(stand.ask(AdminRequest(.undrain, node: "n2"), number: 2)?.isSuccess == true)
        stand.balance()
        #expect(stand.state("n2") == .active && stand.count("n2") == 4)
    }

    @Test func aCordonedNodeKeepsWhatItHasAndGainsNothing() {
        var stand = ClusterMachineStand.controller(of: 3, partitionCount: 12)
        #expect(stand.ask(AdminRequest(.cordon, node: "n2"))?.isSuccess == true)
        stand.vanish("n3")
        stand.balance()
        #expect(stand.state("n2") == .cordoned && stand.count("n2") == 4 && stand.count("n1") == 8)
        #expect(stand.ask(AdminRequest(.uncordon, node: "n2"), number: 2)?.isSuccess == true)
        stand.balance()
        #expect(stand.state("n2") == .active && stand.count("n2") == 6)
    }

    @Test func aWishIsNotEndedByTheWordForAnother() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        #expect(stand.ask(AdminRequest(.drain, node: "n2", by: "ann", note: "disk"))?.isSuccess == true)
        for (number, kind) in [AdminRequest.Kind.uncordon, .cordon].enumerated() {
            let asked = stand.ask(AdminRequest(kind, node: "n2", by: "bob"), number: UInt64(10 + number))
            let answer = try #require(asked)
            #expect(answer.code == .conflict && answer.json.contains("n2 is draining, requested by ann (disk): undrain it first"), "\(kind)")
        }
        #expect(stand.state("n2") == .draining)
        #expect(try self.record("n2", stand).by == "ann")
        #expect(stand.ask(AdminRequest(.undrain, node: "n2"), number: 2)?.isSuccess == true)
        #expect(stand.ask(AdminRequest(.cordon, node: "n2"), number: 3)?.isSuccess == true)
        let undrain = stand.ask(AdminRequest(.undrain, node: "n2", by: "bob"), number: 4)
        #expect(undrain?.code == .conflict && undrain?.json.contains("n2 is cordoned, requested by an operator: uncordon it first") == true)
        #expect(stand.state("n2") == .cordoned)
        // Which asks for more of the same.
        #expect(stand.ask(AdminRequest(.drain, node: "n2"), number: 5)?.isSuccess == true)
        #expect(stand.state("n2") == .draining)
    }

    @Test func aMovedPartitionStaysWhereItWasPutUntilItIsUnpinned() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        let partition = try #require(stand.machine.view?.partitions(ownedBy: "n1").first)
        #expect(stand.ask(AdminRequest(.move, node: "n2", partition: partition))?.isSuccess == true)
        stand.balance()
        #expect(stand.machine.view?.partitions[partition].owner == "n2" && stand.count("n2") == 4)
        #expect(try self.configuration(stand).pins == [partition: "n2"])
        #expect(stand.ask(AdminRequest(.unpin, partition: partition), number: 2)?.isSuccess == true)
        #expect(try self.configuration(stand).pins == [:])
    }

    @Test func whatCannotBeMovedIsRefusedWithTheReason() {
        var stand = ClusterMachineStand.controller(of: 2)
        _ = stand.ask(AdminRequest(.cordon, node: "n2"))
        let wrong: [(AdminRequest, AdminError.Code)] = [
            (.init(.move, node: "n2", partition: 8), .badRequest), (.init(.move, node: "n2"), .badRequest),
            (.init(.move, node: "n9", partition: 0), .badRequest), (.init(.move, partition: 0), .badRequest),
            (.init(.move, node: "n2", partition: 0), .conflict), (.init(.unpin, partition: 0), .conflict), (.init(.drain), .badRequest),
            (.init(.drain, node: "a/b"), .badRequest), (.init(.drain, node: "n9"), .notFound),
        ]
        stand.forget()
        for (index, (request, code)) in wrong.enumerated() {
            #expect(stand.ask(request, number: UInt64(10 + index))?.code == code, "\(request)")
        }
        #expect(stand.requests.isEmpty)
    }

    @Test func onlyWhoIsGoneIsForgotten() {
        var stand = ClusterMachineStand.controller(of: 3)
        let member = stand.ask(AdminRequest(.forget, node: "n2"))
        #expect(member?.code == .conflict && member?.json.contains("drain it and stop it first") == true)
        stand.vanish("n2")
        #expect(stand.state("n2") == .down)
        #expect(stand.ask(AdminRequest(.forget, node: "n2"), number: 2)?.isSuccess == true)
        #expect(stand.state("n2") == nil && stand.storedView?.node("n2") == nil)
        // The registry does not keep it for ever.
        #expect(stand.store.tree["/rt/c/nodes/n2"] == nil)
    }

    @Test func whatIsForgottenTakesItsPinsAlong() throws {
        var stand = ClusterMachineStand.controller(of: 3)
        for (number, partition) in [0, 1].enumerated() {
            #expect(stand.ask(AdminRequest(.move, node: "n2", partition: partition), number: UInt64(10 + number))?.isSuccess == true)
        }
        #expect(stand.ask(AdminRequest(.move, node: "n3", partition: 2), number: 12)?.isSuccess == true)
        stand.vanish("n2")
        let asked = stand.ask(AdminRequest(.forget, node: "n2", by: "ann"))
        #expect(try #require(asked).json.contains("ends the pins of partitions 0, 1"))
        #expect(try self.configuration(stand).pins == [2: "n3"] && stand.machine.configuration?.pins == [2: "n3"])
        #expect(stand.machine.history.events.contains { $0.text == "forget n2 by ann (ends the pins of partitions 0, 1)" && $0.node == "n2" })
    }

    @Test func aPinToANodeThatThereIsNotIsAReason() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        var configuration = try self.configuration(stand)
        configuration.pins = [3: "n9"]
        stand.store.put("/rt/c/config", configuration.json)
        stand.settle()
        let body = stand.ask(AdminRequest(.status))?.json ?? ""
        #expect(body.contains("pinned to nodes that are not in this cluster (3 to n9)") && body.contains("\"health\":\"degraded\""), "\(body)")
    }

    @Test func whoWantsWhatAndWhyIsInTheStatus() throws {
        var stand = ClusterMachineStand.controller(of: 3)
        _ = stand.ask(AdminRequest(.drain, node: "n2", by: "ann", note: "kernel update"), number: 1)
        stand.balance()
        _ = stand.ask(AdminRequest(.pause, by: "eve", note: "rack 3"), number: 2)
        _ = stand.ask(AdminRequest(.cordon, node: "n3"), number: 3)
        stand.vanish("n3")
        let body = stand.ask(AdminRequest(.status), number: 4)?.json ?? ""
        #expect(body.contains("n2 is drained, requested by ann (kernel update)."), "\(body)")
        #expect(body.contains("n3 is down and is to be cordoned, requested by an operator."), "\(body)")
        #expect(body.contains("Rebalancing is paused, requested by eve (rack 3): realertime rebalance resume ends that."), "\(body)")
        _ = stand.ask(AdminRequest(.resume), number: 5)
        #expect(try self.configuration(stand).pauseRequest == nil)
    }

    /// Some servers have kept member nodes of sessions that were over.
    @Test func aFencedNodeIsForgottenWithItsMemberNode() {
        var stand = ClusterMachineStand.controller(of: 3)
        var report = stand.report(of: "n2")
        report.unreachable = [.init(id: "n3", incarnation: stand.incarnation("n3"))]
        stand.handle(.linkDown(id: "n3", incarnation: stand.incarnation("n3"), isRefused: false))
        stand.advance(.seconds(4))
        stand.receive(.report(report))
        stand.settle()
        #expect(stand.state("n3") == .fenced)
        #expect(stand.ask(AdminRequest(.forget, node: "n3"))?.isSuccess == true)
        #expect(stand.incarnation("n3") == -1 && stand.state("n3") == nil)
    }

    @Test func aWishForANodeThatIsNotThereYetMakesItExpected() {
        var stand = ClusterMachineStand.controller()
        stand.store.put("/rt/c/nodes/n2", NodeRecord(desired: .cordoned).json)
        stand.settle()
        #expect(stand.state("n2") == .down)
        stand.arrive("n2")
        #expect(stand.state("n2") == .cordoned)
    }

    // MARK: - Changes that fail

    private func asking() -> ClusterMachineStand {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.handle(.request(number: 1, AdminRequest(.pause)))
        return stand
    }

    @Test func aChangeThatSomebodyElseWasFasterWithIsAConflict() {
        var stand = self.asking()
        stand.answer(.failure(.refused(.badVersion, part: 1)))
        #expect(stand.answer(to: 1)?.code == .conflict && stand.machine.isController)
    }

    @Test func aChangeWithoutAnAnswerMayHaveHappened() {
        var stand = self.asking()
        stand.answer(.failure(.ambiguous(code: -4)))
        #expect(stand.answer(to: 1)?.code == .timeout)
    }

    @Test func aChangeThatWasNeverSentHasNotHappened() {
        var stand = self.asking()
        stand.answer(.failure(.notSent(code: -4)))
        #expect(stand.answer(to: 1)?.isUnavailable == true && stand.answer(to: 1)?.json.contains("nothing was changed") == true)
    }

    @Test func aChangeThatTheServersForbidIsNobodyElses() {
        var stand = self.asking()
        stand.answer(.failure(.refused(.notAuthorized, part: 1)))
        #expect(stand.answer(to: 1)?.json.contains("zookeeper-user") == true)
    }

    @Test func aChangeUnderAnOldEpochDeposes() {
        var stand = self.asking()
        stand.answer(.failure(.refused(.badVersion, part: 0)))
        #expect(stand.answer(to: 1)?.isUnavailable == true && !stand.machine.isController)
        #expect(stand.told.count { if case .respond = $0 { true } else { false } } == 1)
    }

    @Test func aChangeIsAnsweredThoughTheSessionIsLostMeanwhile() {
        var stand = self.asking()
        stand.lose()
        stand.advance(.seconds(10))
        #expect(stand.answer(to: 1) != nil)
    }

    @Test func aChangeIsAnsweredThoughTheControllerIsDeposedMeanwhile() {
        var stand = self.asking()
        let token = stand.open[0].token
        stand.handle(.changed(["/rt/c/controller"]))
        stand.store.remove("/rt/c/controller")
        stand.addController("n2", epoch: 2, session: 200)
        // The read overtakes the write.
        while stand.machine.isController, stand.open.count > 1 {
            let (later, request) = stand.open[1]
            stand.handle(.answered(token: later, stand.store.apply(request, session: 100)))
            stand.close(later)
        }
        stand.handle(.answered(token: token, .success(.multi([nil, nil]))))
        stand.close(token)
        stand.advance(.seconds(10))
        #expect(stand.answer(to: 1) != nil)
    }
}
