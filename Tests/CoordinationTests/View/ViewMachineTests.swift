import Testing

@testable import Coordination

/// Which views from ZooKeeper, from peers and from the disk are adopted.
@Suite struct ViewMachineTests {
    private static let now = ContinuousClock.now
    private var machine = ViewMachine(paths: ClusterPaths(cluster: "c"), cluster: "c", memory: ClusterMemory(isKept: false, past: nil))

    private func view(_ version: Int64, owner: String = "n1", ownerEpoch: Int64 = 1, writer: String = "") -> ClusterView {
        ClusterView(
            version: version, controllerEpoch: 1, writer: writer, nodes: [.init(id: owner, incarnation: 7, state: .active)],
            partitions: [.init(owner: owner, ownerEpoch: ownerEpoch)])
    }

    private mutating func find(_ view: ClusterView, stat: Int32 = 0) throws -> [ViewMachine.Effect] {
        self.machine.found(try view.json(), ZooKeeperStat(czxid: 1, mzxid: 1, version: stat, ephemeralOwner: 0), at: Self.now)
    }

    @Test mutating func aNewerViewIsAdopted() throws {
        #expect(try self.find(self.view(1)) == [.adopted(self.view(1), before: nil)])
        #expect(try self.find(self.view(2), stat: 1) == [.adopted(self.view(2), before: self.view(1))])
        #expect(try self.find(self.view(2), stat: 1) == [])
        #expect(self.machine.view == self.view(2) && self.machine.stored?.version == 2 && self.machine.stored?.stat == 1)
    }

    @Test mutating func anOlderViewFromAPeerIsIgnored() throws {
        _ = try self.find(self.view(2))
        let (isTaken, effects) = self.machine.accept(self.view(1), from: "n2", at: Self.now)
        #expect(!isTaken && effects == [])
    }

    @Test mutating func aViewThatContradictsTheNewestIsRefusedAndRaisesTheFloor() throws {
        _ = try self.find(self.view(2, ownerEpoch: 5))
        let (isTaken, effects) = self.machine.accept(self.view(9, ownerEpoch: 4), from: "n2", at: Self.now)
        #expect(!isTaken && effects == [.alarm("a view from n2 is refused: the owner epoch of partition 0 went back from 5 to 4")])
        #expect(self.machine.view?.version == 2 && self.machine.floor.version == 9)
    }

    @Test mutating func aViewThatWentBackRaisesAnAlarmAndIsReadAgain() throws {
        _ = try self.find(self.view(5))
        #expect(
            try self.find(self.view(3)) == [
                .alarm("ZooKeeper lost writes: its view went back from version 5 to 3; this node keeps the newer view"),
                .readAgain(from: Self.now.advanced(by: .seconds(1))),
            ])
        #expect(self.machine.view?.version == 5 && self.machine.stored?.version == 3)
    }

    @Test mutating func unreadableBytesRaiseAnAlarmAndKeepTheView() throws {
        _ = try self.find(self.view(5))
        let effects = self.machine.found([1], ZooKeeperStat(czxid: 1, mzxid: 1, version: 8, ephemeralOwner: 0), at: Self.now)
        guard case .alarm? = effects.first, effects.count == 1 else { return recordMissing("no alarm") }
        #expect(self.machine.view?.version == 5 && self.machine.unreadable?.stat == 8 && self.machine.mayBeReplaced)
    }

    @Test mutating func aNewerVersionThatAPeerReportsIsPulledEverySecond() throws {
        _ = try self.find(self.view(1))
        self.machine.reported(2, by: "n2")
        self.machine.reported(1, by: "n3")
        let second = Self.now.advanced(by: .seconds(1))
        #expect(self.machine.pull(from: { _ in true }, at: Self.now) == [.pull(["n2"]), .wake(at: second)])
        #expect(self.machine.pull(from: { _ in true }, at: Self.now) == [.wake(at: second)])
        _ = try self.find(self.view(2))
        #expect(self.machine.pull(from: { _ in true }, at: second) == [])
    }

    @Test mutating func theViewOnTheDiskIsAdoptedIfZooKeeperHasNone() throws {
        let past = RememberedCluster(
            cluster: "c", configuration: ClusterConfiguration(clusterID: "c-1", partitionCount: 1), view: self.view(7), reservedOwnerEpoch: 1000)
        self.machine = ViewMachine(paths: ClusterPaths(cluster: "c"), cluster: "c", memory: ClusterMemory(isKept: true, past: past))
        #expect(
            self.machine.absent(at: Self.now) == [
                .alarm("ZooKeeper lost writes: it has no view, and this node had version 7 before its restart"),
                .adopted(self.view(7), before: nil),
            ])
    }
}
