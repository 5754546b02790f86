package import AdminAPI
package import Partitioning

/// What one node of a cluster does next: joins, follows the view, takes and gives back partitions, and is the controller when it is elected.
///
/// A pure value without I/O, clock or randomness of its own: ``ClusterCoordinator`` executes its actions in production, and a simulation does in tests.
/// Everything is level-triggered: an event changes what is known, and ``reconcile(_:)`` then asks for whatever is missing. An action that fails is asked for
/// again at the next event or ``Action/wake(at:)``, so no answer is ever waited for twice.
///
/// The facets: `+Session` (ZooKeeper's answers), `+Membership` (join and leave), `+Reading` (level-triggered reads), `+View` (following the view),
/// `+Repair` (damaged znodes), `+Election`, `+Controller` (the loop over ``Plan``), `+Ownership`, `+Messages` (what nodes tell each other), `+Questions` (what operators ask).
package struct ClusterMachine: Sendable {
    package let settings: ClusterSettings
    let paths: ClusterPaths

    var session = ZooKeeperState(generation: 0, phase: .connecting)
    /// The sessions this process has had: an ephemeral node of an older one is its own leftover.
    var ownSessions: Set<Int64> = []
    var nextToken: UInt64 = 1
    /// Operators' changes are counted over all leaderships, so that a late answer is to its own question.
    var nextChange: Int64 = 1
    /// A leftover at this node's own address was removed once. The second one is of a process that lives.
    var hasReplacedPredecessor = false
    /// The incarnations this process has had.
    var ownIncarnations: Set<Int64> = []
    /// Why this node is not in, and when to say so.
    package internal(set) var joining = JoinWatch()
    /// It has been in, with any of its incarnations.
    package internal(set) var hasJoined = false
    /// What joining last met in ZooKeeper.
    var joinFault: String?
    /// The chroot cannot be made. That matters only if it does not exist.
    var isChrootDenied = false
    /// Why the last session, or the last try for one, ended.
    var sessionLoss: ZooKeeperState.Loss?
    /// Since when no other member is linked, while there are some.
    var isolatedSince: ContinuousClock.Instant?
    /// What was asked of ZooKeeper and is not answered, by token.
    var pending: [UInt64: Purpose] = [:]

    var membership = Membership.absent
    /// Not before, after a failure.
    var joinFrom: ContinuousClock.Instant?
    var reads: [ReadTarget: ReadState] = [:]
    package internal(set) var configuration: ClusterConfiguration?
    var configurationVersion: Int32 = 0
    /// The znode that ``configuration`` was last found in. Nil before it was found in this session: a znode that was made since may be another cluster's.
    var configurationCreated: Int64?
    /// What ZooKeeper has instead of ``configuration``, while that is so.
    var configurationFault: ConfigurationFault?
    /// What a node that waits for a configuration knows of its absence.
    var configurationAbsent: ConfigurationAbsence?
    /// Folders of the cluster that ZooKeeper has lost; the controller makes them again.
    var absent: Set<ReadTarget> = []
    /// The controller's znode has something else than a controller's record.
    var controllerFault: ControllerFault?
    /// The version of the own member znode as this node wrote it.
    var memberVersion: Int32 = 0
    /// This process was a member once, so what it finds in ZooKeeper later does not decide any more whether it fits.
    var wasMember = false
    /// This process made the cluster, or what was left of it.
    var hasFounded = false

    /// The newest view that was accepted, from ZooKeeper or from a peer.
    package internal(set) var view: ClusterView?
    /// By every view that was seen, the refused ones included.
    var floor = ViewFloor()
    var memory: ClusterMemory
    /// What operators had requested by views that were refused, of nodes that there are since, and nothing newer says.
    var lostDesired: [String: NodeRecord] = [:]
    /// Since when this process has had a view.
    var viewSince: ContinuousClock.Instant?
    /// What ZooKeeper has instead of a view.
    var unreadableView: UnreadableView?
    /// Since when a new session is shown an older view than this node has: a server that lags, or one that lost writes.
    var olderSince: ContinuousClock.Instant?
    /// Views that peers have named, newer than this node's.
    var named: [String: Int64] = [:]
    var pulledAt: ContinuousClock.Instant?
    /// The newest version that ZooKeeper itself has shown: when it shows an older one, it has lost writes.
    var viewRead: (version: Int64, stat: Int32)?
    /// What was last alarming, for a while after it was last seen: most of it is repaired before a person could look.
    package internal(set) var alarm: String?
    var alarmedAt: ContinuousClock.Instant?
    var alarmsTold: [String] = []
    package internal(set) var controller: ControllerRecord?
    var election = Election.following
    /// When it was deposed last: whatever held it up may hold it up again.
    var deposedAt: ContinuousClock.Instant?
    var complaints = Complaints()
    /// When this node was last linked to at least half of the others.
    var reachedHalfAt: ContinuousClock.Instant?
    /// The incarnation of the last controller whose node is gone.
    var formerController: Int64?
    /// Incarnations of peers that have said that they go, until they are gone from the view.
    var leaving: Set<Int64> = []
    package internal(set) var ownership: [Int: Ownership] = [:]
    /// What this node's own links say, by peer.
    package internal(set) var links: [String: LinkReach] = [:]
    var figures = NodeFigures()
    var lastReport: (at: ContinuousClock.Instant, content: [UInt8])?
    /// Operators' requests that wait for the controller's response, by their number on the link.
    var pendingRequests: [Int64: PendingRequest] = [:]
    var nextRequest: Int64 = 1
    package internal(set) var history = ClusterHistory()
    var transfers = TransferHistory()
    var isLeaving = false
    var nonce: UInt64

    /// - Parameters:
    ///   - nonce: tells this process from another that uses the same id. Random.
    ///   - remembered: what the process before it kept.
    package init(settings: ClusterSettings, nonce: UInt64, remembered: RememberedCluster? = nil) {
        self.memory = ClusterMemory(isKept: settings.keepsMemory, past: remembered)
        self.configuration = remembered?.configuration
        if let view = remembered?.view { self.floor.see(view) }
        self.settings = settings
        self.paths = ClusterPaths(cluster: settings.cluster, chroot: settings.chroot)
        self.nonce = nonce
    }

    package enum Event: Sendable {
        case session(ZooKeeperState)
        /// Watches fired.
        case changed(Set<String>)
        /// What became of an ``Action/perform(token:_:generation:deadline:)``.
        case answered(token: UInt64, Result<ZooKeeperReply, ZooKeeperFailure>)
        /// The time that was asked for has come; harmless at any time.
        case ticked
        case linkUp(id: String, incarnation: Int64)
        case linkDown(id: String, incarnation: Int64, isRefused: Bool, reason: String? = nil)
        /// A peer's heartbeat names another view version than before.
        case peerView(id: String, version: Int64)
        case received(from: String, incarnation: Int64, payload: [UInt8])
        /// The storage is ready for these grants, or has given them back.
        case sealed([Grant])
        case handedOver([Grant])
        case figures(NodeFigures)
        /// What became of an ``Action/remember(number:_:)``: nil when it is durable.
        case remembered(number: UInt64, failure: String?)
        /// Something that operators have to know, from around the machine.
        case fault(String)
        /// An operator's request at this node.
        case request(number: UInt64, AdminRequest)
        /// Give everything back and go.
        case leave
    }

    package enum Action: Sendable {
        case perform(token: UInt64, ZooKeeperRequest, generation: UInt64, deadline: ContinuousClock.Instant)
        /// Send ``Event/ticked`` then. Replaces an earlier one.
        case wake(at: ContinuousClock.Instant)
        /// The peers to have links to, and who we are to them. Sent when either changes.
        case peers([Peer], incarnation: Int64, viewVersion: Int64)
        case send(to: String, payload: [UInt8])
        /// Keep this over restarts, in place of what was kept, then say ``Event/remembered(number:failure:)``.
        case remember(number: UInt64, [UInt8])
        /// Prepare the log for these partitions under their owner epochs, then say ``Event/sealed(_:)``.
        case seal([Grant])
        /// Finish what is in flight and take nothing new, then say ``Event/handedOver(_:)``.
        case handOver([Grant])
        /// They belong to others now: stop at once.
        case release([Grant])
        /// To an operator's request at this node.
        case respond(number: UInt64, AdminResponse)
        case log(ClusterEvent)
        /// This node cannot be part of the cluster; says why, for a person.
        case refuse(String)
        /// Everything has been given back.
        case left
    }

    package struct Peer: Hashable, Sendable {
        package var id: String
        package var incarnation: Int64
        package var link: String
    }

    /// Handles one event. `now` never goes backwards. Random numbers spread what many nodes would do at once.
    package mutating func handle(_ event: Event, at now: ContinuousClock.Instant, using generator: inout some RandomNumberGenerator) -> [Action] {
        var turn = Turn(now: now, jitter: Double.random(in: 0..<1, using: &generator))
        switch event {
        case .session(let state): self.sessionChanged(state, &turn)
        case .changed(let paths): self.markDirty(paths)
        case .answered(let token, let result): self.answered(token, result, &turn)
        case .ticked: break
        case .linkUp(let id, let incarnation): self.links[id] = LinkReach(incarnation: incarnation, isUp: true, since: now)
        case .linkDown(let id, let incarnation, let isRefused, let reason): self.linkDown(id, incarnation, isRefused, reason, &turn)
        case .peerView(let id, let version): self.peerView(id, version, &turn)
        case .received(let id, let incarnation, let payload): self.received(payload, from: id, incarnation, &turn)
        case .sealed(let partitions): self.sealed(partitions)
        case .handedOver(let partitions): self.handedOver(partitions)
        case .figures(let figures): self.figures = figures
        case .remembered(let number, let failure): self.remembered(number, failure, &turn)
        case .fault(let sentence): self.raise(sentence, &turn)
        case .request(let number, let request): self.handle(request, .local(number), &turn)
        case .leave: self.isLeaving = true
        }
        self.reconcile(&turn)
        return turn.actions
    }

    /// Asks for whatever is missing, in the order in which one thing stands on another.
    private mutating func reconcile(_ turn: inout Turn) {
        self.reconcileMembership(&turn)
        self.reconcileReads(&turn)
        self.noteReach(at: turn.now)
        self.noteIsolation(at: turn.now)
        self.reconcileElection(&turn)
        self.reconcileComplaints(&turn)
        self.reconcileController(&turn)
        self.reconcileOwnership(&turn)
        self.reconcilePulls(&turn)
        self.reconcilePeers(&turn)
        self.reconcileReport(&turn)
        self.reconcileMemory(&turn)
        self.expireRequests(&turn)
        self.expireAlarm(&turn)
        self.reconcileJoining(&turn)
        if let wake = turn.wake { turn.actions.append(.wake(at: wake)) }
    }

    /// What one event leads to.
    struct Turn {
        let now: ContinuousClock.Instant
        /// 0 to 1.
        let jitter: Double
        var actions: [Action] = []
        private(set) var wake: ContinuousClock.Instant?

        mutating func wake(at time: ContinuousClock.Instant) {
            self.wake = self.wake.map { min($0, time) } ?? time
        }
    }

    var peersSent: (peers: [Peer], incarnation: Int64, viewVersion: Int64)?
}
