import AdminAPI
import Partitioning
import Testing

@testable import Coordination

/// Operators' changes at the controller.
@Suite struct ClusterMachineChangeTests {
    private static let check = ZooKeeperRequest.Part.check(path: "/rt/c/controller_epoch", version: 1)

    private func record(_ id: String, _ bench: ClusterMachineBench) throws -> NodeRecord {
        try NodeRecord(json: try #require(bench.store.tree["/rt/c/nodes/\(id)"]).data)
    }

    private func configuration(_ bench: ClusterMachineBench) throws -> ClusterConfiguration {
        try ClusterConfiguration(json: try #require(bench.store.tree["/rt/c/config"]).data)
    }

    @Test func pauseAndResumeCheckTheEpochAndWriteTheConfiguration() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.handle(.request(number: 1, AdminRequest(.pause, by: "me")))
        guard case .multi(let parts)? = bench.open.last?.request, parts.count == 2, case .set("/rt/c/config", _, version: 0) = parts[1] else {
            return recordMissing("\(bench.open)")
        }
        #expect(parts[0] == Self.check && bench.response(to: 1) == nil)
        bench.settle()
        #expect(bench.response(to: 1)?.isSuccess == true && bench.events.contains(.operation))
        #expect(try self.configuration(bench).rebalance == .paused && bench.machine.view?.mode == .maintenance)
        #expect(bench.request(AdminRequest(.pause), number: 2)?.json.contains("nothing to change") == true)
        #expect(bench.request(AdminRequest(.resume), number: 3)?.isSuccess == true)
        #expect(try self.configuration(bench).rebalance == .automatic && bench.machine.view?.mode == .normal)
    }

    @Test func aDrainedNodeLosesItsPartitionsUntilItIsUndrained() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        #expect(bench.request(AdminRequest(.drain, node: "n2", by: "me", note: "disk"))?.isSuccess == true)
        let record = try self.record("n2", bench)
        #expect(record.desired == .draining && record.by == "me" && record.note == "disk")
        #expect(bench.state("n2") == .draining)
        bench.balance()
        #expect(bench.state("n2") == .drained && bench.count("n2") == 0 && bench.count("n1") == 8)
        #expect(bench.request(AdminRequest(.undrain, node: "n2"), number: 2)?.isSuccess == true)
        bench.balance()
        #expect(bench.state("n2") == .active && bench.count("n2") == 4)
    }

    @Test func aCordonedNodeKeepsItsPartitionsAndGainsNone() {
        var bench = ClusterMachineBench.controller(of: 3, partitionCount: 12)
        #expect(bench.request(AdminRequest(.cordon, node: "n2"))?.isSuccess == true)
        bench.vanish("n3")
        bench.balance()
        #expect(bench.state("n2") == .cordoned && bench.count("n2") == 4 && bench.count("n1") == 8)
        #expect(bench.request(AdminRequest(.uncordon, node: "n2"), number: 2)?.isSuccess == true)
        bench.balance()
        #expect(bench.state("n2") == .active && bench.count("n2") == 6)
    }

