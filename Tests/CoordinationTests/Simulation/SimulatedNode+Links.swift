import Partitioning

@testable import Coordination

extension SimulatedNode {
    /// Checks the link to every peer, and reports changes to the machine.
    func look() {
        guard self.isAlive, !self.isPaused else { return }
        for peer in self.peers {
            let other = self.simulation.node(peer.id)
            let isOpen = self.simulation.isReachable(self.id, peer.id)
            let state: String
            if isOpen, let other, other.isAlive {
                state = "\(!other.isPaused && other.machine.incarnation == peer.process.incarnation ? "up" : "silent") \(peer.process.incarnation)"
            } else if isOpen {
                state = "refused \(peer.process.incarnation)"
            } else {
                state = "silent \(peer.process.incarnation)"
            }
            guard self.reported[peer.id] != state else { continue }
            self.reported[peer.id] = state
            // Silence is detected after a few heartbeats.
            let delay = state.hasPrefix("silent") ? Duration.seconds(2) : self.simulation.milliseconds(1...30)
            self.simulation.after(delay) {
                guard self.isAlive, self.reported[peer.id] == state, self.peers.contains(peer) else { return }
                if state.hasPrefix("up") {
                    self.up[peer.id] = peer.process.incarnation
                    self.handle(.linkUp(peer.process))
                    if let version = other?.machine.view?.version { self.handle(.peerView(peer.process, version: version)) }
                } else {
                    self.up[peer.id] = nil
                    self.handle(.linkDown(peer.process, isRefused: state.hasPrefix("refused")))
                }
            }
        }
    }

    func send(_ payload: [UInt8], to id: String) {
        guard let incarnation = self.machine.incarnation, self.up[id] != nil, let target = self.up[id] else { return }
        if self.simulation.losesComplaints, payload.starts(with: Array(#"{"complaint""#.utf8)) { return }
        let due = max(self.simulation.now.advanced(by: self.simulation.microseconds(100...5000)), self.lastDelivery[id] ?? self.simulation.now)
        self.lastDelivery[id] = due
        self.simulation.at(due) {
            guard self.simulation.isReachable(self.id, id), let other = self.simulation.node(id), other.isAlive, other.machine.incarnation == target else {
                return
            }
            other.handle(.received(from: ProcessID(id: self.id, incarnation: incarnation), payload: payload))
        }
    }
}
