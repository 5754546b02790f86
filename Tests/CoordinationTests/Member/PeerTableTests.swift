import Partitioning
import Testing

@testable import Coordination

/// The state of the links of `n1`, and the peers of `n1`. Times are milliseconds.
@Suite struct PeerTableTests {
    private static let start = ContinuousClock.now
    private static let settings = ClusterSettings(cluster: "c", id: "n1", link: "n1:1", api: "n1:2", version: "1")
    private static let n2 = ProcessID(id: "n2", incarnation: 2)
    private var table = PeerTable(settings: Self.settings)

    private static func time(_ milliseconds: Int) -> ContinuousClock.Instant { Self.start.advanced(by: .milliseconds(milliseconds)) }

    private static func view(_ ids: String..., version: Int64 = 1, state: NodeState = .active) -> ClusterView {
        let nodes = ids.map { ClusterView.Node(id: $0, incarnation: Int64($0.dropFirst()), link: "\($0):1", state: state) }
        return ClusterView(version: version, controllerEpoch: 1, writer: "", nodes: nodes, partitions: [])
    }

    private static func controller(_ id: String, _ incarnation: Int64) -> ControllerRecord {
        ControllerRecord(
            json: ControllerRecord.json(ProcessID(id: id, incarnation: incarnation), epoch: 1, epochVersion: 1, link: "\(id):9", api: "\(id):2"),
            stat: ZooKeeperStat(czxid: 9, mzxid: 9, version: 0, ephemeralOwner: 200))!
    }

    // MARK: - Links

    private enum Event {
        case up(ProcessID)
        case down(ProcessID, isRefused: Bool, String?)
    }

    @Test mutating func aLinkKeepsTheTimesOfItsFirstLossAndFirstRefusal() {
        let steps: [(at: Int, event: Event, reach: LinkReach)] = [
            (0, .up(Self.n2), LinkReach(incarnation: 2, isUp: true, since: Self.time(0))),
            (10, .down(Self.n2, isRefused: false, "silent"), LinkReach(incarnation: 2, isUp: false, since: Self.time(10), reason: "silent")),
            // Further failed attempts to dial do not change the time of the loss.
            (
                20, .down(Self.n2, isRefused: true, "refused"),
                LinkReach(incarnation: 2, isUp: false, since: Self.time(10), refusedSince: Self.time(20), reason: "refused")
            ),
            (
                30, .down(Self.n2, isRefused: true, "refused"),
                LinkReach(incarnation: 2, isUp: false, since: Self.time(10), refusedSince: Self.time(20), reason: "refused")
            ),
            // The port is open again, but no link comes up.
            (40, .down(Self.n2, isRefused: false, "silent"), LinkReach(incarnation: 2, isUp: false, since: Self.time(10), reason: "silent")),
            (50, .up(Self.n2), LinkReach(incarnation: 2, isUp: true, since: Self.time(50))),
            // The times start again for another process with the same id.
            (
                60, .down(ProcessID(id: "n2", incarnation: 7), isRefused: true, nil),
                LinkReach(incarnation: 7, isUp: false, since: Self.time(60), refusedSince: Self.time(60))
            ),
        ]
        for step in steps {
            switch step.event {
            case .up(let peer): self.table.linkUp(peer, at: Self.time(step.at))
            case .down(let peer, let isRefused, let reason):
                let wake = self.table.linkDown(peer, isRefused: isRefused, reason: reason, at: Self.time(step.at))
                #expect(wake == Self.time(step.at).advanced(by: Self.settings.refusedMin))
            }
            #expect(self.table.links["n2"] == step.reach, "at \(step.at)")
        }
    }

    // MARK: - Peers

    @Test mutating func theViewNamesThePeers() {
        let first = self.table.peers(Self.view("n1", "n2", "n3"), members: [:], controller: nil, incarnation: 1)
        guard case .peers(let peers, incarnation: 1, viewVersion: 1)? = first else { return recordMissing("no peers") }
        // This node itself is not a peer.
        #expect(peers.map(\.process) == [Self.n2, ProcessID(id: "n3", incarnation: 3)] && peers.map(\.link) == ["n2:1", "n3:1"])
    }

