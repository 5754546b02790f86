import AdminAPI
import Partitioning

/// Follows the current controller, and takes part in the election of the next one. A pure value.
///
/// A node is elected by writing the next controller epoch and the controller's znode in one operation. ``ControllerMachine`` does the elected node's work.
struct ElectionMachine: Sendable {
    enum State: Hashable, Sendable {
        /// Another node is the controller, or this node does not know whether there is a controller.
        /// Can transition to: waiting (there is no controller).
        case following
        /// There is no controller. Waits for a random time, so that not all nodes begin together.
        /// Can transition to: reading, following.
        case waiting(until: ContinuousClock.Instant)
        /// Reads the controller epoch.
        /// Can transition to: electing, waiting, following.
        case reading
        /// Writes the next epoch and the controller's znode together.
        /// Can transition to: elected, following (another node was elected, or the result is unknown).
        case electing(attempt: Int32)
        /// This node is the controller.
        /// Can transition to: following (it was deposed, or its session was lost).
        case elected(epoch: Int32, epochVersion: Int32, at: ContinuousClock.Instant)
    }

    enum Operation: Hashable, Sendable {
        case readEpoch
        /// Creates the znode of the controller epoch, which ZooKeeper has lost.
        case createEpoch
        case elect(attempt: Int32)
        /// Removes the controller's znode.
        case depose
    }

    enum Effect: Hashable, Sendable {
        case perform(ZooKeeperRequest, for: Operation)
        /// Read the controller's znode again at that time, or immediately if the time is nil.
        case readAgain(from: ContinuousClock.Instant?)
        case record(ClusterEvent.Kind, about: String?, String)
        case alarm(String)
        case wake(at: ContinuousClock.Instant)
        /// Send a complaint about the controller of that epoch to these peers.
        case complain(epoch: Int32, to: [String])
        case elected(epoch: Int32, epochVersion: Int32)
        case stepDown(String)
    }

    /// The current state of everything that the election depends on.
    struct Facts: Sendable {
        let now: ContinuousClock.Instant
        /// A random number from 0 to 1.
        let jitter: Double
        /// The id of the present session, even while it has no connection.
        let sessionID: Int64?
        let isConnected: Bool
        /// All sessions of this process.
        let ownSessions: Set<Int64>
        /// Nil if this node is not a member, or is leaving.
        let incarnation: Int64?
        let reads: RegistryReads
        let register: ViewMachine
        let links: [String: LinkReach]
    }

    /// The controller's znode does not contain a controller's record.
    private struct Fault: Hashable, Sendable {
        /// The version of the znode.
        var version: Int32
        /// Whether this node is the controller.
        var isOwn: Bool
        /// When a node that is not the controller removes the znode.
        var due: ContinuousClock.Instant
    }

    private let settings: ClusterSettings
    private let paths: ClusterPaths
    private(set) var state = State.following
    private(set) var controller: ControllerRecord?
    private var fault: Fault?
    private var complaints = ComplaintMachine()
    /// When this node was last deposed. The cause may still exist, so this node waits longer than others in elections for a while.
    private var deposedAt: ContinuousClock.Instant?
    /// When this node was last linked to at least half of the other nodes.
    private var reachedHalfAt: ContinuousClock.Instant?
    /// The incarnation of the last controller whose znode was removed.
    private var formerController: Int64?
    /// Whether the removal of the controller's znode has no reply yet. The removal must not be repeated before its reply.
    private var isDeposing = false
    /// Whether the write of an election has no reply yet.
    private var isElecting = false

    init(settings: ClusterSettings) {
        self.settings = settings
        self.paths = settings.paths
    }

    var isElected: Bool { if case .elected = self.state { true } else { false } }

    /// The version of this controller's own damaged znode, which it has to write again.
    var damagedVersion: Int32? { self.fault.flatMap { $0.isOwn ? $0.version : nil } }

    // MARK: - The next step

