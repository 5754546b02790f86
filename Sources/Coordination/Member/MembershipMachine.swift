import AdminAPI

/// How this node becomes a member of its cluster, and stops being one: its member znode and its incarnation. A pure value.
struct MembershipMachine: Sendable {
    /// How far this node is in.
    enum State: Hashable, Sendable {
        /// Not begun in this session.
        /// Can transition to: preparing.
        case absent
        /// The cluster's folders are being made, those that are missing; `open` have no reply yet.
        /// Can transition to: configuring (all exist), absent (a reply was lost), refused.
        case preparing(open: Set<Int>)
        /// Waits for the cluster's configuration.
        /// Can transition to: registering, absent, refused.
        case configuring
        /// The member znode is being made.
        /// Can transition to: joined, blocked, refused, absent, registering again.
        case registering(isOpen: Bool, retryAt: ContinuousClock.Instant?)
        /// Another session holds a member znode of this id. If it is a leftover it goes when that session ends.
        /// Can transition to: registering (it is gone), refused (it stays).
        case blocked(until: ContinuousClock.Instant)
        /// A member under this incarnation.
        /// Can transition to: absent (the znode was deleted, or the session is lost), withdrawing.
        case joined(incarnation: Int64)
        /// The member znode is being removed.
        /// Can transition to: gone.
        case withdrawing(isOpen: Bool)
        case gone
        /// This node does not fit into this cluster.
        case refused
    }

    enum Operation: Hashable, Sendable {
        case makeFoundation(Int)
        case register
        /// Reads the member znode that is in the way.
        case inspectMember
        case deletePredecessor
        case repairMember
        case withdraw
    }

    enum Effect: Hashable, Sendable {
        case perform(ZooKeeperRequest, for: Operation)
        /// Read this again, and from now on.
        case read(RegistryReads.Target)
        /// Read this again, and not before.
        case readAgain(RegistryReads.Target, from: ContinuousClock.Instant)
        case record(ClusterEvent.Kind, String)
        case alarm(String)
        case wake(at: ContinuousClock.Instant)
        case releasePartitions
        case stopControlling
        case announceLeaving
        /// This node cannot be part of the cluster.
        case refuse(String)
        case left
    }

    /// What joining depends on, as it is now.
    struct Facts: Sendable {
        let now: ContinuousClock.Instant
        /// 0 to 1.
        let jitter: Double
        let sessionID: Int64?
        let sessionTimeout: Duration?
        /// All sessions of this process.
        let ownSessions: Set<Int64>
        /// The configuration, once it has been read.
        let configuration: ClusterConfiguration?
        /// Why this node does not fit into that cluster.
        let misfit: String?
        /// The incarnations of this id in the newest views that this node knows.
        let usedIncarnations: [Int64]
    }

    private let settings: ClusterSettings
    private let paths: ClusterPaths
    private let record: MemberRecord
    private(set) var state = State.absent
    private(set) var isLeaving = false
    /// This process was a member once.
    private(set) var wasMember = false
    /// The chroot cannot be made. That matters only if it does not exist.
    private(set) var isChrootDenied = false
    /// What joining last met in ZooKeeper.
    private(set) var fault: String?
    /// Not before, after a failure.
    private var joinFrom: ContinuousClock.Instant?
    /// A leftover at this node's own address was removed once. The second one is of a process that lives.
    private var hasReplacedPredecessor = false
    /// The incarnations this process has had.
    private var ownIncarnations: Set<Int64> = []
    /// The version of the own member znode as this node wrote it.
    private var version: Int32 = 0
    private var isRepairing = false

    init(settings: ClusterSettings, nonce: UInt64) {
        self.settings = settings
        self.paths = settings.paths
        self.record = MemberRecord(
            link: settings.link, api: settings.api, zone: settings.zone, weight: settings.weight, version: settings.version,
            protocols: settings.protocols, nonce: String(nonce, radix: 16), startedAt: settings.startedAt)
    }

    var incarnation: Int64? { if case .joined(let incarnation) = self.state { incarnation } else { nil } }

    private var path: String { self.paths.member(self.settings.id) }

    // MARK: - Events

    mutating func leave() { self.isLeaving = true }

    /// A new session, or the end of the last one: whatever this node was, it is no member.
    mutating func restart() {
        self.state = .absent
        self.isRepairing = false
    }

    mutating func refused() { self.state = .refused }

