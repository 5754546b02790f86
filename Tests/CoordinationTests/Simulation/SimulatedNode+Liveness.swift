@testable import Coordination

extension SimulatedNode {
    /// The node runs, and has a session and a connection to ZooKeeper.
    var isWell: Bool { self.isAlive && !self.isPaused && !self.isHung && self.isConnected && self.session != nil }

    func serves(_ partition: Int, _ ownerEpoch: Int64) -> Bool { self.isAlive && !self.isPaused && self.serving[partition] == ownerEpoch }

    /// Whether the node is the controller, and has fresh reports from more than half of all nodes, including itself.
    func hasReportsOfMost(of count: Int) -> Bool {
        guard self.isAlive, !self.isPaused, !self.isHung, let known = self.machine.controlling?.known else { return false }
        let reporting = known.reports.keys.count { $0 != self.id && known.freshReport(of: $0, at: self.simulation.now) != nil }
        return (1 + reporting) * 2 > count
    }

    /// The reasons in the node's status.
    var reasons: [String] {
        guard let view = self.machine.view, let configuration = self.machine.configuration else { return [] }
        return self.machine.status(view, configuration, at: self.simulation.now).judgement.1
    }
}
