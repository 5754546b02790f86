import AdminAPI
import JSON
import Testing

@testable import Coordination

/// All combinations of a znode, a damage and a scene. The znode is repaired, or an alarm says within seconds what to do.
@Suite struct ZnodeDamageTests {
    enum Znode: String, CaseIterable {
        case root = "/rt"
        case cluster = "/rt/sim"
        case configuration = "/rt/sim/config"
        case nodes = "/rt/sim/nodes"
        case node = "/rt/sim/nodes/n3"
        case members = "/rt/sim/members"
        case member = "/rt/sim/members/n2"
        case controller = "/rt/sim/controller"
        case controllerEpoch = "/rt/sim/controller_epoch"
        case view = "/rt/sim/view"
    }

    enum Damage: CaseIterable {
        case absent, empty, garbage
        /// The content that the znode had some time before.
        case older
        /// Content that a newer version of the program may have written, and that this version can read.
        case newer
        /// Content that a newer version of the program may have written, and that this version cannot read.
        case foreign
    }

    enum Scene: CaseIterable { case controllerLives, controllerDies, nodeJoins }

    struct Case: CustomTestStringConvertible {
        var znode: Znode
        var damage: Damage
        var scene: Scene
        var testDescription: String { "\(self.znode.rawValue) \(self.damage), \(self.scene)" }
    }

    static let cases = Znode.allCases.flatMap { znode in
        Damage.allCases.flatMap { damage in Scene.allCases.map { Case(znode: znode, damage: damage, scene: $0) } }
    }

    // MARK: - The expected outcomes

    private enum Outcome {
        /// The cluster is whole, and the znode has the right content. If nothing was lost, no alarm is needed.
        case repaired(isAlarmed: Bool)
        /// The running nodes continue and raise an alarm. A node that joins is refused with this text.
        case continues(refusal: String)
        /// Nothing is reassigned before an operator has done what the alarm says.
        case alarm(String)
    }

    private func outcome(_ test: Case) -> Outcome {
        switch (test.znode, test.damage) {
        // The nodes do not read the data of these znodes.
        case (.root, .empty), (.root, .garbage), (.root, .older), (.root, .newer), (.root, .foreign): .repaired(isAlarmed: false)
        case (.cluster, .empty), (.cluster, .garbage), (.cluster, .older), (.cluster, .newer), (.cluster, .foreign): .repaired(isAlarmed: false)
        case (.nodes, .empty), (.nodes, .garbage), (.nodes, .older), (.nodes, .newer), (.nodes, .foreign): .repaired(isAlarmed: false)
        case (.members, .empty), (.members, .garbage), (.members, .older), (.members, .newer), (.members, .foreign): .repaired(isAlarmed: false)
        case (.configuration, .foreign): .continues(refusal: "uses protocol 9")
        case (.view, .foreign): .alarm("delete /rt/sim/view")
        // Fields that this version does not know are kept.
        case (.configuration, .newer), (.node, .newer), (.controller, .newer), (.controller, .older): .repaired(isAlarmed: false)
        // Any number is valid data. Only the version of the znode counts.
        case (.controllerEpoch, .newer), (.controllerEpoch, .older): .repaired(isAlarmed: false)
        // The newer view stays until the next change of the view replaces it.
        case (.view, .newer): .repaired(isAlarmed: false)
        // The nodes create these znodes again. Their absence is no damage, because memberships end with their processes.
        case (.members, .absent), (.member, .absent), (.controller, .absent): .repaired(isAlarmed: false)
        default: .repaired(isAlarmed: true)
        }
    }

