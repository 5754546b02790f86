import AdminAPI

extension ClusterMachine {
    /// How far this node is in.
    enum Membership: Hashable, Sendable {
        /// Not begun in this session.
        /// Can transition to: preparing.
        case absent
        /// The cluster's roots are being made, those that are missing; `open` are not answered.
        /// Can transition to: configuring (all are there), absent (an answer was lost).
        case preparing(open: Set<Int>)
        /// Waits for the cluster's configuration.
        /// Can transition to: registering, refused.
        case configuring
        /// The member node is being made.
        /// Can transition to: joined, blocked, refused, registering again.
        case registering(isAsked: Bool, retryAt: ContinuousClock.Instant?)
        /// Another session holds a member node of this id. If it is a leftover it goes when that session ends.
        /// Can transition to: registering (it is gone), refused (it stays).
        case blocked(until: ContinuousClock.Instant)
        /// A member under this incarnation.
        /// Can transition to: registering (the node was deleted), withdrawing.
        case joined(incarnation: Int64)
        /// The member node is being removed.
        /// Can transition to: gone.
        case withdrawing(isAsked: Bool)
        case gone
        /// This node does not fit into this cluster.
        case refused
    }

    package var incarnation: Int64? {
        if case .joined(let incarnation) = self.membership { incarnation } else { nil }
    }

    private var memberRecord: MemberRecord {
        MemberRecord(
            link: self.settings.link, api: self.settings.api, zone: self.settings.zone, weight: self.settings.weight, version: self.settings.version,
            protocols: self.settings.protocols, nonce: String(self.nonce, radix: 16), startedAt: self.settings.startedAt)
    }

    mutating func reconcileMembership(_ turn: inout Turn) {
        guard self.isConnected else { return }
        if self.isLeaving { return self.reconcileLeaving(&turn) }
        switch self.membership {
        case .absent:
            if let joinFrom, turn.now < joinFrom { return turn.wake(at: joinFrom) }
            self.membership = .preparing(open: Set(self.paths.foundations.indices))
            // One behind the other without waiting: a session's operations are carried out in order.
            for (index, request) in self.paths.foundations.enumerated() { self.perform(request, for: .foundation(index), &turn) }
        case .configuring:
            self.want(.configuration)
            guard let configuration = self.configuration, let read = self.reads[.configuration], read.readAt != nil, !read.isDirty, !read.isAsked,
                self.configurationAbsent == nil
            else { return }
            self.enter(configuration, &turn)
        case .registering(isAsked: false, let retryAt):
            if let retryAt, turn.now < retryAt { return turn.wake(at: retryAt) }
            self.membership = .registering(isAsked: true, retryAt: nil)
            self.perform(.create(path: self.paths.member(self.settings.id), data: self.memberRecord.json, ephemeral: true), for: .register, &turn)
        case .blocked(let until):
            self.want(.ownMember)
            guard turn.now >= until else { return turn.wake(at: until) }
            self.refuse(
                "another node uses the id \(self.settings.id) in cluster \(self.settings.cluster): give this one another id (--id), or stop that one", &turn)
        case .preparing, .registering, .joined, .withdrawing, .gone, .refused:
            break
        }
    }

    /// Whether this node fits in.
    private mutating func enter(_ configuration: ClusterConfiguration, _ turn: inout Turn) {
        if configuration.hash != ClusterConfiguration.hashName {
            return self.refuse(
                "the cluster places channels by \(configuration.hash), this version by \(ClusterConfiguration.hashName): use the same version", &turn)
        }
        // A node that runs continues, or all of them would stop together when their sessions with ZooKeeper are renewed.
        guard self.wasMember || self.settings.protocols.contains(configuration.activeProtocol) else {
            return self.refuse("the cluster speaks protocol \(configuration.activeProtocol), \(self.ownProtocols): upgrade this node", &turn)
        }
        self.membership = .registering(isAsked: false, retryAt: nil)
        self.reconcileMembership(&turn)
    }

