@testable import Coordination

extension SimulatedNode {
    /// Runs, and has a session.
    var isWell: Bool { self.isAlive && !self.isPaused && !self.isHung && self.isConnected && self.session != nil }

    func serves(_ partition: Int, _ ownerEpoch: Int64) -> Bool { self.isAlive && !self.isPaused && self.serving[partition] == ownerEpoch }

    /// Is the controller, and has heard of so many others lately that with itself they are more than half of all.
    func hearsMost(of count: Int) -> Bool {
        guard self.isAlive, !self.isPaused, !self.isHung, let known = self.machine.controlling?.known else { return false }
        let heard = known.reports.keys.count { $0 != self.id && known.freshReport(of: $0, at: self.simulation.now) != nil }
        return (1 + heard) * 2 > count
    }

    /// What its status tells of what is not as it should be.
    var reasons: [String] {
        guard let view = self.machine.view, let configuration = self.machine.configuration else { return [] }
        return self.machine.status(view, configuration, at: self.simulation.now).judgement.1
    }
}