    mutating func proceed(_ facts: Facts) -> [Effect] {
        guard facts.isConnected, facts.incarnation != nil, facts.reads.hasBeenRead(.controller) else { return [] }
        let (effects, isAwaitingRepair) = self.removeDamaged(facts)
        if isAwaitingRepair { return effects }
        switch self.state {
        case .following:
            guard self.controller == nil, facts.reads.isCurrent(.controller) else { return effects }
            // A node that was deposed recently waits longer than all others.
            let patience: Duration = self.deposedAt.map { facts.now < $0.advanced(by: self.settings.deposedMin) } ?? false ? .seconds(3) : .zero
            self.state = .waiting(until: facts.now.advanced(by: patience + .milliseconds(Int(200 * facts.jitter))))
            return effects + self.proceed(facts)
        case .waiting(let until):
            guard self.controller == nil else {
                self.state = .following
                return effects
            }
            guard facts.now >= until else { return effects + [.wake(at: until)] }
            let latest = until.advanced(by: self.settings.isolatedWait)
            guard facts.now >= latest || self.hasReachedHalf(facts) else { return effects + [.wake(at: latest)] }
            self.state = .reading
            return effects + [.perform(.get(path: self.paths.controllerEpoch, watch: false), for: .readEpoch)]
        case .reading, .electing, .elected:
            return effects
        }
    }

    /// Whether this node has links to half of the other nodes, or had such links in the last 10 s. Without such links this node would be a useless controller
    /// that the others have to depose. The former controller and nodes with a closed port are probably dead, and are not counted.
    private func hasReachedHalf(_ facts: Facts) -> Bool {
        if let reachedHalfAt, facts.now < reachedHalfAt.advanced(by: .seconds(10)) { return true }
        return self.reachesHalf(facts.register.view, facts.links)
    }

    private func reachesHalf(_ view: ClusterView?, _ links: [String: LinkReach]) -> Bool {
        let others = (view?.nodes ?? []).filter { node in
            node.id != self.settings.id && node.incarnation != nil && node.incarnation != self.formerController && node.state.mayOwn
                && !(links[node.id].map { $0.incarnation == node.incarnation && $0.refusedSince != nil } ?? false)
        }
        return others.count { links.reaches($0) } * 2 >= others.count
    }

    /// Remembers when this node last reached half of the others. Called at every event, because links may break just before an election.
    mutating func noteReach(_ view: ClusterView?, _ links: [String: LinkReach], at now: ContinuousClock.Instant) {
        guard let view, view.nodes.contains(where: { $0.id != self.settings.id && links.reaches($0) }), self.reachesHalf(view, links) else { return }
        self.reachedHalfAt = now
    }

    // MARK: - Election

    mutating func replied(_ operation: Operation, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ facts: Facts) -> [Effect] {
        switch operation {
        case .readEpoch:
            return self.state == .reading ? self.readEpoch(result, facts) : []
        case .elect(let attempt):
            self.isElecting = false
            guard case .electing = self.state else { return [] }
            guard case .success(.multi(let stats)) = result, let stat = stats.first ?? nil else {
                // Another node was elected first, or the result is unknown. The controller's znode shows which node was elected.
                return self.abandonElection()
            }
            self.state = .elected(epoch: attempt, epochVersion: stat.version, at: facts.now)
            return [.elected(epoch: attempt, epochVersion: stat.version), .record(.elected, about: nil, "elected controller, epoch \(attempt)")]
        case .createEpoch:
            // This node or another one has created the controller epoch.
            return self.state == .reading ? self.wait(.milliseconds(Int(200 * facts.jitter)), facts) : []
        case .depose:
            self.isDeposing = false
            guard case .failure = result else { return [.readAgain(from: nil)] }
            // After a failure this node waits, so that refused removals do not load the servers.
            let again = facts.now.advanced(by: .milliseconds(200))
            return [.readAgain(from: again), .wake(at: again)]
        }
    }

    private mutating func readEpoch(_ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ facts: Facts) -> [Effect] {
        if case .failure(.refused(.noNode, _)) = result { return self.makeEpoch(facts) }
        guard case .success(.node(let data, let stat)) = result, let incarnation = facts.incarnation else { return self.abandonElection() }
        let (epoch, effects) = self.epoch(in: data, facts)
        guard let epoch else { return effects + self.wait(.seconds(1), facts) }
        // ZooKeeper may have lost epochs under which views were written. The new epoch is above all of them, because nodes refuse views of an older epoch.
        let attempt = max(epoch, facts.register.floor.controllerEpoch) + 1
        self.state = .electing(attempt: attempt)
        self.isElecting = true
        let record = ControllerRecord.json(
            ProcessID(id: self.settings.id, incarnation: incarnation), epoch: attempt, epochVersion: stat.version + 1, link: self.settings.link,
            api: self.settings.api)
        let request = ZooKeeperRequest.multi([
            .set(path: self.paths.controllerEpoch, data: Array(String(attempt).utf8), version: stat.version),
            .create(path: self.paths.controller, data: record, ephemeral: true),
        ])
        return effects + [.perform(request, for: .elect(attempt: attempt))]
    }