    /// Something that joining stands on is missing: from the beginning, in a moment.
    mutating func joinAgain(_ facts: Facts) {
        self.state = .absent
        // Several requests fail together, and are repeated once.
        self.joinFrom = facts.now.advanced(by: .milliseconds(100 + Int(200 * facts.jitter)))
    }

    /// An operation of another machine failed that joining waits for.
    mutating func failed(_ failure: ZooKeeperFailure) { self.fault = failure.sentence }

    /// The next step, with a connection to ZooKeeper.
    mutating func proceed(_ facts: Facts) -> [Effect] {
        if self.isLeaving { return self.proceedLeaving() }
        switch self.state {
        case .absent:
            if let joinFrom, facts.now < joinFrom { return [.wake(at: joinFrom)] }
            let foundations = self.paths.foundations
            self.state = .preparing(open: Set(foundations.indices))
            // One behind the other without waiting: a session's operations are performed in order.
            return foundations.enumerated().map { .perform($1, for: .makeFoundation($0)) }
        case .configuring:
            guard facts.configuration != nil else { return [] }
            if let misfit = facts.misfit { return [.refuse(misfit)] }
            self.state = .registering(isOpen: false, retryAt: nil)
            return self.proceed(facts)
        case .registering(isOpen: false, let retryAt):
            if let retryAt, facts.now < retryAt { return [.wake(at: retryAt)] }
            self.state = .registering(isOpen: true, retryAt: nil)
            return [.perform(.create(path: self.path, data: self.record.json, ephemeral: true), for: .register)]
        case .blocked(let until):
            guard facts.now >= until else { return [.wake(at: until)] }
            return [
                .refuse("another node uses the id \(self.settings.id) in cluster \(self.settings.cluster): give this one another id (--id), or stop that one")
            ]
        case .preparing, .registering, .joined, .withdrawing, .gone, .refused:
            return []
        }
    }

    mutating func replied(_ operation: Operation, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ facts: Facts) -> [Effect] {
        if case .failure(let failure) = result { self.failed(failure) }
        switch (operation, self.state) {
        case (.makeFoundation(let index), .preparing(let open)):
            return self.madeFoundation(index, open, result, facts)
        case (.register, .registering):
            return self.registered(result, facts)
        case (.inspectMember, .registering):
            return self.inspected(result, facts)
        case (.deletePredecessor, .registering):
            self.state = .registering(isOpen: false, retryAt: nil)
        case (.repairMember, let state):
            self.isRepairing = false
            guard case .joined = state else { return [] }
            if case .success(.stat(let stat?)) = result { self.version = stat.version }
            return [.readAgain(.ownMember, from: facts.now.advanced(by: .seconds(1)))]
        case (.withdraw, .withdrawing):
            switch result {
            case .success, .failure(.refused(.noNode, _)):
                self.state = .gone
                return [.left]
            case .failure: self.state = .withdrawing(isOpen: false)
            }
        case (.makeFoundation, _), (.register, _), (.inspectMember, _), (.deletePredecessor, _), (.withdraw, _):
            break
        }
        return []
    }

    private mutating func madeFoundation(
        _ index: Int, _ open: Set<Int>, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ facts: Facts
    ) -> [Effect] {
        switch result {
        // It may exist already, made with other credentials.
        case .failure(.refused(.notAuthorized, _)) where index < self.paths.chroot.count: self.isChrootDenied = true
        case .success, .failure(.refused(.nodeExists, _)): break
        case .failure(.refused(.notAuthorized, _)): return [self.refuseCredentials]
        case .failure:
            self.joinAgain(facts)
            return []
        }
        let open = open.subtracting([index])
        guard open.isEmpty else {
            self.state = .preparing(open: open)
            return []
        }
        self.isChrootDenied = false
        self.state = .configuring
        return [.read(.configuration)]
    }

    private mutating func registered(_ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ facts: Facts) -> [Effect] {
        switch result {
        case .success(.stat(let stat?)):
            return self.join(stat, facts)
        case .success, .failure(.ambiguous), .failure(.refused(.nodeExists, _)):
            // It may be ours: the one we made before, or one whose reply was lost.
            return [.perform(.get(path: self.path, watch: false), for: .inspectMember)]
        case .failure(.refused(.noNode, _)):
            // The cluster's folders were removed: they are made again.
            self.joinAgain(facts)
        case .failure(.refused(.notAuthorized, _)):
            return [self.refuseCredentials]
        case .failure:
            self.state = .registering(isOpen: false, retryAt: facts.now.advanced(by: .milliseconds(100 + Int(200 * facts.jitter))))
        }
        return []
    }