    mutating func membershipAnswered(_ purpose: Purpose, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ turn: inout Turn) {
        if case .failure(let failure) = result { self.joinFault = failure.sentence }
        switch (purpose, self.membership) {
        case (.foundation(let index), .preparing(var open)):
            switch result {
            // It may be there, made by somebody who may.
            case .failure(.refused(.notAuthorized, _)) where index < self.paths.chroot.count:
                self.isChrootDenied = true
                open.remove(index)
            case .failure(.refused(.noNode, _)) where self.isChrootDenied: return self.again(.absent, &turn)
            case .success, .failure(.refused(.nodeExists, _)): open.remove(index)
            case .failure(.refused(.notAuthorized, _)): return self.refuseCredentials(&turn)
            case .failure: return self.again(.absent, &turn)
            }
            self.membership = .preparing(open: open)
            guard open.isEmpty else { return }
            self.isChrootDenied = false
            self.membership = .configuring
            self.reads[.configuration, default: ReadState()].isDirty = true
        case (.createConfiguration, _):
            switch (result, self.membership) {
            case (.success, _), (.failure(.refused(.nodeExists, _)), _):
                if case .success = result, self.configuration == nil { self.hasFounded = true }
                self.configurationAbsent = nil
                self.reads[.configuration, default: ReadState()].isDirty = true
            case (.failure, .configuring): self.again(.absent, &turn)
            // A member finds it missing when it reads it again.
            case (.failure(.refused(.noNode, _)), _): self.readAgain(.configuration, in: .milliseconds(50), &turn)
            case (.failure, _): self.readAgain(.configuration, in: .seconds(1), &turn)
            }
        case (.inspectView, .configuring):
            self.inspectedView(result, &turn)
        case (.repairMember, .joined):
            if case .success(.stat(let stat?)) = result { self.memberVersion = stat.version }
            self.readAgain(.ownMember, in: .seconds(1), &turn)
        case (.register, .registering):
            self.registered(result, &turn)
        case (.inspectMember, .registering):
            self.inspected(result, &turn)
        case (.deletePredecessor, .registering):
            self.membership = .registering(isAsked: false, retryAt: nil)
        case (.withdraw, .withdrawing):
            switch result {
            case .success, .failure(.refused(.noNode, _)):
                self.membership = .gone
                turn.actions.append(.left)
            case .failure: self.membership = .withdrawing(isAsked: false)
            }
        default:
            break
        }
    }

    /// The first node says what the cluster is; all others read what is there. After its loss that is what the cluster was.
    mutating func createConfiguration(partitionCount: Int? = nil, _ turn: inout Turn) {
        let configuration =
            self.configuration
            ?? ClusterConfiguration(
                clusterID: "\(self.settings.cluster)-\(String(self.nonce, radix: 16))", partitionCount: partitionCount ?? self.settings.partitionCount)
        self.perform(.create(path: self.paths.configuration, data: configuration.json, ephemeral: false), for: .createConfiguration, &turn)
    }

    private mutating func again(_ membership: Membership, _ turn: inout Turn) {
        self.membership = membership
        // Five requests fail together, and are to be repeated once.
        self.joinFrom = turn.now.advanced(by: .milliseconds(100 + Int(200 * turn.jitter)))
    }

    private mutating func registered(_ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ turn: inout Turn) {
        switch result {
        case .success(.stat(let stat?)):
            self.join(stat, &turn)
        case .success, .failure(.ambiguous), .failure(.refused(.nodeExists, _)):
            // It may be ours: the one we made before, or one whose answer was lost.
            self.perform(.get(path: self.paths.member(self.settings.id), watch: false), for: .inspectMember, &turn)
        case .failure(.refused(.noNode, _)):
            // Somebody has removed the cluster's roots: they are made again.
            self.again(.absent, &turn)
        case .failure(.refused(.notAuthorized, _)):
            self.refuseCredentials(&turn)
        case .failure:
            self.membership = .registering(isAsked: false, retryAt: turn.now.advanced(by: .milliseconds(100 + Int(200 * turn.jitter))))
        }
    }

    private mutating func inspected(_ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ turn: inout Turn) {
        switch result {
        case .success(.node(let data, let stat)):
            let record = try? MemberRecord(json: data)
            if stat.ephemeralOwner == self.sessionID, record?.nonce == self.memberRecord.nonce { return self.join(stat, &turn) }
            // A leftover: of a session this process had, or of a process that listened where this one listens now and so is dead.
            let isPredecessor = record?.link == self.settings.link && !self.hasReplacedPredecessor
            if self.ownSessions.contains(stat.ephemeralOwner) || isPredecessor {
                if isPredecessor { self.hasReplacedPredecessor = true }
                self.membership = .registering(isAsked: true, retryAt: nil)
                return self.perform(.delete(path: self.paths.member(self.settings.id), version: stat.version), for: .deletePredecessor, &turn)
            }
            self.record(.blocked, "another session holds the id \(self.settings.id), at \(record?.link ?? "an unknown address"); waiting for it to end", &turn)
            self.reads[.ownMember, default: ReadState()].isDirty = true
            // The servers may grant a longer session than was asked for, and one that is left over lasts as long as its own.
            var wait = self.settings.duplicateWait
            if case .connected(_, let timeout) = self.session.phase { wait = max(wait, timeout * 3 / 2 + .seconds(1)) }
            self.membership = .blocked(until: turn.now.advanced(by: wait))
        case .success, .failure:
            self.membership = .registering(isAsked: false, retryAt: turn.now.advanced(by: .milliseconds(50 + Int(100 * turn.jitter))))
        }
    }

