import JSON

/// A question that waits.
struct Asked: Sendable {
    enum From: Hashable, Sendable {
        /// This node's own API.
        case local(UInt64)
        /// Forwarded by a peer.
        case peer(String, number: Int64)
    }

    var from: From
    var question: ClusterQuestion
    var until: ContinuousClock.Instant
    /// False when all is as it was asked for.
    var changes = true
    /// What it did besides.
    var outcome: String?
}

extension ClusterMachine {
    mutating func asked(_ question: ClusterQuestion, _ from: Asked.From, _ turn: inout Turn) {
        if self.leader != nil { return self.decide(question, from, &turn) }
        if case .peer = from {
            return self.reply(self.outageRefusal(of: question.kind) ?? self.deposedRefusal, to: from, &turn)
        }
        guard let controller = self.controller, self.links[controller.id]?.isUp ?? false else {
            if !question.kind.changes, let answer = self.localAnswer(question, at: turn.now) { return self.reply(answer, to: from, &turn) }
            let refusal = ClusterAnswer.failure(503, "no_controller", "\(self.whyAlone) Retry in a few seconds, or at another node")
            return self.reply(self.outageRefusal(of: question.kind) ?? refusal, to: from, &turn)
        }
        let number = self.nextQuestion
        self.nextQuestion += 1
        let until = turn.now.advanced(by: question.kind.changes ? self.settings.questionTimeout : self.settings.readTimeout)
        self.asked[number] = Asked(from: from, question: question, until: until)
        self.send(.ask(number: number, question), to: controller.id, &turn)
    }

    /// This node was the controller when it was asked.
    private var deposedRefusal: ClusterAnswer {
        .failure(503, "no_controller", "nothing was changed: \(self.settings.id) is not the controller any more; retry in a moment")
    }

    mutating func reply(_ answer: ClusterAnswer, to from: Asked.From, _ turn: inout Turn) {
        switch from {
        case .local(let number): turn.actions.append(.answer(number: number, answer))
        case .peer(let id, let number): self.send(.answer(number: number, answer), to: id, &turn)
        }
    }

    mutating func expireQuestions(_ turn: inout Turn) {
        for (number, asked) in self.asked.sorted(by: { $0.key < $1.key }) {
            if turn.now >= asked.until {
                self.asked[number] = nil
                // A controller may hang, or its answers may not reach this node. Who looks for the reason needs an answer then more than ever.
                let answer = asked.question.kind.changes ? nil : self.localAnswer(asked.question, at: turn.now)
                self.reply(
                    answer ?? .failure(504, "timeout", "the controller did not answer; what was requested may still happen"), to: asked.from, &turn)
            } else {
                turn.wake(at: asked.until)
            }
        }
    }

    /// Operators whose changes this node was making as the controller, and cannot answer as one.
    mutating func refuseOpenChanges(_ leader: Leader, _ turn: inout Turn) {
        for asked in leader.held { self.reply(self.outageRefusal(of: asked.question.kind) ?? self.deposedRefusal, to: asked.from, &turn) }
        let why = self.outage?.text ?? "\(self.settings.id) is not the controller any more."
        for (_, asked) in leader.changes.sorted(by: { $0.key < $1.key }) {
            self.reply(.failure(504, "timeout", "it may have been done or not; look before you retry. \(why)"), to: asked.from, &turn)
        }
    }

    // MARK: - The controller's answers

    private mutating func decide(_ question: ClusterQuestion, _ from: Asked.From, until: ContinuousClock.Instant? = nil, _ turn: inout Turn) {
        guard var leader = self.leader else { return }
        if !question.kind.changes {
            let answer = self.localAnswer(question, at: turn.now) ?? .failure(503, "starting", "the controller is still reading; ask again")
            return self.reply(answer, to: from, &turn)
        }
        if let refusal = self.outageRefusal(of: question.kind) { return self.reply(refusal, to: from, &turn) }
        guard !self.isReading(for: question.kind, leader) else {
            leader.held.append(Asked(from: from, question: question, until: until ?? turn.now.advanced(by: self.settings.questionTimeout)))
            self.election = .leading(leader)
            turn.wake(at: turn.now.advanced(by: self.settings.questionTimeout))
            return
        }
        do throws(QuestionFailure) {
            let number = self.nextChange
            let (parts, change) = try self.change(for: question, leader, number: number)
            self.nextChange += 1
            // Also when there is nothing to change: whether this is still the controller is ZooKeeper's to say. A cordon that the guard against flapping set is
            // this controller's own, and is lifted when that is confirmed.
            let lifts = [.undrain, .uncordon].contains(question.kind) && question.node.map { leader.guards.flaps.isCordoned($0, at: turn.now) } ?? false
            leader.changes[number] = Asked(
                from: from, question: question, until: turn.now, changes: !parts.isEmpty || lifts,
                outcome: lifts ? "lifts the automatic cordon" : question.kind == .forget ? self.endedPins(of: question.node) : nil)
            self.election = .leading(leader)
            self.perform(
                .multi([.check(path: self.paths.controllerEpoch, version: leader.epochVersion)] + parts), for: .change(change), &turn)
        } catch {
            self.reply(.failure(error.status, error.code, error.message), to: from, &turn)
        }
    }

