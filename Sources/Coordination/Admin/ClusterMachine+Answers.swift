import JSON

extension ClusterMachine {
    /// What this node knows. The controller knows the reports of all, and its answers are the ones that count.
    ///
    /// - Parameter whyAlone: why the controller did not answer, where that is known better than by what this node has of it.
    func localAnswer(_ question: ClusterQuestion, at now: ContinuousClock.Instant, whyAlone: String? = nil) -> ClusterAnswer? {
        if question.kind == .events { return self.eventsAnswer(after: question.after ?? 0) }
        guard let view = self.view, let configuration = self.configuration else { return nil }
        let status = ClusterStatus(self, view, configuration, at: now, whyAlone: whyAlone)
        var writer = JSONWriter()
        switch question.kind {
        case .status: status.writeStatus(to: &writer)
        case .members: status.writeMembers(to: &writer)
        case .partitions: status.writePartitions(view.partitions.indices, to: &writer)
        case .locate:
            guard let partition = question.partition, view.partitions.indices.contains(partition) else {
                return .failure(400, "bad_request", "partition is a number from 0 to \(view.partitions.count - 1)")
            }
            status.writePartitions(partition..<(partition + 1), to: &writer)
        case .plan:
            guard let leader = self.leader else {
                let reason = status.coordination.reason ?? self.whyAlone
                return .failure(503, "no_controller", "only the controller can plan, and it did not answer. \(reason)")
            }
            let evolution = ViewEvolution(
                current: view, configuration: configuration, leader: leader, ownID: self.settings.id, links: self.links, settings: self.settings, now: now)
            self.write(evolution.planInput, status, to: &writer)
        case .events, .rebalance, .pause, .resume, .drain, .undrain, .cordon, .uncordon, .move, .unpin, .forget:
            return nil
        }
        return ClusterAnswer(status: 200, body: String(decoding: writer.bytes, as: UTF8.self))
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

    private func eventsAnswer(after number: Int64) -> ClusterAnswer {
        var writer = JSONWriter()
        writer.object { writer in
            writer.field("through", self.settings.id)
            writer.name("events")
            writer.array { writer in for event in self.history.after(number) { event.write(to: &writer) } }
        }
        return ClusterAnswer(status: 200, body: String(decoding: writer.bytes, as: UTF8.self))
    }

    /// What a rebalance would do, were balancing neither paused nor held until joins settle; `waiting` is what that holds back.
    private func write(_ input: PlanInput, _ status: ClusterStatus, to writer: inout JSONWriter) {
        var free = input
        free.balances = true
        if free.view.mode == .maintenance { free.view.mode = .normal }
        let plan = Plan.complete(free)
        let isHeld = !input.balances || input.view.mode != free.view.mode
        var pairs: [String: (from: String, to: String, reason: String, count: Int)] = [:]
        func count(_ from: String, _ to: String, _ reason: String) { pairs["\(from)\u{0}\(to)\u{0}\(reason)", default: (from, to, reason, 0)].count += 1 }
        for grant in plan.grants { count(grant.from ?? "nobody", grant.to, "orphan") }
        for move in plan.moves { count(move.from, move.to, move.reason.rawValue) }
        writer.object { writer in
            status.writeHead(to: &writer)
            writer.field("moves", plan.moves.count)
            writer.field("grants", plan.grants.count)
            writer.field("lower_bound", plan.first.bound.total)
            writer.field("waiting", isHeld ? Plan.complete(input).remaining : plan.remaining)
            writer.field("rounds", plan.rounds)
            writer.field("spread_before", plan.first.spreadBefore)
            writer.field("spread_after", plan.spread)
            writer.name("settled")
            writer.raw(input.balances ? "true" : "false")
            writer.name("pairs")
            writer.array { writer in
                for (_, pair) in pairs.sorted(by: { $0.key < $1.key }) {
                    writer.object { writer in
                        writer.field("from", pair.from)
                        writer.field("to", pair.to)
                        writer.field("reason", pair.reason)
                        writer.field("count", pair.count)
                    }
                }
            }
            writer.name("refusals")
            writer.array { writer in for refusal in plan.first.refusals { writer.string(refusal.description) } }
        }
    }
}
