import AdminAPI

/// Makes this node a member of its cluster, and ends its membership: owns its member znode and its incarnation. A pure value.
struct MembershipMachine: Sendable {
    /// The progress of joining or leaving.
    enum State: Hashable, Sendable {
        /// Joining has not begun in this session.
        /// Can transition to: preparing.
        case absent
        /// Creates the cluster's parent znodes that are missing. `open` has the index of each request without a reply.
        /// Can transition to: configuring (all exist), absent (a reply was lost), refused.
        case preparing(open: Set<Int>)
        /// Waits for the cluster's configuration.
        /// Can transition to: registering, absent, refused.
        case configuring
        /// Creates the member znode. `isOpen` is true while a request has no reply.
        /// Can transition to: joined, blocked, refused, absent, registering again.
        case registering(isOpen: Bool, retryAt: ContinuousClock.Instant?)
        /// Another session holds a member znode of this id. If the znode is a leftover, it disappears when that session ends.
        /// Can transition to: registering (the znode has disappeared), refused (it still exists).
        case blocked(until: ContinuousClock.Instant)
        /// This node is a member under this incarnation.
        /// Can transition to: absent (the znode was deleted, or the session is lost), withdrawing.
        case joined(incarnation: Int64)
        /// Removes the member znode. `isOpen` is true while a request has no reply.
        /// Can transition to: gone.
        case withdrawing(isOpen: Bool)
        /// This node has left.
        case gone
        /// This node is not compatible with this cluster.
        case refused
    }

    enum Operation: Hashable, Sendable {
        case makeFoundation(Int)
        case register
        /// Reads the existing member znode of this id.
        case inspectMember
        case deletePredecessor
        case repairMember
        case withdraw
    }

    enum Effect: Hashable, Sendable {
        case perform(ZooKeeperRequest, for: Operation)
        /// Begin to read this target, or read it again.
        case read(RegistryReads.Target)
        /// Read this target again at that time.
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

    /// The current state of everything that joining depends on.
    struct Facts: Sendable {
        let now: ContinuousClock.Instant
        /// A random number from 0 to 1.
        let jitter: Double
        /// The id of the present session, even while it has no connection.
        let sessionID: Int64?
        let sessionTimeout: Duration?
        /// All sessions of this process.
        let ownSessions: Set<Int64>
        /// The cluster's configuration. Nil before it has been read.
        let configuration: ClusterConfiguration?
        /// Why this node is not compatible with that configuration. Nil if it is compatible.
        let incompatibility: String?
        /// The incarnations of this id in the newest views that this node knows.
        let usedIncarnations: [Int64]
    }

    private let settings: ClusterSettings
    private let paths: ClusterPaths
    private let record: MemberRecord
    private(set) var state = State.absent
    private(set) var isLeaving = false
    /// Whether this process has ever been a member.
    private(set) var wasMember = false
    /// Whether the credentials do not allow creating the chroot. This is a fault only if the chroot does not exist.
    private(set) var isChrootDenied = false
    /// The last failure of a ZooKeeper request that is necessary for joining.
    private(set) var fault: String?
    /// When and why to report that this node has not joined.
    private(set) var joinWatch = JoinWatch()
    /// After a failure, joining begins again at this time.
    private var joinFrom: ContinuousClock.Instant?
    /// Whether this node has removed a leftover member znode with its own address. A second such znode belongs to a live process.
    private var hasReplacedPredecessor = false
    /// All incarnations of this process.
    private var ownIncarnations: Set<Int64> = []
    /// The version of this node's member znode after this node's last write.
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

    /// A session has begun or ended, so this node is not a member.
    mutating func restart() {
        self.state = .absent
        self.isRepairing = false
    }

    mutating func refused() { self.state = .refused }

    /// Begins to join again after a short wait, because a request that joining needs has failed.
    mutating func joinAgain(_ facts: Facts) {
        self.state = .absent
        // Several requests may fail together. All of them are repeated once.
        self.joinFrom = facts.now.advanced(by: .milliseconds(100 + Int(200 * facts.jitter)))
    }

    /// An operation of another machine failed, and joining waits for its result.
    mutating func failed(_ failure: ZooKeeperFailure) { self.fault = failure.sentence }

    /// Notes why this node has not joined its cluster. `obstacle` is nil if it has joined. See ``JoinWatch/update(_:isMember:at:)``.
    mutating func noteObstacle(_ obstacle: String?, at now: ContinuousClock.Instant) -> (isDue: Bool, seconds: Int64, wake: ContinuousClock.Instant?) {
        self.joinWatch.update(obstacle, isMember: self.incarnation != nil, at: now)
    }

