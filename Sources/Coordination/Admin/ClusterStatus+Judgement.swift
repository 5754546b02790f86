import AdminAPI
import Partitioning

extension ClusterStatus {
    /// Whether the cluster can make decisions, and what follows if it cannot. Every response contains this.
    var coordination: ClusterHead.Coordination {
        let byItself = "This response contains only what \(self.ownID) itself knows."
        if let outage { return .init(.degraded, reason: self.isAuthoritative ? outage.text : "\(outage.text) \(byItself)") }
        guard self.controller != nil else {
            return .init(
                .critical,
                reason:
                    "\(ZooKeeperOutage.unaffected) There is no controller: nothing is reassigned until a node is elected. Look at ZooKeeper, and at the nodes' logs."
            )
        }
        guard let noControllerReason else { return .init(.healthy) }
        return .init(.degraded, reason: "\(ZooKeeperOutage.unaffected) \(noControllerReason) \(byItself)")
    }

    /// The health of the cluster, and its reasons: sentences that say what to do, the worst first.
    var judgement: (Health, [String]) {
        // On a node without ZooKeeper, the health of the process is the health of the cluster.
        guard self.session != nil else { return (self.ownReport.metrics.health, self.ownReport.metrics.reasons) }
        var reasons: [(level: Health, text: String)] = []
        func note(_ level: Health, _ text: String) { reasons.append((level, text)) }
        let coordination = self.coordination
        if let reason = coordination.reason { note(coordination.health, reason) }
        if !self.contested.isEmpty {
            note(
                .critical,
                "\(self.contested.count) partitions are served by two nodes under one owner epoch (\(self.contested.sorted().prefix(5).map(String.init).joined(separator: ", "))): stop one of the two nodes and report this."
            )
        }
        if let obstacle { note(.critical, "Nothing is reassigned: \(obstacle).") }
        if !self.view.nodes.contains(where: { $0.state == .active }) {
            note(.critical, "No node is active, so no node can take a partition: start a node, or undrain or uncordon one.")
        }
        if !self.unserved.isEmpty {
            let owners = Set(self.unserved.compactMap { self.view.partitions[$0].owner }).sorted().joined(separator: ", ")
            note(
                .critical,
                "\(self.unserved.count) partitions (\(self.unserved.prefix(5).map(String.init).joined(separator: ", "))\(self.unserved.count > 5 ? ", …" : "")) were granted to \(owners) and have not been served for 10 seconds: look at the log of that node, and restart or drain it."
            )
        }
        let orphans = self.count(.orphan)
        if orphans > 0 {
            note(
                .critical,
                self.view.mode == .guarded
                    ? "\(orphans) partitions wait for nodes that vanished together; when guarded mode ends, other nodes get them."
                    : "\(orphans) partitions have no owner: start a node, or run realertime members to see why no node can take them.")
        }
        self.judgeSessions(note)
        for node in self.view.nodes { self.judge(node, note) }
        self.judgeReach(note)
        if self.view.mode == .maintenance {
            let request = self.configuration.pauseRequest.map { ", \($0)" } ?? ""
            note(.degraded, "Rebalancing is paused\(request): 'realertime rebalance resume' ends the pause.")
        }
        self.judgePins(note)
        let unheard = self.isAuthoritative ? self.count(.unknown) : 0
        if unheard > 0 {
            let owners = Set(zip(self.view.partitions, self.states).compactMap { $1 == .unknown ? $0.owner : nil }).sorted()
            note(.degraded, "The owners of \(unheard) partitions have not reported for 5 seconds: \(Self.list(owners)).")
        }
        if let alarm = self.alarm { note(.degraded, "Alarm at \(self.ownID): \(alarm)") }
        let sorted = [Health.critical, .degraded, .healthy].flatMap { level in reasons.filter { $0.level == level } }
        return (sorted.first?.level ?? .healthy, sorted.map(\.text))
    }

    /// The first ten names, and the number of the others.
    private static func list(_ names: [String]) -> String {
        names.prefix(10).joined(separator: ", ") + (names.count > 10 ? " and \(names.count - 10) more" : "")
    }

    /// Operators' requests for nodes, with who requested them and why. These are not problems.
    var notices: [String] {
        self.desired.filter { $0.value.desired != .active }.sorted { $0.key < $1.key }.map { id, record in
            let state = self.view.node(id)?.state.rawValue ?? "not in the view"
            let done = record.desired == .draining ? "drained" : record.desired.rawValue
            return "\(id) is \(state)\([done, record.desired.rawValue].contains(state) ? "" : " and is to be \(done)"), \(record.request)."
        }
    }

