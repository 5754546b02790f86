import AdminAPI
import Partitioning

extension ClusterStatus {
    /// The members' reports about one node.
    struct Sighting: Equatable {
        var presence = ClusterMembers.Presence.up
        /// The number of other members that report whether they reach the node.
        var witnesses = 0
        /// The witnesses that do not reach the node, in order.
        var unseenBy: [String] = []
    }

    /// The reports that count. At the controller these are all fresh reports. At another node only that node's own report counts. If that node reaches less
    /// than half of the others, it is probably cut off itself, and no report counts.
    private var witnesses: [String: NodeReport] {
        guard self.isAuthoritative else { return self.isCutOff ? [:] : [self.ownID: self.ownReport] }
        return self.reports.filter { id, received in
            self.isFresh(received) && self.view.node(id)?.incarnation == received.report.incarnation
        }.mapValues(\.report)
    }

    /// Whether this node reaches less than half of the others. Nodes with a closed port do not count.
    private var isCutOff: Bool {
        let refused = Set(self.ownReport.refused.map(\.id))
        let reached = Set(self.ownReport.reached.map(\.id))
        let peers = self.view.nodes.filter { $0.id != self.ownID && $0.incarnation != nil && !refused.contains($0.id) }
        return peers.count { reached.contains($0.id) } * 2 < peers.count
    }

    /// One sighting for each node. If most members do not reach a node, the node is suspect, and not those members.
    func sightings() -> [String: Sighting] {
        let living = self.view.nodes.filter { $0.incarnation != nil }
        let witnesses = self.witnesses
        var sightings = Dictionary(uniqueKeysWithValues: self.view.nodes.map { ($0.id, Sighting()) })
        var refusals: [String: Int] = [:]
        for (witness, report) in witnesses.sorted(by: { $0.key < $1.key }) {
            let reached = Set(report.reached.map(\.id))
            let refused = Set(report.refused)
            for node in living where node.id != witness {
                sightings[node.id]!.witnesses += 1
                if !reached.contains(node.id) { sightings[node.id]!.unseenBy.append(witness) }
                if let incarnation = node.incarnation, refused.contains(.init(id: node.id, incarnation: incarnation)) { refusals[node.id, default: 0] += 1 }
            }
        }
        for node in self.view.nodes {
            let sighting = sightings[node.id]!
            sightings[node.id]!.presence = self.presence(of: node, sighting, refusals: refusals[node.id] ?? 0)
        }
        return sightings
    }

    private func presence(of node: ClusterView.Node, _ sighting: Sighting, refusals: Int) -> ClusterMembers.Presence {
        guard node.incarnation != nil else { return .down }
        if refusals * 2 > sighting.witnesses { return .down }
        if sighting.unseenBy.count * 2 > sighting.witnesses { return .suspect }
        if self.isAuthoritative { return self.isSilent(node.id) ? .suspect : .up }
        guard sighting.witnesses == 0 else { return .up }
        return node.id != self.ownID ? .unknown : self.isCutOff ? .suspect : .up
    }

    /// Whether the node has not reported to this controller for too long. A joining node that has never reported is not silent, because it has just started.
    func isSilent(_ id: String) -> Bool {
        guard let node = self.view.node(id) else { return false }
        if let received = self.reports[id], node.incarnation == received.report.incarnation { return !self.isFresh(received) }
        return node.state == .joining ? false : self.electedAt.map { self.now >= $0.advanced(by: NodeReport.ageMax) } ?? false
    }
}
