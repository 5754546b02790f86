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
        var stand = ClusterMachineStand.controller(of: 2)
        stand.store.end(200)
        stand.settle(until: Self.isViewWrite)
        let before = try #require(stand.machine.view?.version)
        stand.answerIsLost()
        // The watch is lost with it.
        _ = stand.store.takeFired()
        stand.advance(.seconds(2))
        #expect(stand.viewWrites.count == 1 && stand.machine.view?.version == before + 1 && stand.machine.view == stand.storedView)
        #expect(stand.state("n2") == .down && stand.machine.isController)
    }

    @Test func aWriteThatWasLostItselfIsMadeAgainAMomentLater() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.store.end(200)
        stand.settle(until: Self.isViewWrite)
        let before = try #require(stand.machine.view?.version)
        stand.answer(.failure(.ambiguous(code: -4)))
        stand.settle()
        #expect(stand.viewWrites.count == 1 && stand.machine.view?.version == before)
        stand.advance(.milliseconds(100))
        #expect(stand.viewWrites.count == 2 && stand.machine.view?.version == before + 1 && stand.machine.view == stand.storedView)
    }

    /// A watch tells a peer of it, and the peer tells this node, before ZooKeeper's answer is here.
    @Test func aPeerThatIsFasterThanTheAnswerIsNoLossOfWrites() throws {
        var stand = ClusterMachineStand.controller(of: 3)
        stand.store.end(300)
        stand.settle(until: Self.isViewWrite)
        guard case .multi(let parts)? = stand.open.first?.request, case .set(_, let data, _) = parts[1] else { return recordMissing("\(stand.open)") }
        stand.receive(.view(try ClusterView(json: data)))
        stand.forget()
        stand.settle()
        #expect(stand.machine.alarm == nil && stand.machine.view == stand.storedView && stand.viewWrites.isEmpty)
        // The others are told all the same, and the next look is not put off.
        #expect(stand.sent(to: "n2").contains { if case .view = $0 { true } else { false } })
        stand.vanish("n2")
        #expect(stand.viewWrites.count == 1)
    }

    @Test func aViewThatAnotherWroteMeanwhileIsReadAndPlannedFrom() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.store.end(200)
        stand.settle(until: Self.isViewWrite)
        var other = try #require(stand.machine.view)
        other.version += 1
        other.partitions[0].ownerEpoch += 1
        stand.write(other)
        stand.advance(.seconds(1))
        #expect(stand.machine.view?.version == other.version + 1 && stand.machine.view == stand.storedView && stand.machine.isController)
        #expect(try #require(stand.machine.view?.partitions[0].ownerEpoch) >= other.partitions[0].ownerEpoch && stand.state("n2") == .down)
    }

    @Test func aSuspendedControllerWritesNothingAndGoesOnAfterwards() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.suspend()
        stand.store.end(200)
        stand.advance(.seconds(5))
        #expect(stand.viewWrites.isEmpty && stand.requests.isEmpty)
        stand.reconnect()
        stand.advance(.seconds(1))
        #expect(stand.state("n2") == .down && stand.machine.isController)
    }

    /// Under owner epochs that nobody has had, since what was lost may have been granted.
    @Test func aRegisterThatLostWritesIsWrittenAgainUnderNewOwnerEpochs() throws {
        var stand = ClusterMachineStand.controller()
        let lost = stand.store.tree["/rt/c/view"]
        stand.arrive("n2")
        stand.balance()
        stand.forget()
        let before = try #require(stand.machine.view)
        stand.store.setBack("/rt/c/view", to: lost)
        stand.advance(.seconds(2))
        let after = try #require(stand.storedView)
        #expect(after.version > before.version && stand.machine.view == after)
        for (old, new) in zip(before.partitions, after.partitions) { #expect(new.owner == old.owner && new.ownerEpoch > old.ownerEpoch) }
        #expect(stand.machine.alarm?.contains("lost writes") == true)
    }
}
