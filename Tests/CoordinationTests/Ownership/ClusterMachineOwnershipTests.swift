import AdminAPI
import Partitioning
import Testing

@testable import Coordination

@Suite struct ClusterMachineOwnershipTests {
    private static let first = Grant(partition: 0, ownerEpoch: 2)

    /// A follower that was granted partition 0 under owner epoch 2. Its storage replies only when the test sends the reply.
    private func granted() -> ClusterMachineBench {
        var bench = ClusterMachineBench.follower()
        bench.isStoragePrompt = false
        bench.publish(bench.view(2, ["n1", "n2", "n2", "n2"], ownerEpochs: [2, 1, 1, 1]))
        return bench
    }

    private func serving() -> ClusterMachineBench {
        var bench = self.granted()
        bench.handle(.sealed([Self.first]))
        bench.forget()
        return bench
    }

    /// A view that moves partition 0 to `n2`.
    private func moving(_ bench: ClusterMachineBench, version: Int64 = 3) -> ClusterView {
        bench.view(version, ["n1", "n2", "n2", "n2"], ownerEpochs: [2, 1, 1, 1]) { $0.partitions[0].move = .init(id: 1, to: "n2", reason: .balance) }
    }

    @Test func aGrantIsSealedThenServedThenReported() throws {
        var bench = self.granted()
        #expect(bench.seals == [Self.first] && bench.states == [.sealing, nil, nil, nil])
        bench.advance(.seconds(1))
        #expect(try #require(bench.reports(to: "n2").last).preparing == 1)
        bench.forget()
        bench.handle(.sealed([Self.first]))
        #expect(bench.states == [.serving, nil, nil, nil])
        // The node reports immediately, because the controller waits for the report.
        let report = try #require(bench.reports(to: "n2").last)
        #expect(report.serving == [Self.first] && report.preparing == 0 && report.viewVersion == 2)
    }

    @Test func aSealUnderAnotherOwnerEpochIsIgnored() {
        var bench = self.granted()
        bench.handle(.sealed([.init(partition: 0, ownerEpoch: 1), .init(partition: 2, ownerEpoch: 1)]))
        #expect(bench.states == [.sealing, nil, nil, nil])
    }

    @Test func aSealIsRequestedOnce() {
        var bench = self.granted()
        bench.advance(.seconds(10))
        #expect(bench.seals == [Self.first])
    }

    @Test func aMovedPartitionIsHandedOffThenReportedThenReleased() throws {
        var bench = self.serving()
        bench.publish(self.moving(bench))
        #expect(bench.handOvers == [Self.first] && bench.states == [.serving, nil, nil, nil])
        bench.forget()
        bench.handle(.handedOver([Self.first]))
        #expect(bench.states == [.sealed, nil, nil, nil])
        #expect(bench.reports(to: "n2").last?.sealed == [Self.first] && bench.reports(to: "n2").last?.serving == [])
        #expect(bench.releases.isEmpty)
        bench.publish(bench.view(4, ["n2", "n2", "n2", "n2"], ownerEpochs: [3, 1, 1, 1]))
        #expect(bench.releases == [Self.first] && bench.machine.ownership.isEmpty)
    }

    @Test func aHandoffIsRequestedOnce() {
        var bench = self.serving()
        bench.publish(self.moving(bench))
        bench.publish(self.moving(bench, version: 4))
        bench.advance(.seconds(10))
        #expect(bench.handOvers == [Self.first])
    }

    @Test func aMoveThatStartsBeforeTheSealWaitsForTheSeal() {
        var bench = self.granted()
        bench.publish(self.moving(bench))
        #expect(bench.handOvers.isEmpty)
        bench.handle(.sealed([Self.first]))
        #expect(bench.handOvers == [Self.first])
    }

    /// A partition that was handed off under an owner epoch is never served under that epoch again.
    @Test func aMoveThatIsCancelledAfterItsHandoffNeedsANewGrant() {
        var bench = self.serving()
        bench.publish(self.moving(bench))
        bench.handle(.handedOver([Self.first]))
        bench.forget()
        bench.publish(bench.view(4, ["n1", "n2", "n2", "n2"], ownerEpochs: [2, 1, 1, 1]))
        #expect(bench.states == [.sealed, nil, nil, nil] && bench.seals.isEmpty)
        bench.publish(bench.view(5, ["n1", "n2", "n2", "n2"], ownerEpochs: [3, 1, 1, 1]))
        #expect(bench.releases == [Self.first] && bench.seals == [.init(partition: 0, ownerEpoch: 3)])
        #expect(bench.states == [.sealing, nil, nil, nil])
    }

    @Test func aHandoffThatEndsAfterANewGrantIsIgnored() {
        var bench = self.serving()
        bench.publish(self.moving(bench))
        bench.publish(bench.view(4, ["n1", "n2", "n2", "n2"], ownerEpochs: [3, 1, 1, 1]))
        bench.handle(.handedOver([Self.first]))
        #expect(bench.states == [.sealing, nil, nil, nil])
    }

    @Test func aPartitionThatIsTakenDuringItsSealStaysReleased() {
        var bench = self.granted()
        bench.publish(bench.view(3, ["n2", "n2", "n2", "n2"], ownerEpochs: [3, 1, 1, 1]))
        #expect(bench.releases == [Self.first])
        bench.handle(.sealed([Self.first]))
        #expect(bench.machine.ownership.isEmpty)
    }

    @Test func anOldGrantIsReleasedBeforeTheNewGrantIsSealed() throws {
        var bench = self.serving()
        bench.publish(bench.view(3, ["n1", "n2", "n2", "n2"], ownerEpochs: [3, 1, 1, 1]))
        let order = bench.effects.compactMap { action -> String? in
            switch action {
            case .release: "release"
            case .seal: "seal"
            default: nil
            }
        }
        #expect(order == ["release", "seal"])
        #expect(bench.states == [.sealing, nil, nil, nil])
    }

