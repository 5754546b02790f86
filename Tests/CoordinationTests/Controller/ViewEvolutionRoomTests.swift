import AdminAPI
import Testing

@testable import Coordination

/// The limits on the number of nodes in a view.
@Suite struct ViewEvolutionRoomTests {
    private let now = ContinuousClock.now
    private let settings = ClusterSettings(cluster: "c", id: "n1", link: "n1:1", api: "n1:2", version: "1")

    private static func name(_ prefix: String, _ number: Int) -> String { prefix + String(String(10_000 + number).dropFirst()) }

    /// A view with `n1`, which is the controller, and with `others`. `n1` owns two partitions, and `owner` owns the other two.
    private func view(_ others: [ClusterView.Node], owner: String = "n1") -> ClusterView {
        var view = ClusterView(
            version: 1, controllerEpoch: 1, writer: "", nodes: [.init(id: "n1", incarnation: 1, state: .active)],
            partitions: ["n1", "n1", owner, owner].map { .init(owner: $0, ownerEpoch: 1) })
        for node in others { view.upsert(node) }
        return view
    }

    private func evolve(_ view: ClusterView, members: [String: Int64], change: (inout KnownNodes, inout ControllerGuards) -> Void = { _, _ in })
        -> ViewEvolution
    {
        var known = KnownNodes(electedAt: self.now)
        var guards = ControllerGuards(self.settings)
        known.members = members.reduce(into: ["n1": .init(record: ClusterMachineBench.record("n1"), incarnation: 1)]) {
            $0[$1.key] = KnownNodes.Member(record: ClusterMachineBench.record($1.key), incarnation: $1.value)
        }
        change(&known, &guards)
        var evolution = ViewEvolution(
            current: view, configuration: ClusterConfiguration(clusterID: "c", partitionCount: 4), known: known, guards: guards, ownID: "n1", links: [:],
            settings: self.settings, now: self.now)
        evolution.run()
        return evolution
    }

    @Test func theOldestNodesThatAreDownAreForgotten() {
        let ids = (0..<300).map { Self.name("d", $0) }
        // The controller saw the first 250 nodes go down. Among these, later nodes have older incarnations. The other 50 nodes were down before its election.
        let evolution = self.evolve(self.view(ids.map { .init(id: $0, state: .down) }), members: [:]) { known, guards in
            for (index, id) in ids.prefix(250).enumerated() { guards.counted[id] = Int64(1000 - index) }
            known.entries[ids[299]] = KnownNodes.Entry(record: NodeRecord(desired: .draining), version: 0)
        }
        #expect(evolution.view.nodes.map(\.id) == ids.prefix(200) + [ids[299], "n1"])
        #expect(evolution.reasons.nodes[ids[250]] == "too many nodes are down" && evolution.alarms.isEmpty)
    }

    @Test func twoHundredNodesThatAreDownAreKept() {
        let ids = (0..<200).map { Self.name("d", $0) }
        let evolution = self.evolve(self.view(ids.map { .init(id: $0, state: .down) }), members: [:])
        #expect(evolution.view.nodes.map(\.id) == ids + ["n1"])
    }

    @Test func nodesAboveTheLimitAreNotAdmittedAndTheViewIsStillWritten() throws {
        let ids = (0..<999).map { Self.name("n", $0) }
        let living = ids.map { ClusterView.Node(id: $0, incarnation: 5, link: "\($0):1", api: "\($0):2", version: "1", state: .active) }
        var members = Dictionary(uniqueKeysWithValues: ids.map { ($0, Int64(5)) })
        members["z1"] = 6
        members["z2"] = 7
        let full = self.evolve(self.view(living), members: members)
        #expect(full.view.nodes.count == 1000 && full.refused == ["z1", "z2"] && full.alarms.contains { $0.contains("z1 and 1 others cannot join") })
        _ = try full.view.json()
        // A node dies. Its partitions are reassigned, and a waiting node takes its place in the view.
        members[ids[3]] = nil
        let next = self.evolve(self.view(living, owner: ids[3]), members: members)
        _ = try next.view.json()
        #expect(next.view.orphans == [] && next.view.partitions[2].ownerEpoch == 2 && next.view.partitions[2].owner != ids[3])
        #expect(next.refused == ["z2"] && next.view.node("z1")?.state == .joining && next.view.node(ids[3]) == nil)
    }

    @Test func aNodeThatIsOnlyInTheRegistryCountsTowardsTheLimit() throws {
        let ids = (0..<999).map { Self.name("n", $0) }
        let members = Dictionary(uniqueKeysWithValues: ids.map { ($0, Int64(5)) })
        let evolution = self.evolve(self.view(ids.map { .init(id: $0, incarnation: 5, state: .active) }), members: members) { known, _ in
            known.entries["z1"] = KnownNodes.Entry(record: NodeRecord(desired: .cordoned), version: 0)
        }
        _ = try evolution.view.json()
        #expect(evolution.refused == ["z1"])
    }

    @Test func theControllerRaisesAnAlarmAboutNodesAboveTheLimitAndStillWritesViews() {
        var bench = ClusterMachineBench()
        bench.found()
        for number in 0..<1000 { bench.addMember(Self.name("z", number), session: 1000 + Int64(number)) }
        bench.connect()
        bench.advance(.seconds(5))
        #expect(bench.storedView?.nodes.count == 1000 && bench.storedView?.orphans == [])
        #expect(bench.machine.alarm?.contains("cannot join: a cluster has at most") == true && bench.events.count { $0 == .alarm } == 1)
    }
}
