import AdminAPI

/// An operator's request that waits: for the controller, or at the controller for ZooKeeper.
struct PendingRequest: Sendable {
    enum From: Hashable, Sendable {
        /// This node's own API.
        case local(UInt64)
        /// Forwarded by a peer.
        case peer(String, number: Int64)
    }

    var from: From
    var request: AdminRequest
    var until: ContinuousClock.Instant
    /// False when the desired state is what it is already.
    var changes = true
    /// What else it did, for the response.
    var outcome: String?
}

extension ClusterMachine {
    mutating func handle(_ request: AdminRequest, _ from: PendingRequest.From, _ turn: inout Turn) {
        if self.leader != nil { return self.decide(request, from, &turn) }
        if case .peer = from {
            return self.reply(self.outageRefusal(of: request.kind) ?? self.deposedRefusal, to: from, &turn)
        }
        guard let controller = self.controller, self.links[controller.id]?.isUp ?? false else {
            if !request.kind.changes, let response = self.localResponse(to: request, at: turn.now) { return self.reply(response, to: from, &turn) }
            let refusal = AdminResponse.failed(.noController, "\(self.whyAlone) Retry in a few seconds, or at another node")
            return self.reply(self.outageRefusal(of: request.kind) ?? refusal, to: from, &turn)
        }
        let number = self.nextRequest
        self.nextRequest += 1
        let until = turn.now.advanced(by: request.kind.changes ? self.settings.requestTimeout : self.settings.readTimeout)
        self.pendingRequests[number] = PendingRequest(from: from, request: request, until: until)
        self.send(.request(number: number, request), to: controller.id, &turn)
    }

    /// This node was the controller when it was pending.
    private var deposedRefusal: AdminResponse {
        .failed(.noController, "nothing was changed: \(self.settings.id) is not the controller any more; retry in a moment")
    }

    mutating func reply(_ response: AdminResponse, to from: PendingRequest.From, _ turn: inout Turn) {
        switch from {
        case .local(let number): turn.actions.append(.respond(number: number, response))
        case .peer(let id, let number): self.send(.response(number: number, response), to: id, &turn)
        }
    }

    mutating func expireRequests(_ turn: inout Turn) {
        for (number, pending) in self.pendingRequests.sorted(by: { $0.key < $1.key }) {
            if turn.now >= pending.until {
                self.pendingRequests[number] = nil
                // The controller hangs, or its responses do not reach this node: an operator who looks for the reason needs a response most of all now.
                let response = pending.request.kind.changes ? nil : self.localResponse(to: pending.request, at: turn.now)
                self.reply(
                    response ?? .failed(.timeout, "the controller did not answer; what was requested may still happen"), to: pending.from, &turn)
            } else {
                turn.wake(at: pending.until)
            }
        }
    }

    /// Fails the changes that this node was making as the controller: it cannot report how they end.
    mutating func refuseOpenChanges(_ leader: Leader, _ turn: inout Turn) {
        for pending in leader.held { self.reply(self.outageRefusal(of: pending.request.kind) ?? self.deposedRefusal, to: pending.from, &turn) }
        let why = self.outage?.text ?? "\(self.settings.id) is not the controller any more."
        for (_, pending) in leader.changes.sorted(by: { $0.key < $1.key }) {
            self.reply(.failed(.timeout, "it may have been done or not; look before you retry. \(why)"), to: pending.from, &turn)
        }
    }

    // MARK: - At the controller