    private mutating func inspected(_ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ facts: Facts) -> [Effect] {
        switch result {
        case .success(.node(let data, let stat)):
            let found = try? MemberRecord(json: data)
            if stat.ephemeralOwner == facts.sessionID, found?.nonce == self.record.nonce { return self.join(stat, facts) }
            // A leftover: of a session this process had, or of a process that listened where this one listens now and so is dead.
            let isPredecessor = found?.link == self.settings.link && !self.hasReplacedPredecessor
            if facts.ownSessions.contains(stat.ephemeralOwner) || isPredecessor {
                if isPredecessor { self.hasReplacedPredecessor = true }
                self.state = .registering(isOpen: true, retryAt: nil)
                return [.perform(.delete(path: self.path, version: stat.version), for: .deletePredecessor)]
            }
            // The servers may grant a longer session than was requested, and one that is left over lasts as long as its own.
            var wait = self.settings.duplicateWait
            if let timeout = facts.sessionTimeout { wait = max(wait, timeout * 3 / 2 + .seconds(1)) }
            self.state = .blocked(until: facts.now.advanced(by: wait))
            let text = "another session holds the id \(self.settings.id), at \(found?.link ?? "an unknown address"); waiting for it to end"
            return [.record(.blocked, text), .read(.ownMember)]
        case .success, .failure:
            self.state = .registering(isOpen: false, retryAt: facts.now.advanced(by: .milliseconds(50 + Int(100 * facts.jitter))))
            return []
        }
    }

    private mutating func join(_ stat: ZooKeeperStat, _ facts: Facts) -> [Effect] {
        let incarnation = stat.czxid
        // Servers that were set back give numbers out again. What was granted to this number was granted to another process.
        guard !facts.usedIncarnations.contains(incarnation), self.ownIncarnations.insert(incarnation).inserted else {
            self.state = .registering(isOpen: true, retryAt: nil)
            return [.perform(.delete(path: self.path, version: nil), for: .deletePredecessor)]
        }
        self.state = .joined(incarnation: incarnation)
        self.wasMember = true
        self.version = stat.version
        return [.record(.joined, "joined the cluster as incarnation \(incarnation)")]
            + [.ownMember, .controller, .view, .configuration].map { .read($0) }
    }

    /// What the watch on the own member znode brought: that it is gone, or still another session's.
    mutating func found(_ stat: ZooKeeperStat?, _ facts: Facts) -> [Effect] {
        switch self.state {
        case .joined(let incarnation) where stat?.czxid != incarnation:
            // Evicted or forgotten. The session lives, so this node may come back, as another incarnation that owns nothing yet.
            // From the beginning: what removed it may have removed more, or made another cluster of it.
            self.restart()
            self.joinFrom = facts.now.advanced(by: .milliseconds(500 + Int(500 * facts.jitter)))
            let text = "the member znode of incarnation \(incarnation) was removed by another node; joining again"
            return [.record(.evicted, text), .releasePartitions, .stopControlling]
        case .joined:
            guard let stat, stat.version != self.version, !self.isRepairing else { return [] }
            self.isRepairing = true
            return [
                .alarm("\(self.path) was changed by something else: this node writes it again"),
                .perform(.set(path: self.path, data: self.record.json, version: stat.version), for: .repairMember),
            ]
        case .blocked where stat == nil:
            self.state = .registering(isOpen: false, retryAt: nil)
        case .absent, .preparing, .configuring, .registering, .blocked, .withdrawing, .gone, .refused:
            break
        }
        return []
    }

    private var refuseCredentials: Effect {
        .refuse("ZooKeeper does not let these credentials write under \(self.paths.root): check zookeeper-user and its password")
    }

    // MARK: - Leaving

    private mutating func proceedLeaving() -> [Effect] {
        switch self.state {
        case .joined(let incarnation):
            self.state = .withdrawing(isOpen: false)
            // Ownership first: the controller grants to others as soon as the member znode is gone. The announcement is best effort: where it is lost, this
            // looks like a failure, and costs a little.
            return [.releasePartitions, .announceLeaving, .record(.left, "leaves the cluster (incarnation \(incarnation))")] + self.proceedLeaving()
        case .withdrawing(isOpen: false):
            self.state = .withdrawing(isOpen: true)
            return [.perform(.delete(path: self.path, version: nil), for: .withdraw)]
        case .withdrawing, .gone:
            return []
        case .absent, .preparing, .configuring, .registering, .blocked, .refused:
            self.state = .gone
            return [.left]
        }
    }
}
