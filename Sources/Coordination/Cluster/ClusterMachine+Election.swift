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
        guard self.isConnected, self.incarnation != nil, self.settings.isControllerEligible, !self.isLeaving else { return }
        guard let read = self.reads[.controller], read.readAt != nil else { return }
        switch self.election {
        case .following:
            if let controller = self.controller { return self.reconcileDeadController(controller, &turn) }
            guard !read.isDirty, !read.isAsked else { return }
            self.election = .waiting(until: turn.now.advanced(by: .milliseconds(Int(200 * turn.jitter))))
            self.reconcileElection(&turn)
        case .waiting(let until):
            guard self.controller == nil else {
                self.election = .following
                return
            }
            guard turn.now >= until else { return turn.wake(at: until) }
            self.election = .reading
            self.perform(.get(path: self.paths.controllerEpoch, watch: false), for: .readEpoch, &turn)
        case .reading, .electing, .leading:
            break
        }
    }

    /// A controller whose port is closed is dead, though its session lives on for seconds. Whoever sees that may remove its node: what it might still
    /// write is refused as soon as the next one has raised the epoch.
    private mutating func reconcileDeadController(_ controller: ControllerRecord, _ turn: inout Turn) {
        guard let reach = self.links[controller.id], reach.incarnation == controller.incarnation, let since = reach.refusedSince else { return }
        let due = since.advanced(by: self.settings.refusedMin)
        guard turn.now >= due else { return turn.wake(at: due) }
        guard !self.pending.values.contains(.depose) else { return }
        self.record(.deposed, "the controller \(controller.id) refuses connections: its node is removed", &turn)
        self.perform(.delete(path: self.paths.controller, version: controller.stat.version), for: .depose, &turn)
    }

    mutating func electionAnswered(_ purpose: Purpose, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ turn: inout Turn) {
        switch (purpose, self.election) {
        case (.readEpoch, .reading):
            guard case .success(.node(let data, let stat)) = result, let epoch = Int32(String(decoding: data, as: UTF8.self)),
                let incarnation = self.incarnation
            else { return self.standBack() }
            self.election = .electing(attempt: epoch + 1)
            let record = ControllerRecord.json(
                id: self.settings.id, incarnation: incarnation, epoch: epoch + 1, link: self.settings.link, api: self.settings.api)
            self.perform(
                .multi([
                    .set(path: self.paths.controllerEpoch, data: Array(String(epoch + 1).utf8), version: stat.version),
                    .create(path: self.paths.controller, data: record, ephemeral: true),
                ]), for: .elect(attempt: epoch + 1), &turn)
        case (.elect(let attempt), .electing):
            if case .success(.multi(let stats)) = result, let stat = stats.first ?? nil {
                self.election = .leading(Leader(epoch: attempt, epochVersion: stat.version, guards: .init(self.settings), electedAt: turn.now))
                self.record(.elected, "elected controller, epoch \(attempt)", &turn)
                for target in [ReadTarget.members, .nodes, .view, .controller] { self.reads[target, default: ReadState()].isDirty = true }
            } else {
                // Somebody else was first; or it is not known, and then the controller node will say who was.
                self.standBack()
            }
        case (.depose, _):
            self.reads[.controller]?.isDirty = true
        default:
            break
        }
    }

    private mutating func standBack() {
        self.election = .following
        self.reads[.controller]?.isDirty = true
    }

    mutating func controllerRead(_ data: [UInt8], _ stat: ZooKeeperStat, _ turn: inout Turn) {
        guard let record = ControllerRecord(json: data, stat: stat) else {
            return self.raise("the controller node in ZooKeeper cannot be read", &turn)
        }
        self.controller = record
        let isOwn = stat.ephemeralOwner == self.sessionID
        switch self.election {
        case .leading(let leader):
            if !isOwn || record.epoch != leader.epoch { self.stepDown("\(record.id) is the controller now, epoch \(record.epoch)", &turn) }
        case .following, .waiting, .reading, .electing:
            // Ours, by a write whose answer was lost. Without the epoch's version nothing can be written under it: begin again.
            guard isOwn, !self.pending.values.contains(where: { if case .elect = $0 { true } else { false } }) else { return }
            self.perform(.delete(path: self.paths.controller, version: stat.version), for: .depose, &turn)
        }
    }

    mutating func stepDown(_ reason: String, _ turn: inout Turn) {
        guard let leader = self.leader else { return }
        self.record(.deposed, "no longer the controller of epoch \(leader.epoch): \(reason)", &turn)
        self.election = .following
        self.reads[.members] = nil
        self.reads[.nodes] = nil
        self.reads[.controller]?.isDirty = true
    }
}