    private func bytes(_ test: Case, now: [UInt8], before: [UInt8]) throws -> [UInt8]? {
        switch (test.damage, test.znode) {
        case (.absent, _): return nil
        case (.empty, _): return []
        case (.garbage, _): return [0x00, 0xFF, 0x7B, 0x1B, 0x5B]
        case (.older, _): return before
        case (_, .controllerEpoch): return Array((test.damage == .newer ? "77" : #"{"epoch":7}"#).utf8)
        case (_, .root), (_, .cluster), (_, .nodes), (_, .members): return Array("{\"future\":1}".utf8)
        case (.newer, .view):
            var view = try ClusterView(json: now)
            view.version += 1
            return Array(String(decoding: try view.json().dropLast(), as: UTF8.self).utf8) + Array(#","future":{"a":[1]}}"#.utf8)
        case (.newer, _):
            return Array(now.dropLast()) + Array(#","future":{"a":[1]}}"#.utf8)
        case (.foreign, .configuration): return Array(#"{"clusterId":"c","partitions":{"count":7},"activeProto":9}"#.utf8)
        case (.foreign, .view): return Array(#"{"v":900,"format":2}"#.utf8)
        case (.foreign, _): return Array(#"{"format":2}"#.utf8)
        }
    }

    // MARK: - The test

    @Test(arguments: cases) func everyDamageHasTheExpectedOutcome(_ test: Case) throws {
        let simulation = Simulation(seed: 7, partitionCount: 12)
        for id in ["n1", "n2"] { simulation.startNode(id) }
        simulation.keepHouse()
        try simulation.run(until: .seconds(5))
        let path = test.znode.rawValue
        var before = simulation.server.data(path)
        simulation.startNode("n3")
        try simulation.run(until: .seconds(14))
        let controller = try #require(simulation.sortedNodes.first { $0.machine.isController })
        // The desired state of a node must outlive the damage.
        simulation.sortedNodes.first?.request(AdminRequest(.drain, node: "n3", by: "alice", note: "disk"))
        try simulation.run(until: .seconds(15))
        before = before ?? simulation.server.data(path)
        simulation.sortedNodes.first?.request(AdminRequest(.undrain, node: "n3", by: "alice"))
        // The cordon is requested later, because a node must be undrained before it can be cordoned.
        try simulation.run(until: .seconds(16))
        simulation.sortedNodes.first?.request(AdminRequest(.cordon, node: "n3", by: "alice", note: "disk"))
        simulation.sortedNodes.first?.request(AdminRequest(.pause, by: "alice"))
        try simulation.run(until: .seconds(25))
        try #require(simulation.server.view?.node("n3")?.desired?.desired == .cordoned && simulation.server.view?.mode == .maintenance)
        let now = try #require(simulation.server.data(path))
        let alarms = Dictionary(uniqueKeysWithValues: simulation.sortedNodes.map { ($0.id, $0.machine.history.counts[.alarm] ?? 0) })

        simulation.server.overwrite(path, try self.bytes(test, now: now, before: try #require(before)))
        switch test.scene {
        case .controllerLives: break
        case .controllerDies: controller.crash()
        // The node starts later. Without the delay, a node that was never a member could create a new cluster here.
        case .nodeJoins: simulation.after(.milliseconds(300)) { simulation.startNode("n4") }
        }
        let outcome = self.outcome(test)
        try simulation.run(until: .seconds(33))
        let alarmed = simulation.sortedNodes.filter { $0.isAlive && ($0.machine.history.counts[.alarm] ?? 0) > alarms[$0.id] ?? 0 }
        func trace(_ text: String) -> Comment { Comment(rawValue: "\(text)\n" + simulation.trace.suffix(60).joined(separator: "\n")) }
        // The alarm is raised within seconds and without a request. No alarm is expected for a znode that ends with the dying controller.
        let isGone = test.scene == .controllerDies && (test.znode == .controller || (test.znode == .member && controller.id == "n2"))
        if case .repaired(isAlarmed: false) = outcome {} else if !isGone { #expect(!alarmed.isEmpty, trace("no alarm")) }
        try simulation.run(until: .seconds(80))
        let nodes = simulation.sortedNodes.filter { !(test.scene == .controllerDies && $0 === controller) }

        switch outcome {
        case .alarm(let advice):
            for node in nodes { #expect(node.refusal == nil, trace("\(node.id) refused to continue")) }
            let machine = try #require(nodes.first { $0.machine.isController }).machine
            #expect(machine.alarm?.contains(advice) ?? false, trace("\(machine.alarm ?? "no alarm")"))
            #expect(machine.obstacle?.contains(advice) ?? false, trace("\(machine.obstacle ?? "no obstacle")"))
            // The operator does what the alarm says.
            simulation.server.overwrite(path, nil)
            try simulation.run(until: .seconds(125))
            try self.checkWhole(simulation, nodes)
        case .continues(let refusal):
            for node in nodes where node.id != "n4" {
                #expect(node.refusal == nil && node.machine.alarm != nil, trace("\(node.id): \(node.refusal ?? "no alarm")"))
                // The node must continue with a new session too.
                if let session = node.session { simulation.server.end(session) }
            }
            if let node = simulation.node("n4") { #expect(node.refusal?.contains(refusal) ?? false, trace("n4: \(node.refusal ?? "not refused")")) }
            try simulation.run(until: .seconds(145))
            try self.checkWhole(simulation, nodes.filter { $0.id != "n4" })
        case .repaired:
            try self.checkWhole(simulation, nodes)
            guard !isGone || test.znode == .controller else { return }
            let data = try #require(simulation.server.data(path))
            switch test.znode {
            case .configuration:
                let configuration = try ClusterConfiguration(json: data)
                #expect(configuration.partitionCount == 12 && configuration.rebalance == .paused, trace("\(configuration)"))
            case .view: #expect((try? ClusterView(json: data)) != nil)
            case .controllerEpoch: #expect(Int32(String(decoding: data, as: UTF8.self)) != nil)
            case .node:
                let record = try NodeRecord(json: data)
                #expect(record.desired == .cordoned && record.by == "alice" && record.note == "disk", trace("\(record)"))
            case .member: #expect((try? MemberRecord(json: data)) != nil)
            case .controller:
                let record = ControllerRecord(json: data, stat: try #require(simulation.server.stat(path)))
                let controller = try #require(nodes.first { $0.machine.isController })
                #expect(record?.id == controller.id && record?.incarnation == controller.machine.incarnation, trace("\(String(decoding: data, as: UTF8.self))"))
            case .root, .cluster, .nodes, .members: break
            }
        }
    }

    /// Checks that all nodes are members in the same view, that each serves its partitions, and that one node is the controller.
    private func checkWhole(_ simulation: Simulation, _ nodes: [SimulatedNode]) throws {
        func fail(_ text: String) -> Simulation.Failure { .init(description: "\(text)\n" + simulation.trace.suffix(80).joined(separator: "\n")) }
        guard let view = simulation.server.view else { throw fail("there is no view") }
        guard nodes.count(where: \.machine.isController) == 1 else { throw fail("the controllers are \(nodes.filter(\.machine.isController).map(\.id))") }
        for node in nodes {
            guard node.refusal == nil, let incarnation = node.machine.incarnation else { throw fail("\(node.id) is not a member: \(node.refusal ?? "")") }
            guard view.node(node.id)?.incarnation == incarnation, let state = view.node(node.id)?.state, state.mayOwn || state == .drained else {
                throw fail("\(node.id) is \(view.node(node.id).map { "\($0.state)" } ?? "not in the view")")
            }
            guard node.machine.view == view else { throw fail("\(node.id) has view \(node.machine.view?.version ?? 0), ZooKeeper has view \(view.version)") }
        }
        for (index, entry) in view.partitions.enumerated() {
            guard let owner = entry.owner, let node = simulation.node(owner) else { throw fail("partition \(index) has no owner") }
            guard node.machine.ownership[index] == Ownership(state: .serving, ownerEpoch: entry.ownerEpoch) else {
                throw fail("\(owner) holds partition \(index) as \(String(describing: node.machine.ownership[index])), but the view contains \(entry)")
            }
        }
    }
}