    private mutating func decide(_ request: AdminRequest, _ from: PendingRequest.From, until: ContinuousClock.Instant? = nil, _ turn: inout Turn) {
        guard var leader = self.leader else { return }
        if !request.kind.changes {
            let response =
                self.localResponse(to: request, at: turn.now) ?? .failed(.starting, "the controller is still reading the cluster's state; retry in a moment")
            return self.reply(response, to: from, &turn)
        }
        if let refusal = self.outageRefusal(of: request.kind) { return self.reply(refusal, to: from, &turn) }
        guard !self.isReading(for: request.kind, leader) else {
            leader.held.append(PendingRequest(from: from, request: request, until: until ?? turn.now.advanced(by: self.settings.requestTimeout)))
            self.election = .leading(leader)
            turn.wake(at: turn.now.advanced(by: self.settings.requestTimeout))
            return
        }
        do throws(AdminError) {
            let number = self.nextChange
            let (parts, change) = try self.change(for: request, leader, number: number)
            self.nextChange += 1
            // Also when there is nothing to change: only ZooKeeper knows whether this is still the controller. A cordon that the guard against flapping set is
            // this controller's own, and is lifted when ZooKeeper has confirmed that.
            let lifts = [.undrain, .uncordon].contains(request.kind) && request.node.map { leader.guards.flaps.isCordoned($0, at: turn.now) } ?? false
            leader.changes[number] = PendingRequest(
                from: from, request: request, until: turn.now, changes: !parts.isEmpty || lifts,
                outcome: lifts ? "lifts the automatic cordon" : request.kind == .forget ? self.endedPins(of: request.node) : nil)
            self.election = .leading(leader)
            self.perform(
                .multi([.check(path: self.paths.controllerEpoch, version: leader.epochVersion)] + parts), for: .change(change), &turn)
        } catch {
            self.reply(.failed(error), to: from, &turn)
        }
    }

    /// Whether what the request is about is being read again, after a change that this copy may not have.
    private func isReading(for kind: AdminRequest.Kind, _ leader: Leader) -> Bool {
        let target: ReadTarget
        switch kind {
        case .rebalance, .pause, .resume, .move, .unpin: target = .configuration
        case .status, .members, .partitions, .locate, .plan, .events, .drain, .undrain, .cordon, .uncordon, .forget: target = .nodes
        }
        // What is forgotten takes its pins along.
        if kind == .forget, self.reads[.configuration].map({ $0.readAt == nil || $0.isDirty || $0.isAsked }) ?? true { return true }
        guard let read = self.reads[target], read.readAt != nil else { return true }
        return read.isDirty || read.isAsked || (target == .nodes && (leader.gatheringNodes != nil || !leader.areNodesRead))
    }

    /// Decides the requests that waited for a read, unless their time is over.
    mutating func decideHeld(_ leader: inout Leader, _ turn: inout Turn) {
        guard !leader.held.isEmpty else { return }
        let held = leader.held
        leader.held = []
        self.election = .leading(leader)
        for pending in held {
            if turn.now >= pending.until {
                self.reply(.failed(.starting, "the controller is still reading the cluster's state; retry in a moment"), to: pending.from, &turn)
            } else {
                turn.wake(at: pending.until)
                self.decide(pending.request, pending.from, until: pending.until, &turn)
            }
        }
        if let now = self.leader { leader = now }
    }

    /// The writes that carry a request out; none when it is so already.
    private func change(
        for request: AdminRequest, _ leader: Leader, number: Int64
    ) throws(AdminError) -> ([ZooKeeperRequest.Part], ControllerChange) {
        switch request.kind {
        case .drain: try self.setDesired(.draining, request, leader, number)
        case .cordon: try self.setDesired(.cordoned, request, leader, number)
        case .undrain, .uncordon: try self.setDesired(.active, request, leader, number)
        case .forget: try self.setDesired(.removed, request, leader, number)
        case .rebalance, .resume: try self.configure(number) { $0.resume() }
        case .pause: try self.configure(number) { if $0.pauseRequest == nil { $0.pause(by: request.by ?? "", note: request.note ?? "") } }
        case .move:
            try self.configure(number) { (configuration) throws(AdminError) in
                guard let partition = request.partition, (0..<configuration.partitionCount).contains(partition) else {
                    throw AdminError(.badRequest, "partition is a number from 0 to \(configuration.partitionCount - 1)")
                }
                guard let id = request.node, let node = self.view?.node(id) else {
                    throw AdminError(.badRequest, "node names no node of this cluster; members lists them")
                }
                guard node.state == .active else { throw AdminError(.conflict, "\(id) is \(node.state.rawValue), and only an active node gains partitions") }
                configuration.pins[partition] = id
            }
        case .unpin:
            try self.configure(number) { (configuration) throws(AdminError) in
                guard let partition = request.partition, configuration.pins[partition] != nil else {
                    throw AdminError(.conflict, "that partition is not pinned")
                }
                configuration.pins[partition] = nil
            }
        case .status, .members, .partitions, .locate, .plan, .events:
            throw AdminError(.badRequest, "\(request.kind.rawValue) changes nothing")
        }
    }