    /// Whether what the question is about is being read again, after a change that this copy may not show.
    private func isReading(for kind: ClusterQuestion.Kind, _ leader: Leader) -> Bool {
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

    /// Decides what waited for a reading, unless its time is over.
    mutating func decideHeld(_ leader: inout Leader, _ turn: inout Turn) {
        guard !leader.held.isEmpty else { return }
        let held = leader.held
        leader.held = []
        self.election = .leading(leader)
        for asked in held {
            if turn.now >= asked.until {
                self.reply(.failure(503, "starting", "the controller is still reading; ask again"), to: asked.from, &turn)
            } else {
                turn.wake(at: asked.until)
                self.decide(asked.question, asked.from, until: asked.until, &turn)
            }
        }
        if let now = self.leader { leader = now }
    }

    struct QuestionFailure: Error {
        var status: Int
        var code: String
        var message: String

        static func bad(_ message: String) -> QuestionFailure { QuestionFailure(status: 400, code: "bad_request", message: message) }
        static func conflict(_ message: String) -> QuestionFailure { QuestionFailure(status: 409, code: "conflict", message: message) }
    }

    /// The writes that carry a question out; none when it is so already.
    private func change(
        for question: ClusterQuestion, _ leader: Leader, number: Int64
    ) throws(QuestionFailure) -> ([ZooKeeperRequest.Part], ControllerChange) {
        switch question.kind {
        case .drain: try self.wish(.draining, question, leader, number)
        case .cordon: try self.wish(.cordoned, question, leader, number)
        case .undrain, .uncordon: try self.wish(.active, question, leader, number)
        case .forget: try self.wish(.removed, question, leader, number)
        case .rebalance, .resume: try self.configure(number) { $0.resume() }
        case .pause: try self.configure(number) { if $0.pauseRequest == nil { $0.pause(by: question.by ?? "", note: question.note ?? "") } }
        case .move:
            try self.configure(number) { (configuration) throws(QuestionFailure) in
                guard let partition = question.partition, (0..<configuration.partitionCount).contains(partition) else {
                    throw .bad("partition is a number from 0 to \(configuration.partitionCount - 1)")
                }
                guard let id = question.node, let node = self.view?.node(id) else {
                    throw .bad("node names no node of this cluster; members lists them")
                }
                guard node.state == .active else { throw .conflict("\(id) is \(node.state.rawValue), and only an active node gains partitions") }
                configuration.pins[partition] = id
            }
        case .unpin:
            try self.configure(number) { (configuration) throws(QuestionFailure) in
                guard let partition = question.partition, configuration.pins[partition] != nil else { throw .conflict("that partition is not pinned") }
                configuration.pins[partition] = nil
            }
        case .status, .members, .partitions, .locate, .plan, .events:
            throw .bad("\(question.kind.rawValue) changes nothing")
        }
    }

    private func wish(
        _ desired: NodeRecord.Desired, _ question: ClusterQuestion, _ leader: Leader, _ number: Int64
    ) throws(QuestionFailure) -> ([ZooKeeperRequest.Part], ControllerChange) {
        guard let id = question.node, ClusterView.isNodeID(id) else { throw .bad("node is missing: the id of a node, as members lists it") }
        guard self.view?.node(id) != nil || leader.nodes[id] != nil else {
            throw QuestionFailure(status: 404, code: "not_found", message: "there is no node \(id) in this cluster; members lists those that are")
        }
        if let record = leader.nodes[id]?.record, let end = record.endsFirst(for: question.kind) {
            throw .conflict("\(id) is \(record.desired.rawValue), \(record.request): \(end.rawValue) it first")
        }
        var parts: [ZooKeeperRequest.Part] = []
        if desired == .removed, leader.members[id] != nil {
            guard self.view?.node(id)?.state == .fenced else {
                throw .conflict("\(id) is a member: drain it and stop it first, or stop it and wait until it is down")
            }
            // Nobody reaches it, and its session does not end: some servers have kept member nodes of sessions that were over.
            parts.append(.delete(path: self.paths.member(id), version: nil))
        }
        let change = ControllerChange.node(id, number: number)
        var record = leader.nodes[id]?.record ?? NodeRecord()
        if record.desired == desired { return (parts, change) }
        record.desired = desired
        record.by = question.by ?? ""
        record.note = question.note ?? ""
        record.at = self.settings.wallClock()
        record.revision += 1
        if let version = leader.nodes[id]?.version {
            parts.append(.set(path: self.paths.node(id), data: record.json, version: version))
        } else if desired != .active {
            parts.append(.create(path: self.paths.node(id), data: record.json, ephemeral: false))
        }
        // The plan could not follow a pin to a node that there is not.
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
        _ number: Int64, _ body: (inout ClusterConfiguration) throws(QuestionFailure) -> Void
    ) throws(QuestionFailure) -> ([ZooKeeperRequest.Part], ControllerChange) {
        guard var configuration = self.configuration else {
            throw QuestionFailure(status: 503, code: "starting", message: "the controller is still reading; ask again")
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
        case .node(let id, let asked):
            number = asked
            self.reads[.nodes]?.isDirty = true
            self.reads[.members]?.isDirty = true
            self.reads[.configuration]?.isDirty = true
            // An operator has decided about it, so its earlier losses no longer count.
            if case .success = result, leader.guards.flaps.remembers(id) {
                leader.guards.flaps.forget(id)
                if let question = leader.changes[asked]?.question {
                    leader.guards.lifted[id] = NodeRecord.request(by: question.by ?? "", note: question.note ?? "")
                }
            }
        case .configuration(let asked):
            number = asked
            self.reads[.configuration]?.isDirty = true
        }
        guard let asked = leader.changes.removeValue(forKey: number) else { return }
        // Before anything below gives the leadership up, and answers what is still open in it.
        if self.isController { self.election = .leading(leader) }
        switch result {
        case .success:
            guard asked.changes else { return self.reply(self.done(asked.question, "nothing to change"), to: asked.from, &turn) }
            self.record(asked.question, asked.outcome, &turn)
            self.reply(self.done(asked.question, asked.outcome), to: asked.from, &turn)
        case .failure(.refused(_, part: 0)):
            self.reply(self.deposedRefusal, to: asked.from, &turn)
            self.stepDown("another one has raised the controller epoch", &turn)
        case .failure(.refused(.notAuthorized, _)):
            self.reply(
                .failure(503, "not_authorized", "ZooKeeper does not let \(self.settings.id) write there: look at zookeeper-user, and at who made the node"),
                to: asked.from, &turn)
        case .failure(.refused):
            self.reply(.failure(409, "conflict", "somebody else changed it at the same moment; ask again"), to: asked.from, &turn)
        case .failure(.notSent):
            let refusal = ClusterAnswer.failure(
                503, "no_zookeeper", "nothing was changed: \(self.settings.id) did not reach ZooKeeper; retry in a moment")
            self.reply(self.outageRefusal(of: asked.question.kind) ?? refusal, to: asked.from, &turn)
        case .failure:
            self.reply(.failure(504, "timeout", "ZooKeeper did not answer; it may have happened, look before you ask again"), to: asked.from, &turn)
        }
    }

    /// Whether it has to be done again, which then waits a moment: what the servers refuse would be repeated as fast as they answer.
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

    private func done(_ question: ClusterQuestion, _ note: String?) -> ClusterAnswer {
        var writer = JSONWriter()
        writer.object { writer in
            writer.field("result", question.sentence)
            writer.field("through", self.settings.id)
            if let note { writer.field("note", note) }
        }
        return ClusterAnswer(status: 200, body: String(decoding: writer.bytes, as: UTF8.self))
    }
}

extension NodeRecord {
    /// What has to be asked before that: what one operator wished is not ended by another's word for something else. Who drains what is cordoned asks for more of
    /// the same, and who forgets a node asks for its end.
    fileprivate func endsFirst(for kind: ClusterQuestion.Kind) -> ClusterQuestion.Kind? {
        switch (self.desired, kind) {
        case (.draining, .cordon), (.draining, .uncordon): .undrain
        case (.cordoned, .undrain): .uncordon
        default: nil
        }
    }
}

extension ClusterQuestion {
    /// What it does, for the history.
    var sentence: String {
        let subject = self.partition.map { " \($0)" } ?? self.node.map { " \($0)" } ?? ""
        return self.kind == .move ? "move \(self.partition ?? -1) to \(self.node ?? "?")" : self.kind.rawValue + subject
    }
}