    /// Pins that no plan can follow.
    private func judgePins(_ note: (Health, String) -> Void) {
        let ids = Set(self.view.nodes.map(\.id))
        let lost = self.configuration.pins.filter { !ids.contains($0.value) }.sorted { $0.key < $1.key }
        guard self.isAuthoritative, let first = lost.first else { return }
        note(
            .degraded,
            "\(lost.count) partitions are pinned to nodes that are not in this cluster (\(Self.list(lost.map { "\($0.key) to \($0.value)" }))): "
                + "start the node, or unpin with realertime move \(first.key) --unpin.")
    }

    /// Members that report that they have no connection to ZooKeeper: one reason for all of them.
    private func judgeSessions(_ note: (Health, String) -> Void) {
        guard self.isAuthoritative else { return }
        let connected = ZooKeeperState.Phase.connected(session: 0, timeout: .zero).name
        let cut = self.reports.filter { $0.key != self.ownID && self.isFresh($0.value) && $0.value.report.session != connected }.keys.sorted()
        guard !cut.isEmpty else { return }
        let have = cut.count == 1 ? "has" : "have"
        if self.outage != nil { return note(.degraded, "\(Self.list(cut)) \(have) no connection to ZooKeeper either.") }
        note(
            .degraded,
            "\(ZooKeeperOutage.unaffected) \(Self.list(cut)) \(have) no connection to ZooKeeper. Look at the network between \(cut.count == 1 ? "it" : "them") and ZooKeeper."
        )
    }

    /// Members that other members do not reach: one reason for each unreachable member.
    private func judgeReach(_ note: (Health, String) -> Void) {
        var unseen: [String: [String]] = [:]
        for (id, received) in self.reports.sorted(by: { $0.key < $1.key }) where self.isFresh(received) {
            for peer in received.report.unreachable where self.view.node(peer.id)?.incarnation == peer.incarnation {
                unseen[peer.id, default: []].append(id)
            }
        }
        for (id, others) in unseen.sorted(by: { $0.key < $1.key }) where self.view.node(id)?.state != .fenced {
            let link = self.view.node(id)?.link ?? ""
            note(.degraded, "\(id) cannot be reached at \(link) by \(Self.list(others)). Look at \(id), and at the network to it.")
        }
    }

    private func silence(of id: String, _ words: String) -> String {
        "\(id) \(words): no partition is handed over from it or to it. Look at its log, and at its network to \(self.controllerLink ?? self.ownID)."
    }

    private func judge(_ node: ClusterView.Node, _ note: (Health, String) -> Void) {
        switch node.state {
        case .down where !self.isAuthoritative:
            // Only the controller knows the desired state of the node.
            note(.degraded, "\(node.id) is down.")
        case .down where self.desired[node.id]?.desired != .draining:
            note(.degraded, "\(node.id) is down: start it, or remove it from the cluster with 'realertime forget \(node.id)'.")
        case .fenced: note(.degraded, "\(node.id) is fenced: most nodes cannot reach it at \(node.link).")
        case .joining:
            let hasReported = !self.isAuthoritative || self.reports[node.id]?.report.incarnation == node.incarnation
            note(
                .degraded,
                "\(node.id) is joining: it gets no partitions until the controller and half of the other nodes reach it at \(node.link)."
                    + (hasReported ? "" : " It has not reported to the controller \(self.ownID) yet."))
        case .down, .active, .cordoned, .draining, .drained: break
        }
        guard node.incarnation != nil, node.id != self.ownID || self.isAuthoritative else { return }
        if self.isSilent(node.id) {
            let hasReported = self.reports[node.id]?.report.incarnation == node.incarnation
            let words = hasReported ? "has not reported to the controller \(self.ownID) for 5 seconds" : "has never reported to the controller \(self.ownID)"
            note(.degraded, self.silence(of: node.id, words))
        }
        guard let received = self.reports[node.id] else { return }
        if let alarm = received.report.alarm, node.id != self.ownID { note(.degraded, "Alarm at \(node.id): \(alarm)") }
        for reason in received.report.metrics.reasons {
            note(received.report.metrics.health == .critical ? .critical : .degraded, "\(node.id): \(reason)")
        }
    }
}