    private func setDesired(
        _ desired: NodeRecord.Desired, _ request: AdminRequest, _ leader: Leader, _ number: Int64
    ) throws(AdminError) -> ([ZooKeeperRequest.Part], ControllerChange) {
        guard let id = request.node, NodeID.isValid(id) else { throw AdminError(.badRequest, "node is missing: the id of a node, as members lists it") }
        guard self.view?.node(id) != nil || leader.nodes[id] != nil else {
            throw AdminError(.notFound, "there is no node \(id) in this cluster; members lists those that are")
        }
        if let record = leader.nodes[id]?.record, let end = record.endsFirst(for: request.kind) {
            throw AdminError(.conflict, "\(id) is \(record.desired.rawValue), \(record.request): \(end.rawValue) it first")
        }
        var parts: [ZooKeeperRequest.Part] = []
        if desired == .removed, leader.members[id] != nil {
            guard self.view?.node(id)?.state == .fenced else {
                throw AdminError(.conflict, "\(id) is a member: drain it and stop it first, or stop it and wait until it is down")
            }
            // No node reaches it, and its session does not end: some servers have kept member znodes of sessions that were over.
            parts.append(.delete(path: self.paths.member(id), version: nil))
        }
        let change = ControllerChange.node(id, number: number)
        var record = leader.nodes[id]?.record ?? NodeRecord()
        if record.desired == desired { return (parts, change) }
        record.desired = desired
        record.by = request.by ?? ""
        record.note = request.note ?? ""
        record.at = self.settings.wallClock()
        record.revision += 1
        if let version = leader.nodes[id]?.version {
            parts.append(.set(path: self.paths.node(id), data: record.json, version: version))
        } else if desired != .active {
            parts.append(.create(path: self.paths.node(id), data: record.json, ephemeral: false))
        }
        // No plan can follow a pin to a node that is not in the cluster.
        if desired == .removed, var configuration = self.configuration, configuration.pins.values.contains(id) {
            configuration.pins = configuration.pins.filter { $0.value != id }
            configuration.revision += 1
            parts.append(.set(path: self.paths.configuration, data: configuration.json, version: self.configurationVersion))
        }
        return (parts, change)
    }

    /// The pins that end with a node.
    private func endedPins(of id: String?) -> String? {
        let partitions = (self.configuration?.pins ?? [:]).filter { $0.value == id }.keys.sorted()
        guard !partitions.isEmpty else { return nil }
        let rest = partitions.count > 20 ? " and \(partitions.count - 20) more" : ""
        return "ends the pins of partitions \(partitions.prefix(20).map(String.init).joined(separator: ", "))\(rest)"
    }

    private func configure(
        _ number: Int64, _ body: (inout ClusterConfiguration) throws(AdminError) -> Void
    ) throws(AdminError) -> ([ZooKeeperRequest.Part], ControllerChange) {
        guard var configuration = self.configuration else {
            throw AdminError(.starting, "the controller is still reading the cluster's state; retry in a moment")
        }
        let before = configuration
        try body(&configuration)
        let change = ControllerChange.configuration(number: number)
        if configuration == before { return ([], change) }
        configuration.revision += 1
        return ([.set(path: self.paths.configuration, data: configuration.json, version: self.configurationVersion)], change)
    }

