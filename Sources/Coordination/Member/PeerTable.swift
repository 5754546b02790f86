/// The other processes of the cluster as this node's links know them. A pure value.
struct PeerTable: Sendable {
    private let ownID: String
    private let refusedMin: Duration
    private let isolatedMin: Duration
    /// By peer.
    private(set) var links: [String: LinkReach] = [:]
    /// Incarnations that have announced that they leave, until they are gone from the view.
    private(set) var leaving: Set<Int64> = []
    /// What the links know.
    private var sent: (peers: [ClusterMachine.Peer], incarnation: Int64, viewVersion: Int64)?
    /// Since when no other member is linked, while there are some.
    private var isolatedSince: ContinuousClock.Instant?

    init(settings: ClusterSettings) {
        self.ownID = settings.id
        self.refusedMin = settings.refusedMin
        self.isolatedMin = settings.isolatedMin
    }

    mutating func linkUp(_ id: String, _ incarnation: Int64, at now: ContinuousClock.Instant) {
        self.links[id] = LinkReach(incarnation: incarnation, isUp: true, since: now)
    }

    /// Returns when to look again.
    mutating func linkDown(
        _ id: String, _ incarnation: Int64, isRefused: Bool, reason: String?, at now: ContinuousClock.Instant
    ) -> ContinuousClock.Instant {
        if let reach = self.links[id], reach.incarnation == incarnation, !reach.isUp {
            // The time of the first refusal counts, and of the first silence.
            self.links[id]!.refusedSince = isRefused ? reach.refusedSince ?? now : nil
            self.links[id]!.reason = reason
        } else {
            self.links[id] = LinkReach(incarnation: incarnation, isUp: false, since: now, refusedSince: isRefused ? now : nil, reason: reason)
        }
        return now.advanced(by: self.refusedMin)
    }

    mutating func leaves(_ incarnation: Int64, among present: Set<Int64>) {
        self.leaving.formIntersection(present)
        self.leaving.insert(incarnation)
    }

    /// Links go to the processes that the view names; the controller's also to members that are not in the view yet. Nil when the links know it all.
    mutating func peers(
        _ view: ClusterView?, members: [String: KnownNodes.Member], controller: ControllerRecord?, incarnation: Int64
    ) -> ClusterMachine.Effect? {
        var peers: [String: ClusterMachine.Peer] = [:]
        for node in view?.nodes ?? [] {
            if let other = node.incarnation, !node.link.isEmpty { peers[node.id] = .init(id: node.id, incarnation: other, link: node.link) }
        }
        for (id, member) in members { peers[id] = .init(id: id, incarnation: member.incarnation, link: member.record.link) }
        if let controller, let link = controller.link, peers[controller.id]?.incarnation != controller.incarnation {
            peers[controller.id] = .init(id: controller.id, incarnation: controller.incarnation, link: link)
        }
        peers[self.ownID] = nil
        let sorted = peers.values.sorted { $0.id < $1.id }
        let version = view?.version ?? 0
        if let sent, sent.peers == sorted, sent.incarnation == incarnation, sent.viewVersion == version { return nil }
        self.sent = (sorted, incarnation, version)
        self.links = self.links.filter { id, reach in peers[id]?.incarnation == reach.incarnation }
        return .peers(sorted, incarnation: incarnation, viewVersion: version)
    }

    // MARK: - Isolation

    mutating func noteIsolation(_ view: ClusterView?, isConnected: Bool, at now: ContinuousClock.Instant) {
        // Without ZooKeeper the view cannot forget members that are dead, and the last node that lives has to stay ready.
        guard isConnected else {
            self.isolatedSince = nil
            return
        }
        let hasOthers = view?.nodes.contains { $0.id != self.ownID && $0.incarnation != nil && $0.state != .joining } ?? false
        self.isolatedSince = hasOthers && !self.links.contains { $0.value.isUp } ? self.isolatedSince ?? now : nil
    }

    /// Whether there has been no link to any other member for longer than a dead one would be a member.
    func isIsolated(at now: ContinuousClock.Instant) -> Bool { self.isolatedSince.map { now >= $0.advanced(by: self.isolatedMin) } ?? false }
}
