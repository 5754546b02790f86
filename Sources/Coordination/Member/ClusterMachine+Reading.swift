import JSON

extension ClusterMachine {
    /// What is read again and again, because a watch is only a hint.
    enum ReadTarget: Hashable, Sendable, CaseIterable {
        case configuration, controller, view, ownMember
        /// The controller's alone.
        case members, nodes, controllerEpoch
    }

    struct ReadState: Hashable, Sendable {
        var isDirty = true
        var isAsked = false
        var askedAt: ContinuousClock.Instant?
        /// Not before, after a failure.
        var notBefore: ContinuousClock.Instant?
        /// When it was read last.
        var readAt: ContinuousClock.Instant?
    }

    mutating func want(_ target: ReadTarget) {
        if self.reads[target] == nil { self.reads[target] = ReadState() }
    }

    mutating func markDirty(_ paths: Set<String>) {
        for target in self.reads.keys {
            let path = self.path(of: target)
            let isTouched = paths.contains(path) || (target.hasChildren && paths.contains { $0.hasPrefix(path + "/") })
            if isTouched { self.reads[target]!.isDirty = true }
        }
    }

    /// Looks again after a while: what was found is not what should be there, and no watch may come.
    mutating func readAgain(_ target: ReadTarget, in delay: Duration, _ turn: inout Turn) {
        self.reads[target, default: ReadState()].isDirty = true
        self.reads[target]!.notBefore = turn.now.advanced(by: delay)
        turn.wake(at: turn.now.advanced(by: delay))
    }

    private func path(of target: ReadTarget) -> String {
        switch target {
        case .configuration: self.paths.configuration
        case .controller: self.paths.controller
        case .view: self.paths.view
        case .ownMember: self.paths.member(self.settings.id)
        case .members: self.paths.members
        case .nodes: self.paths.nodes
        case .controllerEpoch: self.paths.controllerEpoch
        }
    }

    private func request(of target: ReadTarget) -> ZooKeeperRequest {
        let path = self.path(of: target)
        switch target {
        case .configuration: return .get(path: path, watch: true)
        // `exists` sets its watch on a node that is not there, too; `get` would not.
        case .controller, .view, .ownMember, .controllerEpoch: return .exists(path: path, watch: true)
        case .members, .nodes: return .children(path: path, watch: true)
        }
    }

    mutating func reconcileReads(_ turn: inout Turn) {
        guard self.isConnected, !self.isLeaving else { return }
        for target in ReadTarget.allCases {
            guard var state = self.reads[target], !state.isAsked else { continue }
            if let readAt = state.readAt {
                let due = readAt.advanced(by: self.settings.rereadInterval)
                if turn.now >= due { state.isDirty = true } else { turn.wake(at: due) }
            }
            if state.isDirty {
                if let notBefore = state.notBefore, turn.now < notBefore {
                    turn.wake(at: notBefore)
                } else {
                    state.isAsked = true
                    state.askedAt = turn.now
                    // What fires from here on is about what this read may not see.
                    state.isDirty = false
                    self.perform(self.request(of: target), for: .read(target), &turn)
                }
            }
            self.reads[target] = state
        }
    }

    mutating func readAnswered(_ target: ReadTarget, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ turn: inout Turn) {
        guard var state = self.reads[target] else { return }
        state.isAsked = false
        switch result {
        case .success(let reply):
            state.readAt = turn.now
            state.notBefore = nil
            self.reads[target] = state
            self.absent.remove(target)
            self.learned(target, reply, &turn)
        case .failure(.refused(.noNode, _)):
            state.readAt = turn.now
            self.reads[target] = state
            self.learnedAbsence(target, &turn)
        case .failure:
            state.isDirty = true
            state.notBefore = turn.now.advanced(by: .milliseconds(100 + Int(200 * turn.jitter)))
            self.reads[target] = state
        }
    }

    private mutating func learned(_ target: ReadTarget, _ reply: ZooKeeperReply, _ turn: inout Turn) {
        switch (target, reply) {
        case (.configuration, .node(let data, let stat)):
            self.configurationRead(data, stat, &turn)
        case (.controller, .stat(nil)):
            self.controllerAbsent(&turn)
        case (.controller, .stat(_?)):
            // The watch is set; what it says is read now.
            self.perform(.get(path: self.paths.controller, watch: false), for: .read(.controller), &turn)
            self.reads[.controller]!.isAsked = true
        case (.controller, .node(let data, let stat)):
            self.controllerRead(data, stat, &turn)
        case (.view, .stat(nil)):
            self.viewAbsent(&turn)
        case (.view, .stat(let stat?)):
            // Known already: this node wrote it, or a watch fired twice. One that is too old is looked at until it is replaced.
            guard self.viewRead?.stat != stat.version || self.view == nil || self.olderSince != nil else { return }
            self.perform(.get(path: self.paths.view, watch: false), for: .read(.view), &turn)
            self.reads[.view]!.isAsked = true
        case (.view, .node(let data, let stat)):
            self.viewRead(data, stat, &turn)
        case (.ownMember, .stat(let stat)):
            self.ownMemberRead(stat, &turn)
        case (.controllerEpoch, .stat(let stat)):
            self.controllerEpochRead(stat, &turn)
        case (.members, .children(let ids, _)), (.nodes, .children(let ids, _)):
            self.listed(target, ids, &turn)
        default:
            break
        }
    }

    private mutating func learnedAbsence(_ target: ReadTarget, _ turn: inout Turn) {
        switch target {
        case .controller: self.controllerAbsent(&turn)
        case .view: self.viewAbsent(&turn)
        case .configuration: self.configurationIsAbsent(&turn)
        case .members, .nodes: self.folderIsAbsent(target, &turn)
        case .ownMember, .controllerEpoch: break
        }
    }
}

extension ClusterMachine.ReadTarget {
    /// The controller also watches what is in it.
    fileprivate var hasChildren: Bool { self == .members || self == .nodes }
}