    private mutating func join(_ stat: ZooKeeperStat, _ turn: inout Turn) {
        let incarnation = stat.czxid
        // Servers that were set back give numbers out again. What was granted to this number was granted to somebody before us.
        guard incarnation != self.view?.node(self.settings.id)?.incarnation, incarnation != self.memory.past?.view?.node(self.settings.id)?.incarnation,
            self.ownIncarnations.insert(incarnation).inserted
        else {
            self.membership = .registering(isAsked: true, retryAt: nil)
            return self.perform(.delete(path: self.paths.member(self.settings.id), version: nil), for: .deletePredecessor, &turn)
        }
        self.membership = .joined(incarnation: incarnation)
        self.wasMember = true
        self.memberVersion = stat.version
        self.record(.joined, "joined the cluster as incarnation \(incarnation)", &turn)
        for target in [ReadTarget.ownMember, .controller, .view, .configuration] { self.reads[target, default: ReadState()].isDirty = true }
    }

    /// What the watch on the own member node told: that it is gone, or still somebody else's.
    mutating func ownMemberRead(_ stat: ZooKeeperStat?, _ turn: inout Turn) {
        switch self.membership {
        case .joined(let incarnation) where stat?.czxid != incarnation:
            // Evicted or forgotten. The session lives, so this node may come back, as another incarnation that owns nothing yet.
            self.record(.evicted, "the member node of incarnation \(incarnation) was removed by another node; joining again", &turn)
            self.releaseAll(&turn)
            self.followAgain(&turn)
            // From the beginning: what removed it may have removed more, or made another cluster of it.
            self.membership = .absent
            self.joinFrom = turn.now.advanced(by: .milliseconds(500 + Int(500 * turn.jitter)))
        case .joined:
            guard let stat, stat.version != self.memberVersion, !self.pending.values.contains(.repairMember) else { return }
            self.raise("\(self.paths.member(self.settings.id)) was changed by something else: this node writes it again", &turn)
            self.perform(
                .set(path: self.paths.member(self.settings.id), data: self.memberRecord.json, version: stat.version), for: .repairMember, &turn)
        case .blocked where stat == nil:
            self.membership = .registering(isAsked: false, retryAt: nil)
        default:
            break
        }
    }

    private mutating func refuseCredentials(_ turn: inout Turn) {
        self.refuse("ZooKeeper does not let these credentials write under \(self.paths.root): check zookeeper-user and its password", &turn)
    }

    mutating func refuse(_ reason: String, _ turn: inout Turn) {
        self.releaseAll(&turn)
        self.membership = .refused
        turn.actions.append(.refuse(reason))
    }

    // MARK: - Leaving

    private mutating func reconcileLeaving(_ turn: inout Turn) {
        switch self.membership {
        case .joined(let incarnation):
            // Ownership first: the controller grants to others as soon as the member node is gone.
            self.releaseAll(&turn)
            // Best effort: where it is not heard, this looks like a failure, and costs a little.
            for (id, reach) in self.links.sorted(by: { $0.key < $1.key }) where reach.isUp { self.send(.leaving, to: id, &turn) }
            self.record(.left, "leaves the cluster (incarnation \(incarnation))", &turn)
            self.membership = .withdrawing(isAsked: false)
            self.reconcileLeaving(&turn)
        case .withdrawing(isAsked: false):
            self.membership = .withdrawing(isAsked: true)
            self.perform(.delete(path: self.paths.member(self.settings.id), version: nil), for: .withdraw, &turn)
        case .withdrawing, .gone:
            break
        case .absent, .preparing, .configuring, .registering, .blocked, .refused:
            self.membership = .gone
            turn.actions.append(.left)
        }
    }
}