    @Test mutating func aChangeOfThePeersIsReportedOnce() {
        let restarted = Self.controller("n2", 22)
        let rows: [(name: String, view: ClusterView, controller: ControllerRecord?, incarnation: Int64, isReported: Bool)] = [
            ("the first time", Self.view("n1", "n2"), nil, 1, true),
            ("nothing has changed", Self.view("n1", "n2"), nil, 1, false),
            ("a new version of the view, which heartbeats carry", Self.view("n1", "n2", version: 2), nil, 1, true),
            ("one more peer", Self.view("n1", "n2", "n3", version: 2), nil, 1, true),
            ("this process's own incarnation", Self.view("n1", "n2", "n3", version: 2), nil, 11, true),
            ("a restarted controller", Self.view("n1", "n2", "n3", version: 2), restarted, 11, true),
            ("nothing has changed", Self.view("n1", "n2", "n3", version: 2), restarted, 11, false),
        ]
        for row in rows {
            let effect = self.table.peers(row.view, members: [:], controller: row.controller, incarnation: row.incarnation)
            #expect((effect != nil) == row.isReported, "\(row.name)")
        }
    }

    @Test mutating func theControllerIsAPeerBeforeTheViewNamesIt() {
        guard case .peers(let peers, _, viewVersion: 0)? = self.table.peers(nil, members: [:], controller: Self.controller("n2", 22), incarnation: 1) else {
            return recordMissing("no peers")
        }
        #expect(peers == [.init(process: ProcessID(id: "n2", incarnation: 22), link: "n2:9")])
    }

    @Test mutating func linksToProcessesThatAreNotPeersAreRemoved() {
        self.table.linkUp(Self.n2, at: Self.start)
        self.table.linkUp(ProcessID(id: "n3", incarnation: 99), at: Self.start)
        self.table.linkUp(ProcessID(id: "n4", incarnation: 4), at: Self.start)
        _ = self.table.peers(Self.view("n1", "n2", "n3"), members: [:], controller: nil, incarnation: 1)
        #expect(self.table.links.keys.sorted() == ["n2"])
    }

    @Test mutating func leavingProcessesAreRemovedWhenTheyAreNoLongerMembers() {
        self.table.leaves(2, among: [1, 2, 3])
        self.table.leaves(3, among: [1, 2, 3])
        #expect(self.table.leaving == [2, 3])
        self.table.leaves(4, among: [1, 3, 4])
        #expect(self.table.leaving == [3, 4])
    }

    // MARK: - Isolation

    /// A node is isolated if for 11 s it has had a connection to ZooKeeper, but no link to any other member.
    @Test mutating func aNodeWithoutLinksIsIsolatedAfterElevenSeconds() {
        let two = Self.view("n1", "n2")
        let rows: [(at: Int, view: ClusterView, isConnected: Bool, isLinked: Bool, isIsolated: Bool)] = [
            (0, two, true, false, false),
            (10_999, two, true, false, false),
            (11_000, two, true, false, true),
            (11_001, two, true, true, false),
            (12_000, two, true, false, false),
            (23_000, two, true, false, true),
            // Without ZooKeeper, dead members stay in the view. The last living node must stay ready, so it is not isolated.
            (24_000, two, false, false, false),
            (36_000, two, true, false, false),
            (47_000, two, true, false, true),
            (48_000, Self.view("n1"), true, false, false),
            (60_000, Self.view("n2", state: .joining), true, false, false),
        ]
        for row in rows {
            if row.isLinked {
                self.table.linkUp(Self.n2, at: Self.time(row.at))
            } else {
                _ = self.table.linkDown(Self.n2, isRefused: false, reason: nil, at: Self.time(row.at))
            }
            self.table.noteIsolation(row.view, isConnected: row.isConnected, at: Self.time(row.at))
            #expect(self.table.isIsolated(at: Self.time(row.at)) == row.isIsolated, "at \(row.at)")
        }
    }
}
