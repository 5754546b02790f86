import AdminAPI

/// Responses to operators from this node's own knowledge. These functions change no state.
extension ClusterMachine {
    /// - Parameter reason: why the response is not from the controller. Nil to use the reason that this node's state shows.
    func status(_ view: ClusterView, _ configuration: ClusterConfiguration, at now: ContinuousClock.Instant, without reason: String? = nil) -> ClusterStatus {
        ClusterStatus(
            view: view, configuration: configuration, ownID: self.settings.id, controller: self.controller, controlling: self.controlling,
            session: self.session.state, outage: self.outage, noControllerReason: self.isController ? nil : reason ?? self.noControllerReason,
            alarm: self.alarm,
            obstacle: self.obstacle, isMember: self.incarnation != nil, ownReport: self.report(at: now), now: now, wallClock: self.settings.wallClock())
    }

    /// This node's own response. Only the controller has the reports of all nodes, so the controller's response is preferred.
    func localResponse(to request: AdminRequest, at now: ContinuousClock.Instant, without reason: String? = nil) -> AdminResponse? {
        if request.kind == .events {
            return .events(ClusterEvents(through: self.settings.id, events: self.history.after(request.after ?? 0)))
        }
        guard let view, let configuration else { return nil }
        let status = self.status(view, configuration, at: now, without: reason)
        switch request.kind {
        case .status: return .status(status.overview)
        case .members: return .members(status.members)
        case .partitions: return .partitions(status.partitions)
        case .locate:
            guard let partition = request.partition, view.partitions.indices.contains(partition) else {
                return .failed(.badRequest, "the field \"partition\" must be a number from 0 to \(view.partitions.count - 1)")
            }
            return .partitions(status.location(of: partition, channel: request.channel))
        case .plan:
            guard let controlling else {
                let reason = status.coordination.reason ?? self.noControllerReason
                return .failed(.noController, "only the controller can plan, and it did not respond. \(reason)")
            }
            let evolution = ViewEvolution(
                current: view, configuration: configuration, known: controlling.known, guards: controlling.guards, ownID: self.settings.id,
                links: self.links, settings: self.settings, now: now)
            return .plan(status.plan(evolution.planInput))
        case .events, .rebalance, .pause, .resume, .drain, .undrain, .cordon, .uncordon, .move, .unpin, .forget:
            return nil
        }
    }

    /// Why this node responds without the controller, as a sentence.
    var noControllerReason: String {
        if let outage { return outage.text }
        if let controller {
            guard self.links.isUp(controller.id) else {
                return "\(self.settings.id) has no link to the controller \(controller.id)\(controller.link.map { " at \($0)" } ?? "")."
            }
            return "The controller \(controller.id) has not responded to \(self.settings.id)."
        }
        if case .blocked = self.membership.state { return "\(self.settings.id) is not a member: another session holds its id." }
        return self.incarnation == nil ? "\(self.settings.id) has not joined the cluster yet." : "The cluster has no controller at the moment."
    }

    /// Nil while this node has a connection to ZooKeeper, and while it leaves.
    var outage: ZooKeeperOutage? {
        switch self.session.state.phase {
        case .connected, .closing, .closed: nil
        case .connecting, .suspended, .lost:
            ZooKeeperOutage(
                node: self.settings.id, session: self.session.state.phase.name, hasJoined: self.view != nil, knowsController: self.controller != nil,
                held: self.ownership.count, isLogFencing: self.settings.isLogFencing)
        }
    }
}
