import AdminAPI

extension ClusterMachine {
    /// What an operation on ZooKeeper was for.
    enum Purpose: Hashable, Sendable {
        case foundation(Int)
        case createConfiguration
        case register
        /// Reads the member node that is in the way.
        case inspectMember
        case deletePredecessor
        case withdraw
        case read(ReadTarget)
        case readMember(String)
        case readNode(String)
        case readEpoch
        /// Makes the controller epoch again.
        case createEpoch
        case elect(attempt: Int32)
        /// Removes the controller node of a process that is dead.
        case depose
        case writeView(ClusterView)
        case change(ControllerChange)
        /// Reads the view, to find out whether the cluster is new or has lost its configuration.
        case inspectView
        case repairMember
        /// The controller writes again what it knows.
        case repair(String)
    }

    mutating func perform(_ request: ZooKeeperRequest, for purpose: Purpose, _ turn: inout Turn) {
        let token = self.nextToken
        self.nextToken += 1
        self.pending[token] = purpose
        turn.actions.append(
            .perform(token: token, request, generation: self.session.generation, deadline: turn.now.advanced(by: self.settings.operationTimeout)))
    }

    var isConnected: Bool {
        if case .connected = self.session.phase { true } else { false }
    }

    var sessionID: Int64? {
        if case .connected(let session, _) = self.session.phase { session } else { nil }
    }

    mutating func sessionChanged(_ state: ZooKeeperState, _ turn: inout Turn) {
        self.session = state
        switch state.phase {
        case .connecting, .closing, .closed:
            break
        case .connected(let session, _):
            self.sessionLoss = nil
            let isNew = self.ownSessions.insert(session).inserted
            if isNew {
                self.membership = .absent
                self.configurationCreated = nil
            }
            // What was asked before a disconnection is answered, but watches may have been lost with it.
            for target in self.reads.keys { self.reads[target]!.isDirty = true }
        case .suspended:
            // The owner goes on: nobody else is granted anything before its session ends.
            break
        case .lost(let loss):
            self.sessionLoss = loss
            self.record(.sessionLost, "the session with ZooKeeper is lost: \(loss)", &turn)
            self.membership = .absent
            self.followAgain(&turn)
            // Another one is still the controller, for all that is known, and may be asked over its link. This one is not.
            if self.controller?.id == self.settings.id { self.controller = nil }
            self.reads = [:]
            self.pending = [:]
            self.viewRead = nil
            self.absent = []
            self.controllerFault = nil
            self.configurationAbsent = nil
            self.releaseAll(&turn)
        }
    }

    mutating func answered(_ token: UInt64, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ turn: inout Turn) {
        // An answer that comes after its session was lost is to nobody.
        guard let purpose = self.pending.removeValue(forKey: token) else { return }
        switch purpose {
        case .foundation, .createConfiguration, .inspectView, .register, .inspectMember, .deletePredecessor, .repairMember, .withdraw:
            self.membershipAnswered(purpose, result, &turn)
        case .read(let target):
            self.readAnswered(target, result, &turn)
        case .readEpoch, .createEpoch, .elect, .depose:
            self.electionAnswered(purpose, result, &turn)
        case .readMember, .readNode, .writeView, .change, .repair:
            self.controllerAnswered(purpose, result, &turn)
        }
    }
}
