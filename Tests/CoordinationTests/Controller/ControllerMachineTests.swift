import AdminAPI
import JSON
import Partitioning
import Testing

@testable import Coordination

/// The events of the controller, and the writes that they cause.
@Suite struct ControllerMachineTests {
    private static let now = ContinuousClock.now
    private static let settings = ClusterSettings(cluster: "c", id: "n1", link: "n1:1", api: "n1:2", version: "1")
    private static let paths = settings.paths
    private static let check = ZooKeeperRequest.Part.check(path: "/rt/c/controller_epoch", version: 4)
    private var machine = ControllerMachine(settings: Self.settings, epoch: 4, epochVersion: 4, electedAt: Self.now)
    private var reads = RegistryReads(paths: Self.paths, ownID: "n1", rereadInterval: .seconds(30))
    private var register = ViewMachine(paths: Self.paths, cluster: "c", memory: ClusterMemory(isKept: false, past: nil))
    private var links: [String: LinkReach] = [:]
    private var damagedController: Int32?
    private var leaving: Set<Int64> = []

    private func facts(after duration: Duration = .zero, hasFounded: Bool = true) -> ControllerMachine.Facts {
        .init(
            now: Self.now.advanced(by: duration), incarnation: 7, register: self.register,
            configuration: ClusterConfiguration(clusterID: "c-1", partitionCount: 2), damagedConfiguration: nil,
            damagedController: self.damagedController, hasFounded: hasFounded, links: self.links, leaving: self.leaving, reads: self.reads)
    }

    private static func stat(_ czxid: Int64, version: Int32 = 0) -> ZooKeeperStat {
        ZooKeeperStat(czxid: czxid, mzxid: czxid, version: version, ephemeralOwner: 0)
    }

    private static func member(_ id: String) -> [UInt8] {
        MemberRecord(link: "\(id):1", api: "\(id):2", version: "1", protocols: 1...1, nonce: "", startedAt: 0).json
    }

    private mutating func handle(_ event: ControllerMachine.Event, after duration: Duration = .zero) -> [ControllerMachine.Effect] {
        self.machine.handle(event, self.facts(after: duration))
    }

    /// Marks these targets as read, without a change since.
    private mutating func read(_ targets: RegistryReads.Target...) {
        for target in targets {
            self.reads.read(target)
            _ = self.reads.next(at: Self.now)
            _ = self.reads.replied(target, .success(.node(data: [], stat: Self.stat(1))), at: Self.now, jitter: 0)
        }
    }

    /// `n1` is the only member, and there is no view yet.
    private mutating func gather() {
        _ = self.handle(.listed(.members, ["n1"]))
        _ = self.handle(.replied(.readMember("n1"), .success(.node(data: Self.member("n1"), stat: Self.stat(7)))))
        _ = self.handle(.listed(.nodes, []))
        self.read(.view, .nodes)
    }

    private func written(_ effects: [ControllerMachine.Effect]) -> ClusterView? {
        for case .perform(_, .writeView(let view)) in effects { return view }
        return nil
    }

