extension ClusterStatus {
    /// How it is, and why in sentences that say what to do.
    var judgement: (Health, [String]) {
        var health = Health.healthy
        var reasons: [String] = []
        func tell(_ level: Health, _ text: String) {
            health = max(health, level)
            reasons.append(text)
        }
        if !self.contested.isEmpty {
            tell(
                .critical,
                "\(self.contested.count) partitions are served by two nodes under one owner epoch (\(self.contested.prefix(5).map(String.init).joined(separator: ", "))): stop one of them and report this."
            )
        }
        if self.controller == nil {
            tell(.critical, "There is no controller: nothing is reassigned until a node is elected. Look at ZooKeeper, and at the nodes' logs.")
        }
        if !self.view.nodes.contains(where: { $0.state == .active }) {
            tell(.critical, "No node is active, so nobody may take a partition: start one, or undrain or uncordon one.")
        }
        let orphans = self.count(.orphan)
        if orphans > 0 {
            tell(
                .critical,
                self.view.mode == .guarded
                    ? "\(orphans) partitions wait for nodes that vanished together; they are given to others when guarded mode ends."
                    : "\(orphans) partitions have no owner: start a node, or look at why none may own (members).")
        }
        switch self.session.phase {
        case .connected: break
        case .connecting, .suspended, .lost, .closing, .closed:
            tell(
                .degraded,
                "\(self.ownID) has no connection to ZooKeeper: nothing is reassigned, and owners give up what they have when their sessions are over. Look at ZooKeeper."
            )
        }
        for node in self.view.nodes { self.judge(node, tell) }
        if self.view.mode == .maintenance { tell(.degraded, "Rebalancing is paused (realertime rebalance resume).") }
        let unheard = self.isAuthoritative ? self.count(.unknown) : 0
        if unheard > 0 { tell(.degraded, "Nothing was heard of the owners of \(unheard) partitions for 5 seconds.") }
        if let alarm = self.alarm { tell(.degraded, "Alarm at \(self.ownID): \(alarm)") }
        if !self.isAuthoritative { tell(.degraded, "This is what \(self.ownID) knows; the controller cannot be asked.") }
        return (health, reasons)
    }

    private func judge(_ node: ClusterView.Node, _ tell: (Health, String) -> Void) {
        switch node.state {
        case .down where self.desired[node.id]?.desired != .draining:
            tell(.degraded, "\(node.id) is down: start it, or forget it (realertime forget \(node.id)).")
        case .cordoned where self.isAuthoritative && ![.cordoned, .removed].contains(self.desired[node.id]?.desired ?? .active):
            tell(.degraded, "\(node.id) is cordoned for a while, because it kept restarting or losing its session (realertime uncordon \(node.id) lifts that).")
        case .fenced: tell(.degraded, "\(node.id) is fenced: most nodes cannot reach it at \(node.link).")
        case .joining: tell(.degraded, "\(node.id) joins: it owns nothing before the controller and half of the others reach it at \(node.link).")
        case .down, .active, .cordoned, .draining, .drained: break
        }
        guard node.incarnation != nil, let received = self.reports[node.id], node.id != self.ownID || self.isAuthoritative else { return }
        if !self.isFresh(received) { tell(.degraded, "\(node.id) has not reported for 5 seconds.") }
        for peer in received.report.unreachable where self.view.node(peer.id)?.incarnation == peer.incarnation {
            tell(.degraded, "\(node.id) cannot reach \(peer.id).")
        }
        if let alarm = received.report.alarm, node.id != self.ownID { tell(.degraded, "Alarm at \(node.id): \(alarm)") }
        for reason in received.report.figures.reasons {
            tell(received.report.figures.health == "critical" ? .critical : .degraded, "\(node.id): \(reason)")
        }
    }
}
