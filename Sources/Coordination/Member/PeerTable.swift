import Partitioning

/// This node's links to other processes of the cluster, and the peers to link to. A pure value.
struct PeerTable: Sendable {
    private let ownID: String
    private let refusedMin: Duration
    private let isolatedMin: Duration
    /// The link to each peer.
    private(set) var links: [String: LinkReach] = [:]
    /// Incarnations that have announced that they leave, as long as the view contains them.
    private(set) var leaving: Set<Int64> = []
    /// The last ``ClusterMachine/Effect/peers(_:incarnation:viewVersion:)``.
    private var sent: (peers: [ClusterMachine.Peer], incarnation: Int64, viewVersion: Int64)?
    /// When this node was first without a link to any other member. Nil if it has a link, or if there is no other member.
    private var isolatedSince: ContinuousClock.Instant?

    init(settings: ClusterSettings) {
        self.ownID = settings.id
        self.refusedMin = settings.refusedMin
        self.isolatedMin = settings.isolatedMin
    }

    mutating func linkUp(_ peer: ProcessID, at now: ContinuousClock.Instant) {
        self.links[peer.id] = LinkReach(incarnation: peer.incarnation, isUp: true, since: now)
    }

    /// Returns when a refused peer counts as dead.
    mutating func linkDown(_ peer: ProcessID, isRefused: Bool, reason: String?, at now: ContinuousClock.Instant) -> ContinuousClock.Instant {
        if let reach = self.links[peer.id], reach.incarnation == peer.incarnation, !reach.isUp {
            // The periods begin with the first loss and with the first refusal. Later losses and refusals do not begin new periods.
            self.links[peer.id]!.refusedSince = isRefused ? reach.refusedSince ?? now : nil
            self.links[peer.id]!.reason = reason
        } else {
            self.links[peer.id] = LinkReach(incarnation: peer.incarnation, isUp: false, since: now, refusedSince: isRefused ? now : nil, reason: reason)
        }
        return now.advanced(by: self.refusedMin)
    }

    mutating func leaves(_ incarnation: Int64, among present: Set<Int64>) {
        self.leaving.formIntersection(present)
        self.leaving.insert(incarnation)
    }

    /// The peers to link to: the processes in the view, the controller, and for the controller also members that are not in the view yet.
    /// Nil if nothing changed.
    mutating func peers(
        _ view: ClusterView?, members: [String: KnownNodes.Member], controller: ControllerRecord?, incarnation: Int64
    ) -> ClusterMachine.Effect? {
        var peers: [String: ClusterMachine.Peer] = [:]
        for node in view?.nodes ?? [] {
            if let process = node.process, !node.link.isEmpty { peers[node.id] = .init(process: process, link: node.link) }
        }
        for (id, member) in members {
            peers[id] = .init(process: ProcessID(id: id, incarnation: member.incarnation), link: member.record.link)
        }
        if let controller, let link = controller.link, peers[controller.id]?.process != controller.process {
            peers[controller.id] = .init(process: controller.process, link: link)
        }
        peers[self.ownID] = nil
        let sorted = peers.values.sorted { $0.id < $1.id }
        let version = view?.version ?? 0
        if let sent, sent.peers == sorted, sent.incarnation == incarnation, sent.viewVersion == version { return nil }
        self.sent = (sorted, incarnation, version)
        self.links = self.links.filter { id, reach in peers[id]?.process.incarnation == reach.incarnation }
        return .peers(sorted, incarnation: incarnation, viewVersion: version)
    }

    // MARK: - Isolation

    mutating func noteIsolation(_ view: ClusterView?, isConnected: Bool, at now: ContinuousClock.Instant) {
        // Without ZooKeeper, dead members stay in the view. The last live node must not count as isolated then, because it must stay ready.
        guard isConnected else {
            self.isolatedSince = nil
            return
        }
        let hasOthers = view?.nodes.contains { $0.id != self.ownID && $0.incarnation != nil && $0.state != .joining } ?? false
        self.isolatedSince = hasOthers && !self.links.contains { $0.value.isUp } ? self.isolatedSince ?? now : nil
    }

    /// Whether this node has had no link to any other member for longer than a dead member stays in the view.
    func isIsolated(at now: ContinuousClock.Instant) -> Bool { self.isolatedSince.map { now >= $0.advanced(by: self.isolatedMin) } ?? false }
}
