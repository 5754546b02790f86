import AdminAPI

extension ClusterMachine {
    /// What this node knows. The controller knows the reports of all, and its responses are the ones that count.
    ///
    /// - Parameter whyAlone: why the controller did not respond, where that is known better than by what this node has of it.
    func localResponse(to request: AdminRequest, at now: ContinuousClock.Instant, whyAlone: String? = nil) -> AdminResponse? {
        if request.kind == .events {
            return .events(ClusterEvents(through: self.settings.id, events: self.history.after(request.after ?? 0)))
        }
        guard let view = self.view, let configuration = self.configuration else { return nil }
        let status = ClusterStatus(self, view, configuration, at: now, whyAlone: whyAlone)
        switch request.kind {
        case .status: return .status(status.overview)
        case .members: return .members(status.members)
        case .partitions: return .partitions(status.partitions)
        case .locate:
            guard let partition = request.partition, view.partitions.indices.contains(partition) else {
                return .failed(.badRequest, "partition is a number from 0 to \(view.partitions.count - 1)")
            }
            return .partitions(status.location(of: partition, channel: request.channel))
        case .plan:
            guard let leader = self.leader else {
                let reason = status.coordination.reason ?? self.whyAlone
                return .failed(.noController, "only the controller can plan, and it did not answer. \(reason)")
            }
            let evolution = ViewEvolution(
                current: view, configuration: configuration, leader: leader, ownID: self.settings.id, links: self.links, settings: self.settings, now: now)
            return .plan(status.plan(evolution.planInput))
        case .events, .rebalance, .pause, .resume, .drain, .undrain, .cordon, .uncordon, .move, .unpin, .forget:
            return nil
        }
    }

    /// Why the controller is not asked, as a sentence.
    var whyAlone: String {
        if let outage { return outage.text }
        if let controller {
            guard self.links[controller.id]?.isUp ?? false else {
                return "\(self.settings.id) has no link to the controller \(controller.id)\(controller.link.map { " at \($0)" } ?? "")."
            }
            return "The controller \(controller.id) has not answered \(self.settings.id)."
        }
        if case .blocked = self.membership { return "\(self.settings.id) is not a member: another session holds its id." }
        return self.incarnation == nil ? "\(self.settings.id) has not joined the cluster yet." : "The cluster has no controller at the moment."
    }
}