    mutating func changed(_ change: ControllerChange, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ leader: inout Leader, _ turn: inout Turn) {
        let number: Int64
        switch change {
        case .evict(_, let incarnation):
            self.reads[.members]?.isDirty = true
            guard self.removalFailed(result, &leader, &turn) else { return }
            leader.guards.evicting.remove(incarnation)
            return
        case .clear(let id):
            self.reads[.nodes]?.isDirty = true
            guard self.removalFailed(result, &leader, &turn) else { return }
            leader.removing.remove(id)
            return
        case .node(let id, let change):
            number = change
            self.reads[.nodes]?.isDirty = true
            self.reads[.members]?.isDirty = true
            self.reads[.configuration]?.isDirty = true
            // An operator decided what it is for, so its earlier losses no longer count.
            if case .success = result, leader.guards.flaps.remembers(id) {
                leader.guards.flaps.forget(id)
                if let request = leader.changes[change]?.request {
                    leader.guards.lifted[id] = NodeRecord.request(by: request.by ?? "", note: request.note ?? "")
                }
            }
        case .configuration(let change):
            number = change
            self.reads[.configuration]?.isDirty = true
        }
        guard let pending = leader.changes.removeValue(forKey: number) else { return }
        // Before anything below steps down, which responds to what is still open here.
        if self.isController { self.election = .leading(leader) }
        switch result {
        case .success:
            guard pending.changes else { return self.reply(self.accepted(pending.request, "nothing to change"), to: pending.from, &turn) }
            self.record(pending.request, pending.outcome, &turn)
            self.reply(self.accepted(pending.request, pending.outcome), to: pending.from, &turn)
        case .failure(.refused(_, part: 0)):
            self.reply(self.deposedRefusal, to: pending.from, &turn)
            self.stepDown("another one has raised the controller epoch", &turn)
        case .failure(.refused(.notAuthorized, _)):
            self.reply(
                .failed(.notAuthorized, "ZooKeeper does not let \(self.settings.id) write there: check zookeeper-user, and which user created the znode"),
                to: pending.from, &turn)
        case .failure(.refused):
            self.reply(.failed(.conflict, "it was changed by another request at the same moment; retry"), to: pending.from, &turn)
        case .failure(.notSent):
            let refusal = AdminResponse.failed(
                .noZooKeeper, "nothing was changed: \(self.settings.id) did not reach ZooKeeper; retry in a moment")
            self.reply(self.outageRefusal(of: pending.request.kind) ?? refusal, to: pending.from, &turn)
        case .failure:
            self.reply(.failed(.timeout, "ZooKeeper did not answer; it may have been done, look before you retry"), to: pending.from, &turn)
        }
    }

    /// Whether it has to be repeated. That waits a moment: what the servers refuse would otherwise be repeated as fast as they answer.
    private mutating func removalFailed(_ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ leader: inout Leader, _ turn: inout Turn) -> Bool {
        switch result {
        case .success, .failure(.refused(.noNode, _)): return false
        case .failure(.refused(_, part: 0)):
            self.stepDown("another one has raised the controller epoch", &turn)
            return false
        case .failure:
            leader.removeFrom = turn.now.advanced(by: .milliseconds(200))
            return true
        }
    }

    private func accepted(_ request: AdminRequest, _ note: String?) -> AdminResponse {
        .accepted(AcceptedChange(result: request.sentence, through: self.settings.id, note: note))
    }
}

extension NodeRecord {
    /// What has to be requested first: `undrain` only lifts a drain, `uncordon` only lifts a cordon. Draining a cordoned node is allowed, and so is forgetting
    /// any node.
    fileprivate func endsFirst(for kind: AdminRequest.Kind) -> AdminRequest.Kind? {
        switch (self.desired, kind) {
        case (.draining, .cordon), (.draining, .uncordon): .undrain
        case (.cordoned, .undrain): .uncordon
        default: nil
        }
    }
}
