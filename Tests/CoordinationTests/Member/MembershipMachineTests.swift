import AdminAPI
import Testing

@testable import Coordination

/// The steps of a node that joins or leaves, after each reply of ZooKeeper.
@Suite struct MembershipMachineTests {
    private static let now = ContinuousClock.now
    private static let path = "/rt/c/members/n1"
    private static let settings = ClusterSettings(cluster: "c", id: "n1", link: "n1:1", api: "n1:2", version: "1")
    private var machine = MembershipMachine(settings: Self.settings, nonce: 1)

    private func facts(
        after duration: Duration = .zero, configuration: ClusterConfiguration? = ClusterConfiguration(clusterID: "c-1", partitionCount: 4),
        misfit: String? = nil, used: [Int64] = []
    ) -> MembershipMachine.Facts {
        .init(
            now: Self.now.advanced(by: duration), jitter: 0, sessionID: 100, sessionTimeout: .seconds(6), ownSessions: [99, 100],
            configuration: configuration, incompatibility: misfit, usedIncarnations: used)
    }

    private static func stat(_ czxid: Int64, session: Int64 = 100, version: Int32 = 0) -> ZooKeeperStat {
        ZooKeeperStat(czxid: czxid, mzxid: czxid, version: version, ephemeralOwner: session)
    }

    private var record: [UInt8] {
        MemberRecord(link: "n1:1", api: "n1:2", version: "1", protocols: 1...1, nonce: "1", startedAt: 0).json
    }

    private func operations(_ effects: [MembershipMachine.Effect]) -> [MembershipMachine.Operation] {
        effects.compactMap { if case .perform(_, let operation) = $0 { operation } else { nil } }
    }

    /// Performs the steps until the node creates its member znode.
    private mutating func register() {
        for operation in self.operations(self.machine.proceed(self.facts())) { _ = self.machine.replied(operation, .success(.done), self.facts()) }
        #expect(self.machine.proceed(self.facts()) == [.perform(.create(path: Self.path, data: self.record, ephemeral: true), for: .register)])
    }

    private mutating func join(_ czxid: Int64 = 7) -> [MembershipMachine.Effect] {
        self.register()
        return self.machine.replied(.register, .success(.stat(Self.stat(czxid))), self.facts())
    }

    @Test mutating func theParentZnodesAreCreatedThenTheConfigurationIsRead() {
        let operations = self.operations(self.machine.proceed(self.facts()))
        #expect(operations == (0..<5).map { .makeFoundation($0) } && self.machine.state == .preparing(open: Set(0..<5)))
        for operation in operations.dropLast() { #expect(self.machine.replied(operation, .success(.done), self.facts()) == []) }
        #expect(self.machine.replied(operations[4], .failure(.refused(.nodeExists, part: nil)), self.facts()) == [.read(.configuration)])
        #expect(self.machine.state == .configuring && self.machine.proceed(self.facts(configuration: nil)) == [])
    }

    @Test mutating func anIncompatibleConfigurationIsRefused() {
        for operation in self.operations(self.machine.proceed(self.facts())) { _ = self.machine.replied(operation, .success(.done), self.facts()) }
        #expect(self.machine.proceed(self.facts(misfit: "another hash")) == [.refuse("another hash")])
    }

    @Test mutating func aNodeWithAMemberZnodeIsAMember() {
        #expect(
            self.join() == [
                .record(.joined, "joined the cluster as incarnation 7"), .read(.ownMember), .read(.controller), .read(.view), .read(.configuration),
            ])
        #expect(self.machine.incarnation == 7 && self.machine.wasMember)
    }

