import AdminAPI
@testable import Coordination

extension Simulation {
    /// Repeats the regular work of all processes and servers: heartbeats, the end of sessions, checks of links.
    func keepHouse() {
        self.after(.milliseconds(100)) { [unowned self] in
            self.server.expireSilent()
            for node in self.sortedNodes {
                node.heartbeat()
                node.look()
            }
            self.keepHouse()
        }
    }

    /// Ends the faults: all nodes run and reach each other, and operators withdraw their requests.
    func makePeace(_ count: Int) {
        self.note("the faults end")
        self.isPeace = true
        self.cuts.healAll()
        self.server.isAway = false
        for index in 1...count where !(self.node("n\(index)")?.isAlive ?? false) { self.startNode("n\(index)") }
        // The requests are sent three times, because a response may be lost.
        for second in [20, 25, 30] {
            self.after(.seconds(second)) { [unowned self] in
                for node in self.sortedNodes {
                    self.sortedNodes.first?.request(AdminRequest(.undrain, node: node.id))
                    self.sortedNodes.first?.request(AdminRequest(.uncordon, node: node.id))
                    self.sortedNodes.last?.request(AdminRequest(.resume))
                }
            }
        }
    }

    /// Checks that every node is a member, has the same view, and serves the partitions that the view grants to it.
    func checkConvergence() throws {
        func fail(_ text: String) -> Failure {
            Failure(description: "seed \(self.seed): \(text)\n" + self.trace.suffix(80).joined(separator: "\n"))
        }
        let nodes = self.sortedNodes
        guard let view = self.server.view else { throw fail("there is no view") }
        if let node = nodes.first(where: { $0.refusal != nil }) { throw fail("\(node.id) was refused: \(node.refusal!)") }
        if nodes.count(where: \.machine.isController) != 1 { throw fail("the controllers are \(nodes.filter(\.machine.isController).map(\.id))") }
        for node in nodes {
            guard node.isAlive, node.machine.incarnation != nil else { throw fail("\(node.id) is not a member") }
            guard node.machine.view == view else { throw fail("\(node.id) has view \(node.machine.view?.version ?? 0), ZooKeeper has view \(view.version)") }
            guard view.node(node.id)?.incarnation == node.machine.incarnation, view.node(node.id)?.state == .active else {
                throw fail("\(node.id) is \(view.node(node.id).map { "\($0.state)" } ?? "not in the view")")
            }
        }
        for (index, entry) in view.partitions.enumerated() {
            guard let owner = entry.owner, let node = self.node(owner) else { throw fail("partition \(index) has no owner") }
            guard node.machine.ownership[index] == Ownership(state: .serving, ownerEpoch: entry.ownerEpoch) else {
                throw fail("\(owner) holds partition \(index) as \(String(describing: node.machine.ownership[index])), but the view contains \(entry)")
            }
            guard entry.move == nil else { throw fail("partition \(index) is still moving") }
        }
        let loads = nodes.map { view.partitions(ownedBy: $0.id).count }
        if loads.max()! - loads.min()! > 1 { throw fail("the partitions are not balanced: \(loads)") }
    }
}
