import Testing

@testable import Coordination

/// Writes of the controller that fail, or that ZooKeeper loses.
@Suite struct ClusterMachineWriteTests {
    private static func isViewWrite(_ request: ZooKeeperRequest) -> Bool {
        guard case .multi(let parts) = request, parts.count == 2 else { return false }
        switch parts[1] {
        case .set("/rt/c/view", _, _), .create("/rt/c/view", _, _): return true
        default: return false
        }
    }

    @Test func aWriteWhoseReplyWasLostIsReadBackAndNotRepeated() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.store.end(200)
        bench.settle(until: Self.isViewWrite)
        let before = try #require(bench.machine.view?.version)
        bench.loseReply()
        // The watch is lost together with the reply.
        _ = bench.store.takeFired()
        bench.advance(.seconds(2))
        #expect(bench.viewWrites.count == 1 && bench.machine.view?.version == before + 1 && bench.machine.view == bench.storedView)
        #expect(bench.state("n2") == .down && bench.machine.isController)
    }

    @Test func aWriteThatWasNotExecutedIsRepeatedAMomentLater() throws {
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

    /// A peer's watch fires, and the peer sends the new view to this node before ZooKeeper's reply arrives.
    @Test func aViewFromAPeerBeforeTheReplyIsNoLossOfWrites() throws {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.store.end(300)
        bench.settle(until: Self.isViewWrite)
        guard case .multi(let parts)? = bench.open.first?.request, case .set(_, let data, _) = parts[1] else { return recordMissing("\(bench.open)") }
        bench.receive(.view(try ClusterView(json: data)))
        bench.forget()
        bench.settle()
        #expect(bench.machine.alarm == nil && bench.machine.view == bench.storedView && bench.viewWrites.isEmpty)
        // The view is still sent to the other members, and the next decision is not delayed.
        #expect(bench.sent(to: "n2").contains { if case .view = $0 { true } else { false } })
        bench.vanish("n2")
        #expect(bench.viewWrites.count == 1)
    }

    @Test func aViewThatAnotherNodeWroteMeanwhileIsTheBaseOfTheNextPlan() throws {
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

    @Test func aSuspendedControllerWritesNothingUntilItIsConnectedAgain() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.suspend()
        bench.store.end(200)
        bench.advance(.seconds(5))
        #expect(bench.viewWrites.isEmpty && bench.requests.isEmpty)
        bench.reconnect()
        bench.advance(.seconds(1))
        #expect(bench.state("n2") == .down && bench.machine.isController)
    }

    /// The new owner epochs were never used before, because the lost views may have granted the old ones.
    @Test func aViewThatZooKeeperLostIsWrittenAgainUnderNewOwnerEpochs() throws {
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