    @Test mutating func afterALostReplyTheMemberZnodeIsRead() {
        self.register()
        #expect(
            self.machine.replied(.register, .failure(.ambiguous(code: -7)), self.facts()) == [
                .perform(.get(path: Self.path, watch: false), for: .inspectMember)
            ])
        _ = self.machine.replied(.inspectMember, .success(.node(data: self.record, stat: Self.stat(8))), self.facts())
        #expect(self.machine.incarnation == 8)
    }

    @Test mutating func theMemberZnodeOfAFormerSessionOfThisNodeIsRemoved() {
        self.register()
        _ = self.machine.replied(.register, .failure(.refused(.nodeExists, part: nil)), self.facts())
        let effects = self.machine.replied(.inspectMember, .success(.node(data: self.record, stat: Self.stat(5, session: 99, version: 3))), self.facts())
        #expect(effects == [.perform(.delete(path: Self.path, version: 3), for: .deletePredecessor)])
        #expect(self.machine.replied(.deletePredecessor, .success(.done), self.facts()) == [])
        #expect(self.operations(self.machine.proceed(self.facts())) == [.register])
    }

    @Test mutating func aNodeWaitsForAnotherProcessWithItsIDAndThenRefusesToStart() {
        self.register()
        _ = self.machine.replied(.register, .failure(.refused(.nodeExists, part: nil)), self.facts())
        let other = MemberRecord(link: "n9:1", api: "n9:2", version: "1", protocols: 1...1, nonce: "2", startedAt: 0).json
        let effects = self.machine.replied(.inspectMember, .success(.node(data: other, stat: Self.stat(5, session: 50))), self.facts())
        #expect(effects == [.record(.blocked, "another session holds the id n1, at n9:1; waiting for it to end"), .read(.ownMember)])
        #expect(self.machine.proceed(self.facts(after: .seconds(10))) == [.wake(at: Self.now.advanced(by: .seconds(11)))])
        guard case .refuse? = self.machine.proceed(self.facts(after: .seconds(11))).first else { return recordMissing("the node does not refuse") }
    }

    /// ZooKeeper was restored from an old copy and uses numbers again.
    @Test mutating func anIncarnationThatWasUsedBeforeIsNotUsedAgain() {
        self.register()
        let effects = self.machine.replied(.register, .success(.stat(Self.stat(7))), self.facts(used: [7]))
        #expect(effects == [.perform(.delete(path: Self.path, version: nil), for: .deletePredecessor)] && self.machine.incarnation == nil)
    }

    @Test mutating func aRemovedMemberReleasesItsPartitionsAndJoinsAgain() {
        _ = self.join()
        let text = "the member znode of incarnation 7 was removed by another node; joining again"
        #expect(self.machine.found(nil, self.facts()) == [.record(.evicted, text), .releasePartitions, .stopControlling])
        #expect(self.machine.proceed(self.facts(after: .milliseconds(499))) == [.wake(at: Self.now.advanced(by: .milliseconds(500)))])
        #expect(self.operations(self.machine.proceed(self.facts(after: .milliseconds(500)))).count == 5)
    }

    @Test mutating func aChangedMemberZnodeIsWrittenAgainOnce() {
        _ = self.join()
        let effects = self.machine.found(Self.stat(7, version: 4), self.facts())
        #expect(
            effects == [
                .alarm("\(Self.path) was changed by another program; this node writes it again"),
                .perform(.set(path: Self.path, data: self.record, version: 4), for: .repairMember),
            ])
        #expect(self.machine.found(Self.stat(7, version: 4), self.facts()) == [])
        _ = self.machine.replied(.repairMember, .success(.stat(Self.stat(7, version: 5))), self.facts())
        #expect(self.machine.found(Self.stat(7, version: 5), self.facts()) == [])
    }

    @Test mutating func leavingReleasesThePartitionsFirst() {
        _ = self.join()
        self.machine.leave()
        #expect(
            self.machine.proceed(self.facts()) == [
                .releasePartitions, .announceLeaving, .record(.left, "leaves the cluster (incarnation 7)"),
                .perform(.delete(path: Self.path, version: nil), for: .withdraw),
            ])
        #expect(self.machine.replied(.withdraw, .success(.done), self.facts()) == [.left] && self.machine.state == .gone)
    }

    @Test mutating func aNodeThatHasNotJoinedLeavesImmediately() {
        self.machine.leave()
        #expect(self.machine.proceed(self.facts()) == [.releasePartitions, .left])
    }
}
