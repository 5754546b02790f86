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

    private var now = ContinuousClock.now

    private mutating func follow(_ view: ClusterView, incarnation: Int64? = 7, isConnected: Bool = true, covered: Int64 = 100) -> [OwnershipMachine.Effect] {
        self.machine.follow(view, id: "n1", incarnation: incarnation, isConnected: isConnected, at: self.now) { $0 <= covered }
    }

    /// `n1` serves partition 0, and has begun to hand it over to `n2`.
    private mutating func handOver(isLogFencing: Bool = false) {
        self.machine = OwnershipMachine(isLogFencing: isLogFencing)
        _ = self.follow(self.view(["n1", "n2"]))
        _ = self.machine.sealed([Self.grant(0)])
        _ = self.follow(self.view(["n1", "n2"], moving: 0))
    }

    private static func handOff(_ grant: Grant, to incarnation: Int64? = nil) -> OwnershipMachine.Effect {
        .handOver([Handoff(grant: grant, target: incarnation.map { ProcessID(id: "n2", incarnation: $0) })])
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
        _ = self.machine.fenced([Self.grant(0, 7)], at: self.now)
        #expect(self.machine.serving == [Self.grant(0)])
        _ = self.machine.fenced([Self.grant(0)], at: self.now)
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
        #expect(self.follow(self.view(["n1", "n2"], moving: 0)) == [Self.handOff(Self.grant(0))])
        #expect(self.follow(self.view(["n1", "n2"], moving: 0)) == [])
        self.machine.handedOver([Self.grant(0)], at: self.now)
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

    @Test mutating func aHandoffNamesTheProcessOfItsTarget() {
        _ = self.follow(self.view(["n1", "n2"]))
        _ = self.machine.sealed([Self.grant(0)])
        var view = self.view(["n1", "n2"], moving: 0)
        view.nodes.append(.init(id: "n2", incarnation: 9, state: .active))
        #expect(self.follow(view) == [Self.handOff(Self.grant(0), to: 9)])
    }

    // MARK: - Taking partitions back

    /// The controller that started the move is gone, or its view does not get through.
    @Test mutating func aPartitionWhoseMoveIsNotCompletedIsTakenBack() {
        self.handOver()
        let moving = self.view(["n1", "n2"], moving: 0)
        self.machine.handedOver([Self.grant(0)], at: self.now)
        self.now += .milliseconds(1999)
        #expect(self.follow(moving) == [])
        #expect(self.machine.due == self.now + .milliseconds(1))
        self.now += .milliseconds(1)
        #expect(self.follow(moving, isConnected: false) == [])
        #expect(self.follow(moving) == [.reclaim([Self.grant(0, 2)])])
        #expect(self.follow(moving) == [])
        // The result of the write is unknown, so the machine requests the write again.
        self.now += .seconds(1)
        #expect(self.follow(moving) == [.reclaim([Self.grant(0, 2)])])
        #expect(self.follow(self.view(["n1", "n2"], epochs: [2, 1])) == [.release([Self.grant(0)]), .seal([Self.grant(0, 2)])])
        #expect(self.machine.due == nil)
    }

    @Test mutating func aPartitionWhoseMoveIsCompletedIsNotTakenBack() {
        self.handOver()
        self.machine.handedOver([Self.grant(0)], at: self.now)
        _ = self.follow(self.view(["n2", "n2"], epochs: [2, 1]))
        self.now += .seconds(10)
        #expect(self.follow(self.view(["n2", "n2"], epochs: [2, 1])) == [] && self.machine.due == nil)
    }

    /// The link to the target has ended during the handoff. The controller must not complete the move, so the partition is not reported as sealed.
    @Test mutating func aHandoffThatFailsIsTakenBackImmediately() {
        self.handOver()
        self.machine.handoffFailed([Self.grant(0)], at: self.now)
        #expect(self.machine.partitions[0]?.state == .reclaiming)
        #expect(self.follow(self.view(["n1", "n2"], moving: 0)) == [.reclaim([Self.grant(0, 2)])])
        #expect(self.follow(self.view(["n1", "n2"])) == [])
        #expect(self.machine.partitions[0]?.state == .reclaiming)
    }

    /// A view of another incarnation of this node grants nothing to this process, so it takes nothing back.
    @Test mutating func aFormerIncarnationTakesNothingBack() {
        self.handOver(isLogFencing: true)
        self.machine.handoffFailed([Self.grant(0)], at: self.now)
        #expect(self.follow(self.view(["n1", "n2"], moving: 0), incarnation: 8) == [])
    }

    // MARK: - A log that is sealed under a newer owner epoch

    @Test mutating func aFencedPartitionIsNotServedAndNotSealedAgain() {
        self.machine = OwnershipMachine(isLogFencing: true)
        _ = self.follow(self.view(["n1", "n2"]))
        let isAffected = [Self.grant(0), Self.grant(0), Self.grant(1)].map { self.machine.fenced([$0], at: self.now) }
        #expect(isAffected == [true, false, false])
        #expect(self.machine.partitions[0]?.state == .sealed)
        _ = self.machine.sealed([Self.grant(0)])
        self.machine.refused([Self.grant(0)])
        #expect(self.machine.partitions[0]?.state == .sealed && self.follow(self.view(["n1", "n2"])) == [])
        // Usually a newer view arrives.
        #expect(self.follow(self.view(["n2", "n2"], epochs: [2, 1])) == [.release([Self.grant(0)])])
    }

    /// ZooKeeper has lost many grants: the owner epochs grow in steps of 1, 2, 4 and so on.
    @Test mutating func withoutANewerViewTheOwnerEpochGrowsUntilTheLogAcceptsIt() {
        self.machine = OwnershipMachine(isLogFencing: true)
        var ownerEpoch: Int64 = 1
        for step: Int64 in [1, 2, 4, 8] {
            _ = self.follow(self.view(["n1", "n2"], epochs: [ownerEpoch, 1]))
            _ = self.machine.fenced([Self.grant(0, ownerEpoch)], at: self.now)
            self.now += .seconds(1)
            #expect(self.follow(self.view(["n1", "n2"], epochs: [ownerEpoch, 1])) == [.reclaim([Self.grant(0, ownerEpoch + step)])])
            ownerEpoch += step
        }
        _ = self.follow(self.view(["n1", "n2"], epochs: [ownerEpoch, 1]))
        _ = self.machine.sealed([Self.grant(0, ownerEpoch)])
        _ = self.machine.fenced([Self.grant(0, ownerEpoch)], at: self.now)
        self.now += .seconds(1)
        #expect(self.follow(self.view(["n1", "n2"], epochs: [ownerEpoch, 1])) == [.reclaim([Self.grant(0, ownerEpoch + 1)])])
    }

    @Test mutating func aStepStaysBelowTheReservationOnDisk() {
        self.machine = OwnershipMachine(isLogFencing: true)
        for _ in 0..<5 {
            _ = self.follow(self.view(["n1", "n2"]))
            _ = self.machine.fenced([Self.grant(0)], at: self.now)
            _ = self.machine.releaseAll()
        }
        _ = self.follow(self.view(["n1", "n2"]))
        _ = self.machine.fenced([Self.grant(0)], at: self.now)
        self.now += .seconds(1)
        #expect(self.follow(self.view(["n1", "n2"]), covered: 1) == [])
        self.now += .seconds(1)
        #expect(self.follow(self.view(["n1", "n2"]), covered: 10) == [.reclaim([Self.grant(0, 9)])])
    }

    // MARK: - A lost session

    @Test mutating func withoutALogThatFencesALostMembershipReleasesEverything() {
        _ = self.follow(self.view(["n1", "n2"]))
        #expect(self.machine.membershipLost() == [.release([Self.grant(0)])])
    }

    /// The log fences, so the former incarnation's grants are served until a newer owner epoch exists.
    @Test mutating func withALogThatFencesAGrantIsServedUntilThereIsANewerOne() {
        self.machine = OwnershipMachine(isLogFencing: true)
        _ = self.follow(self.view(["n1", "n2"]))
        _ = self.machine.sealed([Self.grant(0)])
        #expect(self.machine.membershipLost() == [])
        #expect(self.follow(self.view(["n1", "n2"]), incarnation: nil, isConnected: false) == [])
        // A member again: the view still contains the former incarnation, then the partition has no owner.
        #expect(self.follow(self.view(["n1", "n1"], epochs: [1, 2]), incarnation: 8) == [])
        #expect(self.follow(self.view([nil, "n2"]), incarnation: 8) == [])
        #expect(self.machine.partitions.mapValues(\.state) == [0: .serving])
        var view = self.view(["n1", "n2"], epochs: [2, 1])
        view.nodes[0].incarnation = 8
        #expect(self.follow(view, incarnation: 8) == [.release([Self.grant(0)]), .seal([Self.grant(0, 2)])])
    }

    @Test mutating func aGrantOfAnotherNodeEndsAKeptGrant() {
        self.machine = OwnershipMachine(isLogFencing: true)
        _ = self.follow(self.view(["n1", "n2"]))
        _ = self.machine.sealed([Self.grant(0)])
        #expect(self.follow(self.view(["n2", "n2"], epochs: [2, 1]), incarnation: nil, isConnected: false) == [.release([Self.grant(0)])])
    }
}
