import Partitioning
import Testing

@testable import Coordination

@Suite struct ClusterMachineOwnershipTests {
    private static let first = Grant(partition: 0, ownerEpoch: 2)

    /// A follower that was granted partition 0 under owner epoch 2, and whose storage answers only when it is told.
    private func granted() -> ClusterMachineStand {
        var stand = ClusterMachineStand.follower()
        stand.isStoragePrompt = false
        stand.publish(stand.view(2, ["n1", "n2", "n2", "n2"], ownerEpochs: [2, 1, 1, 1]))
        return stand
    }

    private func serving() -> ClusterMachineStand {
        var stand = self.granted()
        stand.handle(.sealed([Self.first]))
        stand.forget()
        return stand
    }

    /// The same with a move to `n2` asked for.
    private func moving(_ stand: ClusterMachineStand, version: Int64 = 3) -> ClusterView {
        stand.view(version, ["n1", "n2", "n2", "n2"], ownerEpochs: [2, 1, 1, 1]) { $0.partitions[0].move = .init(id: 1, to: "n2", reason: .balance) }
    }

    @Test func aGrantIsSealedThenServedThenReported() throws {
        var stand = self.granted()
        #expect(stand.seals == [Self.first] && stand.states == [.sealing, nil, nil, nil])
        stand.advance(.seconds(1))
        #expect(try #require(stand.reports(to: "n2").last).preparing == 1)
        stand.forget()
        stand.handle(.sealed([Self.first]))
        #expect(stand.states == [.serving, nil, nil, nil])
        // At once, since the controller waits for it.
        let report = try #require(stand.reports(to: "n2").last)
        #expect(report.serving == [Self.first] && report.preparing == 0 && report.viewVersion == 2)
    }

    @Test func aSealUnderAnotherOwnerEpochCountsForNothing() {
        var stand = self.granted()
        stand.handle(.sealed([.init(partition: 0, ownerEpoch: 1), .init(partition: 2, ownerEpoch: 1)]))
        #expect(stand.states == [.sealing, nil, nil, nil])
    }

    @Test func aSealIsAskedForOnce() {
        var stand = self.granted()
        stand.advance(.seconds(10))
        #expect(stand.seals == [Self.first])
    }

    @Test func aMoveIsHandedOverThenReportedThenReleased() throws {
        var stand = self.serving()
        stand.publish(self.moving(stand))
        #expect(stand.handOvers == [Self.first] && stand.states == [.serving, nil, nil, nil])
        stand.forget()
        stand.handle(.handedOver([Self.first]))
        #expect(stand.states == [.sealed, nil, nil, nil])
        #expect(stand.reports(to: "n2").last?.sealed == [Self.first] && stand.reports(to: "n2").last?.serving == [])
        #expect(stand.releases.isEmpty)
        stand.publish(stand.view(4, ["n2", "n2", "n2", "n2"], ownerEpochs: [3, 1, 1, 1]))
        #expect(stand.releases == [Self.first] && stand.machine.ownership.isEmpty)
    }

    @Test func aHandOverIsAskedForOnce() {
        var stand = self.serving()
        stand.publish(self.moving(stand))
        stand.publish(self.moving(stand, version: 4))
        stand.advance(.seconds(10))
        #expect(stand.handOvers == [Self.first])
    }

    @Test func aMoveThatComesBeforeTheSealWaitsForIt() {
        var stand = self.granted()
        stand.publish(self.moving(stand))
        #expect(stand.handOvers.isEmpty)
        stand.handle(.sealed([Self.first]))
        #expect(stand.handOvers == [Self.first])
    }

    /// What has finished under an owner epoch never serves under it again.
    @Test func aMoveThatIsGivenUpAfterItsHandOverNeedsANewGrant() {
        var stand = self.serving()
        stand.publish(self.moving(stand))
        stand.handle(.handedOver([Self.first]))
        stand.forget()
        stand.publish(stand.view(4, ["n1", "n2", "n2", "n2"], ownerEpochs: [2, 1, 1, 1]))
        #expect(stand.states == [.sealed, nil, nil, nil] && stand.seals.isEmpty)
        stand.publish(stand.view(5, ["n1", "n2", "n2", "n2"], ownerEpochs: [3, 1, 1, 1]))
        #expect(stand.releases == [Self.first] && stand.seals == [.init(partition: 0, ownerEpoch: 3)])
        #expect(stand.states == [.sealing, nil, nil, nil])
    }

    @Test func aHandOverThatEndsAfterItsPartitionWasTakenCountsForNothing() {
        var stand = self.serving()
        stand.publish(self.moving(stand))
        stand.publish(stand.view(4, ["n1", "n2", "n2", "n2"], ownerEpochs: [3, 1, 1, 1]))
        stand.handle(.handedOver([Self.first]))
        #expect(stand.states == [.sealing, nil, nil, nil])
    }

    @Test func whatIsTakenWhileItIsSealedIsReleasedAndStaysSo() {
        var stand = self.granted()
        stand.publish(stand.view(3, ["n2", "n2", "n2", "n2"], ownerEpochs: [3, 1, 1, 1]))
        #expect(stand.releases == [Self.first])
        stand.handle(.sealed([Self.first]))
        #expect(stand.machine.ownership.isEmpty)
    }

    @Test func aRegrantIsReleasedBeforeItIsSealed() throws {
        var stand = self.serving()
        stand.publish(stand.view(3, ["n1", "n2", "n2", "n2"], ownerEpochs: [3, 1, 1, 1]))
        let order = stand.told.compactMap { action -> String? in
            switch action {
            case .release: "release"
            case .seal: "seal"
            default: nil
            }
        }
        #expect(order == ["release", "seal"])
        #expect(stand.states == [.sealing, nil, nil, nil])
    }

    @Test func aViewOfAnotherIncarnationOfThisNodeGrantsNothing() {
        var stand = self.serving()
        let view = stand.view(3, ["n1", "n1", "n2", "n2"], ownerEpochs: [2, 2, 1, 1]) { $0.nodes[0].incarnation = 5 }
        stand.publish(view)
        #expect(stand.seals.isEmpty && stand.releases == [Self.first])
    }

    @Test func aRestartedControllerIsToldAgain() {
        var stand = self.serving()
        stand.advance(.milliseconds(900))
        stand.forget()
        // The same content as a moment ago, but to somebody who does not know it.
        stand.store.end(200)
        stand.addMember("n2", session: 201)
        stand.addController("n2", epoch: 2, session: 201)
        stand.settle()
        stand.handle(.linkUp(id: "n2", incarnation: stand.incarnation("n2")))
        #expect(stand.reports(to: "n2").last?.serving == [Self.first])
    }

    @Test func withoutALinkToTheControllerNothingIsReported() {
        var stand = self.serving()
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        stand.forget()
        stand.advance(.seconds(3))
        #expect(stand.reports(to: "n2").isEmpty)
    }
}