    /// The epoch that the next election increments. Writes are fenced by the version of the epoch's znode, not by the number in it. So if the number is lost,
    /// the highest epoch of all known views replaces it.
    private func epoch(in data: [UInt8], _ facts: Facts) -> (Int32?, [Effect]) {
        if let epoch = Int32(String(decoding: data, as: UTF8.self)), (0...Int32.max - Int32(ClusterView.headroom)).contains(epoch) { return (epoch, []) }
        let text = "\(self.paths.controllerEpoch) is \(String(decoding: data.prefix(20), as: UTF8.self).debugDescription), which is not a controller epoch"
        let known = facts.register.floor.controllerEpoch
        guard facts.reads.isCurrent(.view), facts.register.mayBeReplaced else {
            return (nil, [.alarm("\(text): no node can be elected until the view can be read, or until the znode is set to \(known)")])
        }
        return (known, [.alarm("\(text): the next controller's epoch will be above \(known), the epoch of the newest view")])
    }

    private mutating func makeEpoch(_ facts: Facts) -> [Effect] {
        guard facts.reads.isCurrent(.view) else { return self.wait(.milliseconds(200), facts) }
        let known = facts.register.floor.controllerEpoch
        return [
            .alarm("ZooKeeper lost \(self.paths.controllerEpoch): this node creates it again with \(known), the epoch of the newest view"),
            .perform(.create(path: self.paths.controllerEpoch, data: Array(String(known).utf8), ephemeral: false), for: .createEpoch),
        ]
    }

    private mutating func wait(_ delay: Duration, _ facts: Facts) -> [Effect] {
        let again = facts.now.advanced(by: delay)
        self.state = .waiting(until: again)
        return [.wake(at: again)]
    }

    private mutating func abandonElection() -> [Effect] {
        self.state = .following
        return [.readAgain(from: nil)]
    }

    // MARK: - The controller's znode

    mutating func found(_ data: [UInt8], _ stat: ZooKeeperStat, _ facts: Facts) -> [Effect] {
        guard let record = ControllerRecord(json: data, stat: stat) else { return self.isUnreadable(stat, facts) }
        self.fault = nil
        self.controller = record
        let isOwn = stat.ephemeralOwner == facts.sessionID
        switch self.state {
        case .elected(let epoch, _, _):
            guard !isOwn || record.epoch != epoch else { return [] }
            return [.stepDown("\(record.id) is the controller now, epoch \(record.epoch)")]
        case .following, .waiting, .reading, .electing:
            // A reply may arrive after the connection was lost. The znode is read again with the next connection.
            guard facts.isConnected else { return [] }
            // The znode belongs to a session that this process has given up.
            // The servers keep the znode for a while, and other nodes cannot detect that it is useless.
            if !isOwn, facts.ownSessions.contains(stat.ephemeralOwner) {
                return self.depose(record, "the znode of this node's former session is removed", facts.reads)
            }
            // This node was elected, and the reply was lost. Without the version of the epoch's znode it cannot write as the controller. So it removes its own
            // znode, and a new election begins.
            guard isOwn, !self.isElecting else { return [] }
            self.isDeposing = true
            return [.perform(.delete(path: self.paths.controller, version: stat.version), for: .depose)]
        }
    }

    /// The controller's znode does not exist. If this node was the controller, another node has removed the znode.
    mutating func absent(_ facts: Facts) -> [Effect] {
        if let controller { self.formerController = controller.incarnation }
        self.controller = nil
        self.fault = nil
        return self.isAsOfNow(.controller, facts) ? [.stepDown("its znode in ZooKeeper was removed")] : []
    }

    /// The controller epoch's znode was read. A controller writes everything under the version of that znode, so it steps down when the version changes.
    mutating func foundEpoch(_ stat: ZooKeeperStat?, _ facts: Facts) -> [Effect] {
        guard case .elected(_, let epochVersion, _) = self.state, self.isAsOfNow(.controllerEpoch, facts), stat?.version != epochVersion else { return [] }
        guard stat == nil else { return [.stepDown("\(self.paths.controllerEpoch) was changed")] }
        return [
            .alarm("ZooKeeper lost \(self.paths.controllerEpoch): the next election creates it again"),
            .stepDown("\(self.paths.controllerEpoch) no longer exists"),
        ]
    }

