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
            if case .connected = self.session.phase {
                tell(.critical, "There is no controller: nothing is reassigned until a node is elected. Look at ZooKeeper, and at the nodes' logs.")
            } else {
                tell(.critical, "\(self.ownID) knows of no controller. Ask another node; if none knows one, nothing is reassigned: look at ZooKeeper.")
            }
        }
        if let obstacle { tell(.critical, "Nothing is reassigned: \(obstacle).") }
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
                "\(self.ownID) has no connection to ZooKeeper: it takes nothing new, and has given up what it owned once its session is over. Look at ZooKeeper, and at the way to it."
            )
        }
        for node in self.view.nodes { self.judge(node, tell) }
        if self.view.mode == .maintenance { tell(.degraded, "Rebalancing is paused (realertime rebalance resume).") }
        let unheard = self.isAuthoritative ? self.count(.unknown) : 0
        if unheard > 0 {
            let owners = Set(zip(self.view.partitions, self.states).compactMap { $1 == .unknown ? $0.owner : nil }).sorted()
            tell(.degraded, "Nothing was heard for 5 seconds of the owners of \(unheard) partitions: \(owners.joined(separator: ", ")).")
        }
        if let alarm = self.alarm { tell(.degraded, "Alarm at \(self.ownID): \(alarm)") }
        if !self.isAuthoritative { tell(.degraded, "This is what \(self.ownID) knows; the controller cannot be asked.") }
        return (health, reasons)
    }

    private func silence(of id: String, _ since: String) -> String {
        "\(id) has reported to the controller \(self.ownID) \(since): nothing is handed over from or to it. Look at its log, and at its way to \(self.controller?.link ?? self.ownID)."
    }

    private func judge(_ node: ClusterView.Node, _ tell: (Health, String) -> Void) {
        switch node.state {
        case .down where !self.isAuthoritative:
            // What is wished for it, the controller knows.
            tell(.degraded, "\(node.id) is down.")
        case .down where self.desired[node.id]?.desired != .draining:
            tell(.degraded, "\(node.id) is down: start it, or forget it (realertime forget \(node.id)).")
        case .cordoned where self.isAuthoritative && ![.cordoned, .removed].contains(self.desired[node.id]?.desired ?? .active):
            tell(.degraded, "\(node.id) is cordoned for a while, because it kept restarting or losing its session (realertime uncordon \(node.id) lifts that).")
        case .fenced: tell(.degraded, "\(node.id) is fenced: most nodes cannot reach it at \(node.link).")
        case .joining: tell(.degraded, "\(node.id) joins: it owns nothing before the controller and half of the others reach it at \(node.link).")
        case .down, .active, .cordoned, .draining, .drained: break
        }
        guard node.incarnation != nil, node.id != self.ownID || self.isAuthoritative else { return }
        guard let received = self.reports[node.id] else {
            if let electedAt, self.now >= electedAt.advanced(by: Self.reportAgeMax) { tell(.degraded, self.silence(of: node.id, "never")) }
            return
        }
        if !self.isFresh(received) { tell(.degraded, self.silence(of: node.id, "not for 5 seconds")) }
        for peer in received.report.unreachable where self.view.node(peer.id)?.incarnation == peer.incarnation {
            tell(.degraded, "\(node.id) cannot reach \(peer.id).")
        }
        if let alarm = received.report.alarm, node.id != self.ownID { tell(.degraded, "Alarm at \(node.id): \(alarm)") }
        for reason in received.report.figures.reasons {
            tell(received.report.figures.health == "critical" ? .critical : .degraded, "\(node.id): \(reason)")
        }
    }
}