    @Test func undrainLiftsOnlyADrainAndUncordonOnlyACordon() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        #expect(bench.request(AdminRequest(.drain, node: "n2", by: "ann", note: "disk"))?.isSuccess == true)
        for (number, kind) in [AdminRequest.Kind.uncordon, .cordon].enumerated() {
            let asked = bench.request(AdminRequest(kind, node: "n2", by: "bob"), number: UInt64(10 + number))
            let answer = try #require(asked)
            #expect(answer.code == .conflict && answer.json.contains("n2 is draining, requested by ann (disk): undrain it first"), "\(kind)")
        }
        #expect(bench.state("n2") == .draining)
        #expect(try self.record("n2", bench).by == "ann")
        #expect(bench.request(AdminRequest(.undrain, node: "n2"), number: 2)?.isSuccess == true)
        #expect(bench.request(AdminRequest(.cordon, node: "n2"), number: 3)?.isSuccess == true)
        let undrain = bench.request(AdminRequest(.undrain, node: "n2", by: "bob"), number: 4)
        #expect(undrain?.code == .conflict && undrain?.json.contains("n2 is cordoned, requested by an operator: uncordon it first") == true)
        #expect(bench.state("n2") == .cordoned)
        // Draining a cordoned node is allowed.
        #expect(bench.request(AdminRequest(.drain, node: "n2"), number: 5)?.isSuccess == true)
        #expect(bench.state("n2") == .draining)
    }

    @Test func aMovedPartitionStaysPinnedUntilItIsUnpinned() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        let partition = try #require(bench.machine.view?.partitions(ownedBy: "n1").first)
        #expect(bench.request(AdminRequest(.move, node: "n2", partition: partition))?.isSuccess == true)
        bench.balance()
        #expect(bench.machine.view?.partitions[partition].owner == "n2" && bench.count("n2") == 4)
        #expect(try self.configuration(bench).pins == [partition: "n2"])
        #expect(bench.request(AdminRequest(.unpin, partition: partition), number: 2)?.isSuccess == true)
        #expect(try self.configuration(bench).pins == [:])
    }

    @Test func impossibleRequestsAreRefusedWithACode() {
        var bench = ClusterMachineBench.controller(of: 2)
        _ = bench.request(AdminRequest(.cordon, node: "n2"))
        let wrong: [(AdminRequest, AdminError.Code)] = [
            (.init(.move, node: "n2", partition: 8), .badRequest), (.init(.move, node: "n2"), .badRequest),
            (.init(.move, node: "n9", partition: 0), .badRequest), (.init(.move, partition: 0), .badRequest),
            (.init(.move, node: "n2", partition: 0), .conflict), (.init(.unpin, partition: 0), .conflict), (.init(.drain), .badRequest),
            (.init(.drain, node: "a/b"), .badRequest), (.init(.drain, node: "n9"), .notFound),
        ]
        bench.forget()
        for (index, (request, code)) in wrong.enumerated() {
            #expect(bench.request(request, number: UInt64(10 + index))?.code == code, "\(request)")
        }
        #expect(bench.requests.isEmpty)
    }

    @Test func onlyADeadNodeCanBeForgotten() {
        var bench = ClusterMachineBench.controller(of: 3)
        let member = bench.request(AdminRequest(.forget, node: "n2"))
        #expect(member?.code == .conflict && member?.json.contains("drain it and stop it first") == true)
        bench.vanish("n2")
        #expect(bench.state("n2") == .down)
        #expect(bench.request(AdminRequest(.forget, node: "n2"), number: 2)?.isSuccess == true)
        #expect(bench.state("n2") == nil && bench.storedView?.node("n2") == nil)
        // ZooKeeper keeps no record of a forgotten node.
        #expect(bench.store.tree["/rt/c/nodes/n2"] == nil)
    }

    @Test func forgettingANodeRemovesItsPins() throws {
        var bench = ClusterMachineBench.controller(of: 3)
        for (number, partition) in [0, 1].enumerated() {
            #expect(bench.request(AdminRequest(.move, node: "n2", partition: partition), number: UInt64(10 + number))?.isSuccess == true)
        }
        #expect(bench.request(AdminRequest(.move, node: "n3", partition: 2), number: 12)?.isSuccess == true)
        bench.vanish("n2")
        let asked = bench.request(AdminRequest(.forget, node: "n2", by: "ann"))
        #expect(try #require(asked).json.contains("removes the pins of partitions 0, 1"))
        #expect(try self.configuration(bench).pins == [2: "n3"] && bench.machine.configuration?.pins == [2: "n3"])
        #expect(bench.machine.history.events.contains { $0.text == "forget n2 by ann (removes the pins of partitions 0, 1)" && $0.node == "n2" })
    }

    @Test func aPinToAnUnknownNodeIsAReasonInTheStatus() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        var configuration = try self.configuration(bench)
        configuration.pins = [3: "n9"]
        bench.store.put("/rt/c/config", configuration.json)
        bench.settle()
        let body = bench.request(AdminRequest(.status))?.json ?? ""
        #expect(body.contains("pinned to nodes that are not in this cluster (3 to n9)") && body.contains("\"health\":\"degraded\""), "\(body)")
    }

    @Test func theStatusNamesTheOperatorAndTheNoteOfEachRequest() throws {
        var bench = ClusterMachineBench.controller(of: 3)
        _ = bench.request(AdminRequest(.drain, node: "n2", by: "ann", note: "kernel update"), number: 1)
        bench.balance()
        _ = bench.request(AdminRequest(.pause, by: "eve", note: "rack 3"), number: 2)
        _ = bench.request(AdminRequest(.cordon, node: "n3"), number: 3)
        bench.vanish("n3")
        let body = bench.request(AdminRequest(.status), number: 4)?.json ?? ""
        #expect(body.contains("n2 is drained, requested by ann (kernel update)."), "\(body)")
        #expect(body.contains("n3 is down and is to be cordoned, requested by an operator."), "\(body)")
        #expect(body.contains("Rebalancing is paused, requested by eve (rack 3): 'realertime rebalance resume' ends the pause."), "\(body)")
        _ = bench.request(AdminRequest(.resume), number: 5)
        #expect(try self.configuration(bench).pauseRequest == nil)
    }

    /// Some ZooKeeper servers have kept the member znode of a session that had ended.
    @Test func aFencedNodeIsForgottenWithItsMemberZnode() {
        var bench = ClusterMachineBench.controller(of: 3)
        var report = bench.report(of: "n2")
        report.unreachable = [.init(id: "n3", incarnation: bench.incarnation("n3"))]
        bench.handle(.linkDown(bench.process("n3"), isRefused: false))
        bench.advance(.seconds(4))
        bench.receive(.report(report))
        bench.settle()
        #expect(bench.state("n3") == .fenced)
        #expect(bench.request(AdminRequest(.forget, node: "n3"))?.isSuccess == true)
        #expect(bench.incarnation("n3") == -1 && bench.state("n3") == nil)
    }

    @Test func aDesiredStateForAnUnknownNodeAddsTheNodeAsDown() {
        var bench = ClusterMachineBench.controller()
        bench.store.put("/rt/c/nodes/n2", NodeRecord(desired: .cordoned).json)
        bench.settle()
        #expect(bench.state("n2") == .down)
        bench.arrive("n2")
        #expect(bench.state("n2") == .cordoned)
    }

    // MARK: - Changes that fail

    private func asking() -> ClusterMachineBench {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.handle(.request(number: 1, AdminRequest(.pause)))
        return bench
    }

    @Test func aChangeThatAnotherWriteOvertookIsAConflict() {
        var bench = self.asking()
        bench.reply(.failure(.refused(.badVersion, part: 1)))
        #expect(bench.response(to: 1)?.code == .conflict && bench.machine.isController)
    }

    @Test func aChangeWithoutAReplyMayHaveHappened() {
        var bench = self.asking()
        bench.reply(.failure(.ambiguous(code: -4)))
        #expect(bench.response(to: 1)?.code == .timeout)
    }

    @Test func aChangeThatWasNeverSentHasNotHappened() {
        var bench = self.asking()
        bench.reply(.failure(.notSent(code: -4)))
        #expect(bench.response(to: 1)?.isUnavailable == true && bench.response(to: 1)?.json.contains("nothing was changed") == true)
    }

    @Test func aChangeThatZooKeeperForbidsNamesTheUserOption() {
        var bench = self.asking()
        bench.reply(.failure(.refused(.notAuthorized, part: 1)))
        #expect(bench.response(to: 1)?.json.contains("zookeeper-user") == true)
    }

    @Test func aChangeUnderAnOldEpochDeposesTheController() {
        var bench = self.asking()
        bench.reply(.failure(.refused(.badVersion, part: 0)))
        #expect(bench.response(to: 1)?.isUnavailable == true && !bench.machine.isController)
        #expect(bench.effects.count { if case .respond = $0 { true } else { false } } == 1)
    }

    @Test func aChangeGetsAResponseAlthoughTheSessionIsLost() {
        var bench = self.asking()
        bench.lose()
        bench.advance(.seconds(10))
        #expect(bench.response(to: 1) != nil)
    }

    @Test func aChangeGetsAResponseAlthoughTheControllerIsDeposed() {
        var bench = self.asking()
        let token = bench.open[0].token
        bench.handle(.changed(["/rt/c/controller"]))
        bench.store.remove("/rt/c/controller")
        bench.addController("n2", epoch: 2, session: 200)
        // The reply to the read arrives before the reply to the write.
        while bench.machine.isController, bench.open.count > 1 {
            let (later, request) = bench.open[1]
            bench.handle(.replied(token: later, bench.store.apply(request, session: 100)))
            bench.close(later)
        }
        bench.handle(.replied(token: token, .success(.multi([nil, nil]))))
        bench.close(token)
        bench.advance(.seconds(10))
        #expect(bench.response(to: 1) != nil)
    }
}