    @Test func aViewOfAnotherIncarnationOfThisNodeGrantsNothing() {
        var bench = self.serving()
        let view = bench.view(3, ["n1", "n1", "n2", "n2"], ownerEpochs: [2, 2, 1, 1]) { $0.nodes[0].incarnation = 5 }
        bench.publish(view)
        #expect(bench.seals.isEmpty && bench.releases == [Self.first])
    }

    @Test func aRestartedControllerGetsTheReportAgain() {
        var bench = self.serving()
        bench.advance(.milliseconds(900))
        bench.forget()
        // The new report has the same content, but the restarted controller has not received it yet.
        bench.store.end(200)
        bench.addMember("n2", session: 201)
        bench.addController("n2", epoch: 2, session: 201)
        bench.settle()
        bench.handle(.linkUp(bench.process("n2")))
        #expect(bench.reports(to: "n2").last?.serving == [Self.first])
    }

    @Test func withoutALinkToTheControllerNothingIsReported() {
        var bench = self.serving()
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        bench.forget()
        bench.advance(.seconds(3))
        #expect(bench.reports(to: "n2").isEmpty)
    }

    // MARK: - Taking partitions back

    private var reclaims: (ClusterMachineBench) -> [ZooKeeperRequest] {
        { bench in bench.requests.filter { if case .multi(let parts) = $0, parts.count == 1 { true } else { false } } }
    }

    /// The controller does not react to the report.
    @Test func anOwnerTakesAPartitionBackThatItsControllerDoesNotMove() throws {
        var bench = self.serving()
        bench.publish(self.moving(bench))
        bench.handle(.handedOver([Self.first]))
        bench.advance(.milliseconds(1900))
        #expect(self.reclaims(bench).isEmpty)
        bench.isStoragePrompt = true
        bench.advance(.milliseconds(200))
        #expect(self.reclaims(bench).count == 1)
        let view = try #require(bench.storedView)
        #expect(view.partitions[0] == .init(owner: "n1", ownerEpoch: 3) && view.version == 4 && view.controllerEpoch == 1)
        #expect(bench.releases == [Self.first] && bench.seals == [.init(partition: 0, ownerEpoch: 3)] && bench.states == [.serving, nil, nil, nil])
        // The new view is sent to the peers.
        #expect(bench.sent(to: "n2").contains { if case .view(view) = $0 { true } else { false } })
    }

    @Test func aHandoffWithoutAReachableTargetIsTakenBackAndNotReportedAsSealed() throws {
        var bench = self.serving()
        bench.publish(self.moving(bench))
        bench.forget()
        bench.handle(.handoffFailed([Self.first]))
        #expect(bench.reports(to: "n2").allSatisfy { $0.sealed.isEmpty })
        bench.isStoragePrompt = true
        bench.settle()
        #expect(bench.storedView?.partitions[0] == .init(owner: "n1", ownerEpoch: 3) && bench.states == [.serving, nil, nil, nil])
    }

    /// Exactly one of the two writes succeeds, because both name the version of the view that they replace.
    @Test(arguments: [true, false]) func theControllerAndTheOwnerDoNotBothWinAPartition(_ isControllerFirst: Bool) throws {
        var bench = self.serving()
        bench.publish(self.moving(bench))
        bench.handle(.handoffFailed([Self.first]))
        let completed = bench.view(4, ["n2", "n2", "n2", "n2"], ownerEpochs: [3, 1, 1, 1])
        guard case .multi(let parts)? = bench.open.first?.request, case .set(let path, _, .some(let version)) = parts[0] else {
            return recordMissing("the owner does not write: \(bench.open)")
        }
        if isControllerFirst {
            bench.write(completed)
        } else {
            bench.reply()
            let isReplaced = bench.store.tree[path]?.stat.version != version
            #expect(isReplaced)
        }
        bench.isStoragePrompt = true
        bench.settle()
        bench.advance(.seconds(3))
        let owner = try #require(bench.storedView?.partitions[0])
        #expect(owner == .init(owner: isControllerFirst ? "n2" : "n1", ownerEpoch: 3))
        #expect(bench.states[0] == (isControllerFirst ? nil : .serving))
    }

    // MARK: - A log that is sealed under a newer owner epoch

    @Test func aFencedPartitionIsNotServedAndTheViewIsReadAgain() {
        var bench = self.serving()
        bench.handle(.fenced([Self.first]))
        #expect(bench.states == [.sealed, nil, nil, nil] && bench.requests.contains(.get(path: "/rt/c/view", watch: true)))
        #expect(bench.sent(to: "n2").contains { if case .pull = $0 { true } else { false } })
        bench.publish(bench.view(3, ["n2", "n2", "n2", "n2"], ownerEpochs: [3, 1, 1, 1]))
        #expect(bench.releases == [Self.first] && bench.machine.ownership.isEmpty && !bench.events.contains(.alarm))
    }

    @Test func aFencedPartitionWithoutANewerViewIsReportedAndGrantedAgain() {
        var bench = self.serving()
        bench.isStoragePrompt = true
        bench.handle(.fenced([Self.first]))
        bench.advance(.milliseconds(900))
        #expect(bench.events.isEmpty)
        bench.advance(.milliseconds(200))
        #expect(bench.events.contains(.alarm) && bench.machine.alarm?.hasPrefix("the log is sealed under newer owner epochs") == true)
        #expect(bench.storedView?.partitions[0] == .init(owner: "n1", ownerEpoch: 3) && bench.states == [.serving, nil, nil, nil])
    }
}