    /// Whether this node is the controller, and the target was read after the election. An earlier read may show an earlier state.
    private func isAsOfNow(_ target: RegistryReads.Target, _ facts: Facts) -> Bool {
        guard case .elected(_, _, let electedAt) = self.state, let sentAt = facts.reads.sentAt(target) else { return false }
        return sentAt >= electedAt
    }

    private mutating func isUnreadable(_ stat: ZooKeeperStat, _ facts: Facts) -> [Effect] {
        let isOwn = stat.ephemeralOwner == facts.sessionID
        let isLeading = self.isElected && isOwn
        // If the session of the znode's owner is alive, the owner repairs the znode.
        let patience: Duration = isOwn || stat.ephemeralOwner == 0 ? .zero : .seconds(3)
        if self.fault?.version != stat.version {
            self.fault = Fault(
                version: stat.version, isOwn: isLeading, due: facts.now.advanced(by: patience + .milliseconds(Int(200 * facts.jitter))))
        }
        let action =
            isLeading
            ? "this node is the controller and writes it again"
            : "the controller writes it again; if the znode is still damaged after 3 seconds, a node deletes it, and a controller is elected"
        let alarm = Effect.alarm("\(self.paths.controller) cannot be read: \(action)")
        return self.isElected && !isOwn ? [alarm, .stepDown("\(self.paths.controller) belongs to another session")] : [alarm]
    }

    /// Removes a damaged controller's znode when it is due. No node can be elected before that.
    private mutating func removeDamaged(_ facts: Facts) -> (effects: [Effect], isAwaited: Bool) {
        guard let fault, !self.isElected else { return ([], false) }
        guard facts.now >= fault.due else { return ([.wake(at: fault.due)], true) }
        guard facts.reads.isCurrent(.controller), !self.isDeposing else { return ([], true) }
        self.isDeposing = true
        return (
            [
                .record(.deposed, about: nil, "\(self.paths.controller) cannot be read, and is removed"),
                .perform(.delete(path: self.paths.controller, version: fault.version), for: .depose),
            ], true
        )
    }

    /// Removes the znode of the given controller, unless another controller has been elected meanwhile.
    mutating func depose(_ controller: ControllerRecord, _ reason: String, _ reads: RegistryReads) -> [Effect] {
        // If the znode has to be read again, it may have been removed already.
        guard reads.isCurrent(.controller), !self.isDeposing else { return [] }
        self.isDeposing = true
        return [
            .record(.deposed, about: controller.id, reason),
            .perform(
                .multi([
                    .check(path: self.paths.controllerEpoch, version: controller.epochVersion),
                    .delete(path: self.paths.controller, version: controller.stat.version),
                ]), for: .depose),
        ]
    }

    // MARK: - Complaints about the controller

    /// A peer has sent a message.
    mutating func receivedMessage(from peer: ProcessID, at now: ContinuousClock.Instant) {
        guard let controller, controller.process == peer else { return }
        self.complaints.receivedMessage(of: controller, at: now)
    }

    mutating func receivedComplaint(from peer: ProcessID, epoch: Int32, at now: ContinuousClock.Instant) {
        self.complaints.receivedComplaint(from: peer, epoch: epoch, at: now)
    }

    mutating func complain(_ facts: Facts) -> [Effect] {
        guard let controller, controller.id != self.settings.id, facts.isConnected, let incarnation = facts.incarnation else {
            self.complaints.reset()
            return []
        }
        let decision = self.complaints.decide(
            about: controller,
            .init(now: facts.now, settings: self.settings, incarnation: incarnation, view: facts.register.view, links: facts.links))
        var effects: [Effect] = []
        if let wake = decision.wake { effects.append(.wake(at: wake)) }
        if !decision.complainTo.isEmpty { effects.append(.complain(epoch: controller.epoch, to: decision.complainTo)) }
        if let reason = decision.deposes { effects += self.depose(controller, reason, facts.reads) }
        return effects
    }

    // MARK: - The end of an election

    /// Ends this node's part in the election, or its controllership.
    mutating func follow() { self.state = .following }

    mutating func deposed(at now: ContinuousClock.Instant) {
        self.state = .following
        self.deposedAt = now
    }

    mutating func sessionLost() {
        self.state = .following
        self.isDeposing = false
        self.isElecting = false
        self.fault = nil
        // Another node may still be the controller, and reachable over its link, so its record is kept. This node is not the controller any more.
        if self.controller?.id == self.settings.id { self.controller = nil }
    }
}
