import AdminAPI

extension ClusterMachine {
    /// Can transition to: see each state.
    enum Election: Sendable {
        /// Somebody else is the controller, or nobody yet.
        /// Can transition to: waiting (nobody is).
        case following
        /// Nobody is the controller; tries at a random moment, so that not all do at once.
        /// Can transition to: reading, following.
        case waiting(until: ContinuousClock.Instant)
        /// Reads the controller epoch.
        /// Can transition to: electing, following.
        case reading
        /// Tries to write the next epoch and the controller node together.
        /// Can transition to: leading (it did), following (somebody else did, or it is not known).
        case electing(attempt: Int32)
        /// Can transition to: following (deposed, or its session is lost).
        case leading(Leader)
    }

    package var isController: Bool {
        if case .leading = self.election { true } else { false }
    }

    var leader: Leader? {
        if case .leading(let leader) = self.election { leader } else { nil }
    }

    mutating func reconcileElection(_ turn: inout Turn) {
        guard self.isConnected, self.incarnation != nil, !self.isLeaving else { return }
        guard let read = self.reads[.controller], read.readAt != nil else { return }
        guard !self.awaitsControllerRepair(&turn) else { return }
        switch self.election {
        case .following:
            guard self.controller == nil else { return }
            guard !read.isDirty, !read.isAsked else { return }
            // Whoever was deposed lets all others go first.
            let patience: Duration = self.deposedAt.map { turn.now < $0.advanced(by: self.settings.deposedMin) } ?? false ? .seconds(3) : .zero
            self.election = .waiting(until: turn.now.advanced(by: patience + .milliseconds(Int(200 * turn.jitter))))
            self.reconcileElection(&turn)
        case .waiting(let until):
            guard self.controller == nil else {
                self.election = .following
                return
            }
            guard turn.now >= until else { return turn.wake(at: until) }
            let latest = until.advanced(by: self.settings.isolatedWait)
            guard turn.now >= latest || self.hasReachedHalf(at: turn.now) else { return turn.wake(at: latest) }
            self.election = .reading
            self.perform(.get(path: self.paths.controllerEpoch, watch: false), for: .readEpoch, &turn)
        case .reading, .electing, .leading:
            break
        }
    }

    /// Whether this node has links to half of the others, or had lately. A controller without them is of no use, and the others would have to depose it: they
    /// go first. Nodes that are dead do not count: those whose port is closed, and the controller that is gone.
    private func hasReachedHalf(at now: ContinuousClock.Instant) -> Bool {
        if let reachedHalfAt, now < reachedHalfAt.advanced(by: .seconds(10)) { return true }
        return self.reachesHalf
    }

    private var reachesHalf: Bool {
        let others = (self.view?.nodes ?? []).filter { node in
            node.id != self.settings.id && node.incarnation != nil && node.incarnation != self.formerController && node.state.mayOwn
                && !(self.links[node.id].map { $0.incarnation == node.incarnation && $0.refusedSince != nil } ?? false)
        }
        return others.count { self.reaches($0) } * 2 >= others.count
    }

    private func reaches(_ node: ClusterView.Node) -> Bool {
        self.links[node.id].map { $0.isUp && $0.incarnation == node.incarnation } ?? false
    }

    /// Called at every event: what was true a moment ago may be what the next election goes by.
    mutating func noteReach(at now: ContinuousClock.Instant) {
        guard let view = self.view, view.nodes.contains(where: { $0.id != self.settings.id && self.reaches($0) }), self.reachesHalf else { return }
        self.reachedHalfAt = now
    }

    /// Removes the controller's node, and not that of whoever has been elected since.
    mutating func depose(_ controller: ControllerRecord, _ reason: String, _ turn: inout Turn) {
        // Until it has been read again, nobody knows whether it is still there.
        guard let read = self.reads[.controller], !read.isDirty, !read.isAsked, !self.pending.values.contains(.depose) else { return }
        self.record(.deposed, about: controller.id, reason, &turn)
        self.perform(
            .multi([
                .check(path: self.paths.controllerEpoch, version: controller.epochVersion),
                .delete(path: self.paths.controller, version: controller.stat.version),
            ]), for: .depose, &turn)
    }