    /// Begins the next step. Called only while there is a connection to ZooKeeper.
    mutating func proceed(_ facts: Facts) -> [Effect] {
        if self.isLeaving { return self.proceedLeaving() }
        switch self.state {
        case .absent:
            if let joinFrom, facts.now < joinFrom { return [.wake(at: joinFrom)] }
            let foundations = self.paths.foundations
            self.state = .preparing(open: Set(foundations.indices))
            // All requests are sent together, because ZooKeeper performs the operations of a session in order.
            return foundations.enumerated().map { .perform($1, for: .makeFoundation($0)) }
        case .configuring:
            guard facts.configuration != nil else { return [] }
            if let incompatibility = facts.incompatibility { return [.refuse(incompatibility)] }
            self.state = .registering(isOpen: false, retryAt: nil)
            return self.proceed(facts)
        case .registering(isOpen: false, let retryAt):
            if let retryAt, facts.now < retryAt { return [.wake(at: retryAt)] }
            self.state = .registering(isOpen: true, retryAt: nil)
            return [.perform(.create(path: self.path, data: self.record.json, ephemeral: true), for: .register)]
        case .blocked(let until):
            guard facts.now >= until else { return [.wake(at: until)] }
            return [
                .refuse(
                    "another node uses the id \(self.settings.id) in cluster \(self.settings.cluster): give this node another id (--id), or stop the other node"
                )
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
        // The chroot may exist already, created with other credentials.
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
            // The znode may be this node's own: created earlier, or by this request if its reply was lost.
            return [.perform(.get(path: self.path, watch: false), for: .inspectMember)]
        case .failure(.refused(.noNode, _)):
            // The cluster's parent znodes were removed, and have to be created again.
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
            // The znode may be left over from an earlier session of this process, or from an earlier process of this node. If the znode has this node's link
            // address, that earlier process is dead, because this process listens on the address now.
            let isPredecessor = found?.link == self.settings.link && !self.hasReplacedPredecessor
            if facts.ownSessions.contains(stat.ephemeralOwner) || isPredecessor {
                if isPredecessor { self.hasReplacedPredecessor = true }
                self.state = .registering(isOpen: true, retryAt: nil)
                return [.perform(.delete(path: self.path, version: stat.version), for: .deletePredecessor)]
            }
            // The servers may grant a longer session than requested, and a leftover znode exists until its session ends.
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
        // Servers that were rolled back reuse transaction numbers. Another process may have had grants under this incarnation.
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

    /// Handles a read of the member znode of this id. `stat` is nil if the znode does not exist.
    mutating func found(_ stat: ZooKeeperStat?, _ facts: Facts) -> [Effect] {
        switch self.state {
        case .joined(let incarnation) where stat?.czxid != incarnation:
            // This node was evicted or forgotten. Its session is alive, so it may join again as another incarnation, which owns nothing yet.
            // It begins with the parent znodes, because they may have been removed too, or replaced by those of another cluster.
            self.restart()
            self.joinFrom = facts.now.advanced(by: .milliseconds(500 + Int(500 * facts.jitter)))
            let text = "the member znode of incarnation \(incarnation) was removed by another node; joining again"
            return [.record(.evicted, text), .releasePartitions, .stopControlling]
        case .joined:
            guard let stat, stat.version != self.version, !self.isRepairing else { return [] }
            self.isRepairing = true
            return [
                .alarm("\(self.path) was changed by another program; this node writes it again"),
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
            // The partitions are released first, because the controller grants them to other nodes as soon as the member znode is gone. The announcement is
            // best effort: if it is lost, the controller treats this as a failure, and waits a little before it grants the partitions.
            return [.releasePartitions, .announceLeaving, .record(.left, "leaves the cluster (incarnation \(incarnation))")] + self.proceedLeaving()
        case .withdrawing(isOpen: false):
            self.state = .withdrawing(isOpen: true)
            return [.perform(.delete(path: self.path, version: nil), for: .withdraw)]
        case .withdrawing, .gone:
            return []
        case .absent, .preparing, .configuring, .registering, .blocked, .refused:
            self.state = .gone
            // With a log that fences, grants of a former incarnation may still be served.
            return [.releasePartitions, .left]
        }
    }
}
