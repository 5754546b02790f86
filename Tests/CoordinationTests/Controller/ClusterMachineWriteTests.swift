import Testing

@testable import Coordination

/// The controller's writes that fail, or are lost by their servers.
@Suite struct ClusterMachineWriteTests {
    private static func isViewWrite(_ request: ZooKeeperRequest) -> Bool {
        guard case .multi(let parts) = request, parts.count == 2 else { return false }
        switch parts[1] {
        case .set("/rt/c/view", _, _), .create("/rt/c/view", _, _): return true
        default: return false
        }
    }

    @Test func aWriteWhoseAnswerWasLostIsReadBackAndNotRepeated() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.store.end(200)
        bench.settle(until: Self.isViewWrite)
        let before = try #require(bench.machine.view?.version)
        bench.loseReply()
        // The watch is lost with it.
        _ = bench.store.takeFired()
        bench.advance(.seconds(2))
        #expect(bench.viewWrites.count == 1 && bench.machine.view?.version == before + 1 && bench.machine.view == bench.storedView)
        #expect(bench.state("n2") == .down && bench.machine.isController)
    }

    @Test func aWriteThatWasLostItselfIsMadeAgainAMomentLater() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.store.end(200)
        bench.settle(until: Self.isViewWrite)
        let before = try #require(bench.machine.view?.version)
        bench.reply(.failure(.ambiguous(code: -4)))
        bench.settle()
        #expect(bench.viewWrites.count == 1 && bench.machine.view?.version == before)
        bench.advance(.milliseconds(100))
        #expect(bench.viewWrites.count == 2 && bench.machine.view?.version == before + 1 && bench.machine.view == bench.storedView)
    }

    /// A watch tells a peer of it, and the peer tells this node, before ZooKeeper's answer is here.
    @Test func aPeerThatIsFasterThanTheAnswerIsNoLossOfWrites() throws {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.store.end(300)
        bench.settle(until: Self.isViewWrite)
        guard case .multi(let parts)? = bench.open.first?.request, case .set(_, let data, _) = parts[1] else { return recordMissing("\(bench.open)") }
        bench.receive(.view(try ClusterView(json: data)))
        bench.forget()
        bench.settle()
        #expect(bench.machine.alarm == nil && bench.machine.view == bench.storedView && bench.viewWrites.isEmpty)
        // The others are told all the same, and the next look is not put off.
        #expect(bench.sent(to: "n2").contains { if case .view = $0 { true } else { false } })
        bench.vanish("n2")
        #expect(bench.viewWrites.count == 1)
    }

    @Test func aViewThatAnotherWroteMeanwhileIsReadAndPlannedFrom() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.store.end(200)
        bench.settle(until: Self.isViewWrite)
        var other = try #require(bench.machine.view)
        other.version += 1
        other.partitions[0].ownerEpoch += 1
        bench.write(other)
        bench.advance(.seconds(1))
        #expect(bench.machine.view?.version == other.version + 1 && bench.machine.view == bench.storedView && bench.machine.isController)
        #expect(try #require(bench.machine.view?.partitions[0].ownerEpoch) >= other.partitions[0].ownerEpoch && bench.state("n2") == .down)
    }

    @Test func aSuspendedControllerWritesNothingAndGoesOnAfterwards() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.suspend()
        bench.store.end(200)
        bench.advance(.seconds(5))
        #expect(bench.viewWrites.isEmpty && bench.requests.isEmpty)
        bench.reconnect()
        bench.advance(.seconds(1))
        #expect(bench.state("n2") == .down && bench.machine.isController)
    }

    /// Under owner epochs that nobody has had, since what was lost may have been granted.
    @Test func aRegisterThatLostWritesIsWrittenAgainUnderNewOwnerEpochs() throws {
        var bench = ClusterMachineBench.controller()
        let lost = bench.store.tree["/rt/c/view"]
        bench.arrive("n2")
        bench.balance()
        bench.forget()
        let before = try #require(bench.machine.view)
        bench.store.rollBack("/rt/c/view", to: lost)
        bench.advance(.seconds(2))
        let after = try #require(bench.storedView)
        #expect(after.version > before.version && bench.machine.view == after)
        for (old, new) in zip(before.partitions, after.partitions) { #expect(new.owner == old.owner && new.ownerEpoch > old.ownerEpoch) }
        #expect(bench.machine.alarm?.contains("lost writes") == true)
    }
}