    @Test mutating func theMembersOfAListAreReadWithWatches() {
        #expect(
            self.handle(.listed(.members, ["n2", "n1", "no id"])) == [
                .perform(.get(path: "/rt/c/members/n2", watch: true), for: .readMember("n2")),
                .perform(.get(path: "/rt/c/members/n1", watch: true), for: .readMember("n1")),
            ])
        #expect(self.handle(.look) == [])
    }

    @Test mutating func nothingIsWrittenBeforeEverythingIsRead() {
        _ = self.handle(.listed(.members, ["n1"]))
        #expect(self.written(self.handle(.look)) == nil)
        self.gather()
        #expect(self.written(self.handle(.look)) != nil)
    }

    @Test mutating func theFirstViewGrantsAllPartitionsWithAnEpochCheck() throws {
        self.gather()
        let effects = self.handle(.look)
        let view = try #require(self.written(effects))
        #expect(
            view.version == 1 && view.controllerEpoch == 4 && view.writer == "n1/7/1" && view.partitions.allSatisfy { $0.owner == "n1" && $0.ownerEpoch == 1 })
        #expect(
            effects.contains(
                .perform(.multi([Self.check, .create(path: "/rt/c/view", data: try view.json(), ephemeral: false)]), for: .writeView(view))))
        // Only one write is in flight at a time.
        #expect(self.written(self.handle(.look)) == nil)
        #expect(
            self.handle(.replied(.writeView(view), .success(.multi([nil, nil])))) == [.wrote(view, stat: nil)])
    }

    @Test mutating func aRefusedViewIsReplacedByAViewOfTheNewestState() throws {
        self.gather()
        let view = try #require(self.written(self.handle(.look)))
        #expect(
            self.handle(.replied(.writeView(view), .failure(.refused(.badVersion, part: 1)))) == [
                .readAgain(.view), .wake(at: Self.now.advanced(by: .milliseconds(50))),
            ])
        #expect(self.written(self.handle(.look)) == nil)
        #expect(self.written(self.handle(.look, after: .milliseconds(50))) != nil)
    }

    @Test mutating func aControllerStepsDownAfterTheEpochWasRaised() throws {
        self.gather()
        let view = try #require(self.written(self.handle(.look)))
        #expect(
            self.handle(.replied(.writeView(view), .failure(.refused(.badVersion, part: 0)))) == [.stepDown("another node has raised the controller epoch")])
    }

    /// With an incomplete list of members, the controller would take partitions from living nodes.
    @Test mutating func aMemberThatCannotBeReadIsReadAgain() {
        _ = self.handle(.listed(.members, ["n1"]))
        let again = Self.now.advanced(by: .milliseconds(200))
        #expect(self.handle(.replied(.readMember("n1"), .failure(.ambiguous(code: -7)))) == [.wake(at: again)])
        #expect(
            self.handle(.look, after: .milliseconds(200)) == [.perform(.get(path: "/rt/c/members/n1", watch: true), for: .readMember("n1"))])
    }

    @Test mutating func aMemberWhosePortIsClosedIsEvicted() {
        self.gather()
        _ = self.handle(.listed(.members, ["n1", "n2"]))
        _ = self.handle(.replied(.readMember("n1"), .success(.node(data: Self.member("n1"), stat: Self.stat(7)))))
        _ = self.handle(.replied(.readMember("n2"), .success(.node(data: Self.member("n2"), stat: Self.stat(8)))))
        let view = ClusterView(
            version: 3, controllerEpoch: 3, writer: "n2/8/1",
            nodes: [.init(id: "n1", incarnation: 7, state: .active), .init(id: "n2", incarnation: 8, state: .active)],
            partitions: [.init(owner: "n1", ownerEpoch: 1), .init(owner: "n2", ownerEpoch: 1)])
        _ = self.register.accept(view, from: "n2", at: Self.now)
        self.links["n2"] = LinkReach(incarnation: 8, isUp: false, since: Self.now, refusedSince: Self.now)
        let effects = self.handle(.look, after: .milliseconds(300))
        #expect(
            effects.contains(
                .perform(.multi([Self.check, .delete(path: "/rt/c/members/n2", version: nil)]), for: .evict(ProcessID(id: "n2", incarnation: 8)))))
        #expect(effects.contains { if case .record(.evicted, "n2", _) = $0 { true } else { false } })
        // The eviction is recorded only once.
        #expect(!self.handle(.look, after: .milliseconds(400)).contains { if case .record(.evicted, _, _) = $0 { true } else { false } })
    }

    /// The former controller leaves: it has released its partitions, and is linked until it ends.
    @Test mutating func aNewControllerDoesNotWaitForTheReportOfANodeThatLeaves() {
        self.gather()
        let view = ClusterView(
            version: 3, controllerEpoch: 3, writer: "n2/8/1",
            nodes: [.init(id: "n1", incarnation: 7, state: .active), .init(id: "n2", incarnation: 8, state: .active)],
            partitions: [.init(owner: "n1", ownerEpoch: 1), .init(owner: "n2", ownerEpoch: 1)])
        _ = self.register.accept(view, from: "n2", at: Self.now)
        self.links["n2"] = LinkReach(incarnation: 8, isUp: true, since: Self.now, refusedSince: nil)
        #expect(self.written(self.handle(.look)) == nil)
        self.leaving = [8]
        #expect(self.written(self.handle(.look))?.partitions.map(\.owner) == ["n1", "n1"])
    }

    @Test mutating func aLostParentZnodeIsCreatedAgain() {
        #expect(self.handle(.folderIsAbsent(.nodes)) == [.alarm("ZooKeeper lost /rt/c/nodes: the controller creates it again")])
        self.read(.nodes)
        #expect(
            self.handle(.look) == [
                .perform(.multi([Self.check, .create(path: "/rt/c/nodes", data: [], ephemeral: false)]), for: .repair("/rt/c/nodes"))
            ])
        #expect(self.handle(.replied(.repair("/rt/c/nodes"), .success(.multi([nil, nil])))) == [.markDirty("/rt/c/nodes")])
    }

    @Test mutating func theControllerWritesItsDamagedZnodeAgain() {
        self.damagedController = 2
        self.read(.controller)
        let record = ControllerRecord.json(ProcessID(id: "n1", incarnation: 7), epoch: 4, epochVersion: 4, link: "n1:1", api: "n1:2")
        #expect(
            self.handle(.look) == [
                .perform(.multi([Self.check, .set(path: "/rt/c/controller", data: record, version: 2)]), for: .repair("/rt/c/controller"))
            ])
    }

    /// Two watches fire when a znode is deleted. So its parent is still being read again when the controller already knows the loss.
    @Test mutating func aLostDesiredStateIsInTheNextViewEvenWhileTheRegistryIsReadAgain() throws {
        self.gather()
        var node = ClusterView.Node(id: "n2", state: .down)
        node.desired = NodeRecord(desired: .cordoned, note: "disk", by: "ann", revision: 3)
        let view = ClusterView(
            version: 3, controllerEpoch: 3, writer: "n2/8/1", nodes: [.init(id: "n1", incarnation: 7, state: .active), node],
            partitions: [.init(owner: "n1", ownerEpoch: 1), .init(owner: nil, ownerEpoch: 1)])
        _ = self.register.accept(view, from: "n2", at: Self.now)
        self.reads.readAgain(.nodes)
        let effects = self.handle(.look)
        #expect(try #require(self.written(effects)).node("n2")?.desired == node.desired)
        #expect(effects.contains { if case .alarm(let text) = $0 { text.hasPrefix("ZooKeeper lost operators' requests: n2") } else { false } })
        #expect(!effects.contains { if case .perform(_, .repair) = $0 { true } else { false } })
        self.read(.nodes)
        #expect(self.handle(.look).contains { if case .perform(_, .repair("/rt/c/nodes/n2")) = $0 { true } else { false } })
    }

    @Test mutating func anotherNodesAlarmIsRecordedOnce() {
        var report = NodeReport(incarnation: 8, viewVersion: 3)
        report.alarm = "disk full"
        #expect(self.handle(.reported(report, by: "n2")) == [.reported(alarm: "disk full", by: "n2", viewVersion: 3)])
        #expect(self.handle(.reported(report, by: "n2")) == [])
    }
}
