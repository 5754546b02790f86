import Partitioning
import Testing

@testable import Coordination

/// The effects of new views and of replies from the storage.
@Suite struct OwnershipMachineTests {
    private var machine = OwnershipMachine()

    private func view(_ owners: [String?], epochs: [Int64] = [1, 1], moving: Int? = nil) -> ClusterView {
        var view = ClusterView(
            version: 1, controllerEpoch: 1, writer: "", nodes: [.init(id: "n1", incarnation: 7, state: .active)],
            partitions: zip(owners, epochs).map { .init(owner: $0, ownerEpoch: $1) })
        if let moving { view.partitions[moving].move = .init(id: 1, to: "n2", reason: .balance) }
        return view
    }

    private mutating func follow(_ view: ClusterView, incarnation: Int64 = 7, isConnected: Bool = true, covered: Int64 = 100) -> [OwnershipMachine.Effect] {
        self.machine.follow(view, id: "n1", incarnation: incarnation, isConnected: isConnected) { $0 <= covered }
    }

    private static func grant(_ partition: Int, _ ownerEpoch: Int64 = 1) -> Grant { Grant(partition: partition, ownerEpoch: ownerEpoch) }

    @Test mutating func aGrantIsSealedThenServed() {
        #expect(self.follow(self.view(["n1", "n2"])) == [.seal([Self.grant(0)])])
        #expect(self.machine.partitions[0]?.state == .sealing)
        _ = self.machine.sealed([Self.grant(0)])
        #expect(self.machine.partitions[0]?.state == .serving && self.machine.partitions[1] == nil)
        #expect(self.follow(self.view(["n1", "n2"])) == [])
    }

    @Test mutating func aSealThatIsRefusedIsRequestedAgain() {
        _ = self.follow(self.view(["n1", "n2"]))
        #expect(self.follow(self.view(["n1", "n2"])) == [])
        self.machine.refused([Self.grant(0)])
        #expect(self.machine.partitions[0]?.state == .granted)
        #expect(self.follow(self.view(["n1", "n2"])) == [.seal([Self.grant(0)])])
    }

    @Test mutating func aSealThatIsRefusedAfterTheGrantEndedIsNotRequestedAgain() {
        _ = self.follow(self.view(["n1", "n2"]))
        _ = self.follow(self.view(["n2", "n2"], epochs: [2, 1]))
        self.machine.refused([Self.grant(0)])
        #expect(self.machine.partitions.isEmpty)
        #expect(self.follow(self.view(["n2", "n2"], epochs: [2, 1])) == [])
    }

    @Test mutating func aFencedGrantIsServedNoLongerAndIsAcquiredUnderANewOwnerEpochOnly() {
        _ = self.follow(self.view(["n1", "n2"]))
        _ = self.machine.sealed([Self.grant(0)])
        self.machine.fenced([Self.grant(0, 7)])
        #expect(self.machine.serving == [Self.grant(0)])
        self.machine.fenced([Self.grant(0)])
        #expect(self.machine.partitions[0]?.state == .sealed && self.machine.serving == [])
        #expect(self.follow(self.view(["n1", "n2"])) == [])
        #expect(self.follow(self.view(["n1", "n2"], epochs: [2, 1])) == [.release([Self.grant(0)]), .seal([Self.grant(0, 2)])])
    }

    /// The storage handles calls in any order.
    @Test mutating func aSealThatFinishesAfterTheGrantEndedIsReleased() {
        _ = self.follow(self.view(["n1", "n2"]))
        #expect(self.follow(self.view(["n2", "n2"], epochs: [2, 1])) == [.release([Self.grant(0)])])
        #expect(self.machine.sealed([Self.grant(0)]) == [.release([Self.grant(0)])])
        #expect(self.machine.partitions.isEmpty)
    }

    @Test mutating func aMoveAwayIsHandedOffOnceAndReleasedWithTheNextView() {
        _ = self.follow(self.view(["n1", "n2"]))
        _ = self.machine.sealed([Self.grant(0)])
        #expect(self.follow(self.view(["n1", "n2"], moving: 0)) == [.handOver([Self.grant(0)])])
        #expect(self.follow(self.view(["n1", "n2"], moving: 0)) == [])
        self.machine.handedOver([Self.grant(0)])
        #expect(self.machine.partitions[0]?.state == .sealed)
        #expect(self.follow(self.view(["n2", "n2"], epochs: [2, 1])) == [.release([Self.grant(0)])])
        #expect(self.machine.partitions.isEmpty)
    }

    @Test mutating func aNewOwnerEpochReleasesAndSealsAgain() {
        _ = self.follow(self.view(["n1", "n2"]))
        _ = self.machine.sealed([Self.grant(0)])
        #expect(self.follow(self.view(["n1", "n2"], epochs: [2, 1])) == [.release([Self.grant(0)]), .seal([Self.grant(0, 2)])])
        // A reply to the seal of the older owner epoch is ignored.
        _ = self.machine.sealed([Self.grant(0)])
        #expect(self.machine.partitions[0]?.state == .sealing)
    }

    @Test mutating func aGrantToAnotherIncarnationIsIgnored() {
        #expect(self.follow(self.view(["n1", "n1"]), incarnation: 8) == [])
    }

    @Test mutating func withoutZooKeeperNoPartitionIsTakenOrReleased() {
        _ = self.follow(self.view(["n1", "n2"]))
        _ = self.machine.sealed([Self.grant(0)])
        #expect(self.follow(self.view(["n1", "n1"]), isConnected: false) == [])
        #expect(self.machine.partitions.keys.sorted() == [0])
    }

    @Test mutating func aGrantWaitsUntilTheDiskCoversItsOwnerEpoch() {
        #expect(self.follow(self.view(["n1", "n2"], epochs: [9, 1]), covered: 8) == [])
        #expect(self.machine.partitions[0]?.state == .granted)
        #expect(self.follow(self.view(["n1", "n2"], epochs: [9, 1]), covered: 9) == [.seal([Self.grant(0, 9)])])
    }

    @Test mutating func everythingIsReleasedTogether() {
        _ = self.follow(self.view(["n1", "n1"]))
        #expect(self.machine.releaseAll() == [.release([Self.grant(0), Self.grant(1)])])
        #expect(self.machine.releaseAll() == [])
    }
}