    mutating func electionAnswered(_ purpose: Purpose, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ turn: inout Turn) {
        switch (purpose, self.election) {
        case (.readEpoch, .reading):
            if case .failure(.refused(.noNode, _)) = result { return self.controllerEpochIsAbsent(&turn) }
            guard case .success(.node(let data, let stat)) = result, let incarnation = self.incarnation else { return self.standBack() }
            guard let epoch = self.controllerEpoch(data, &turn) else { return self.waitToElect(.seconds(1), &turn) }
            // A register that lost writes may have lost epochs, too, under which views were written: all nodes refuse an older one.
            let attempt = max(epoch, self.floor.controllerEpoch) + 1
            self.election = .electing(attempt: attempt)
            let record = ControllerRecord.json(
                id: self.settings.id, incarnation: incarnation, epoch: attempt, epochVersion: stat.version + 1, link: self.settings.link,
                api: self.settings.api)
            self.perform(
                .multi([
                    .set(path: self.paths.controllerEpoch, data: Array(String(attempt).utf8), version: stat.version),
                    .create(path: self.paths.controller, data: record, ephemeral: true),
                ]), for: .elect(attempt: attempt), &turn)
        case (.elect(let attempt), .electing):
            if case .success(.multi(let stats)) = result, let stat = stats.first ?? nil {
                self.election = .leading(Leader(epoch: attempt, epochVersion: stat.version, guards: .init(self.settings), electedAt: turn.now))
                self.record(.elected, "elected controller, epoch \(attempt)", &turn)
                for target in [ReadTarget.members, .nodes, .view, .controller, .controllerEpoch] { self.reads[target, default: ReadState()].isDirty = true }
            } else {
                // Somebody else was first; or it is not known, and then the controller node will say who was.
                self.standBack()
            }
        case (.createEpoch, .reading):
            // The controller epoch was made again, by this node or by another one.
            self.waitToElect(.milliseconds(Int(200 * turn.jitter)), &turn)
        case (.depose, _):
            self.reads[.controller]?.isDirty = true
            // One that the servers refuse is not repeated as fast as they can.
            if case .failure = result {
                let again = turn.now.advanced(by: .milliseconds(200))
                self.reads[.controller]?.notBefore = again
                turn.wake(at: again)
            }
        default:
            break
        }
    }

    mutating func waitToElect(_ delay: Duration, _ turn: inout Turn) {
        let again = turn.now.advanced(by: delay)
        turn.wake(at: again)
        self.election = .waiting(until: again)
    }

    private mutating func standBack() {
        self.election = .following
        self.reads[.controller]?.isDirty = true
    }

    mutating func controllerRead(_ data: [UInt8], _ stat: ZooKeeperStat, _ turn: inout Turn) {
        guard let record = ControllerRecord(json: data, stat: stat) else { return self.controllerIsUnreadable(stat, &turn) }
        self.controllerFault = nil
        self.controller = record
        let isOwn = stat.ephemeralOwner == self.sessionID
        switch self.election {
        case .leading(let leader):
            if !isOwn || record.epoch != leader.epoch { self.stepDown("\(record.id) is the controller now, epoch \(record.epoch)", &turn) }
        case .following, .waiting, .reading, .electing:
            // Of a session that this process has given up, and that the servers keep for a while: nobody else could tell.
            if !isOwn, self.ownSessions.contains(stat.ephemeralOwner) {
                return self.depose(record, "the controller node of this node's former session is removed", &turn)
            }
            // Ours, by a write whose answer was lost. Without the epoch's version nothing can be written under it: begin again.
            guard isOwn, !self.pending.values.contains(where: { if case .elect = $0 { true } else { false } }) else { return }
            self.perform(.delete(path: self.paths.controller, version: stat.version), for: .depose, &turn)
        }
    }

    /// The controller node is gone. If it was this node's, somebody has removed it.
    mutating func controllerAbsent(_ turn: inout Turn) {
        if let controller { self.formerController = controller.incarnation }
        self.controller = nil
        self.controllerFault = nil
        // A read that was asked before the election tells of the time before it.
        guard let leader = self.leader, let askedAt = self.reads[.controller]?.askedAt, askedAt >= leader.electedAt else { return }
        self.stepDown("its node in ZooKeeper was removed", &turn)
    }

    /// Whatever this node was in the election. Operators whose changes are under way get an answer.
    mutating func followAgain(_ turn: inout Turn) {
        let leader = self.leader
        self.election = .following
        self.absent = []
        if let leader { self.refuseOpenChanges(leader, &turn) }
    }

    mutating func stepDown(_ reason: String, _ turn: inout Turn) {
        guard let leader = self.leader else { return }
        self.record(.deposed, "no longer the controller of epoch \(leader.epoch): \(reason)", &turn)
        self.followAgain(&turn)
        self.deposedAt = turn.now
        self.reads[.members] = nil
        self.reads[.nodes] = nil
        self.reads[.controllerEpoch] = nil
        self.reads[.controller]?.isDirty = true
    }
}
