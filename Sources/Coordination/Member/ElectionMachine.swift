import AdminAPI

/// Knows the current controller, and makes this node the controller when it is elected. A pure value.
///
/// Elected is the node that writes the next controller epoch and the controller's znode together. What it decides then is ``ControllerMachine``'s.
struct ElectionMachine: Sendable {
    enum State: Hashable, Sendable {
        /// Another node is the controller, or none yet.
        /// Can transition to: waiting (no controller exists).
        case following
        /// There is no controller; tries at a random moment, so that not all nodes try together.
        /// Can transition to: reading, following.
        case waiting(until: ContinuousClock.Instant)
        /// Reads the controller epoch.
        /// Can transition to: electing, waiting, following.
        case reading
        /// Tries to write the next epoch and the controller's znode together.
        /// Can transition to: elected, following (another node was, or it is not known).
        case electing(attempt: Int32)
        /// Can transition to: following (deposed, or its session is lost).
        case elected(epoch: Int32, epochVersion: Int32, at: ContinuousClock.Instant)
    }

    enum Operation: Hashable, Sendable {
        case readEpoch
        /// Makes the controller epoch again.
        case createEpoch
        case elect(attempt: Int32)
        /// Removes the controller's znode.
        case depose
    }

    enum Effect: Hashable, Sendable {
        case perform(ZooKeeperRequest, for: Operation)
        /// Read the controller's znode again, and not before.
        case readAgain(from: ContinuousClock.Instant?)
        case record(ClusterEvent.Kind, about: String?, String)
        case alarm(String)
        case wake(at: ContinuousClock.Instant)
        /// Send a complaint about the controller of that epoch.
        case complain(epoch: Int32, to: [String])
        case elected(epoch: Int32, epochVersion: Int32)
        case stepDown(String)
    }

    /// What the election depends on, as it is now.
    struct Facts: Sendable {
        let now: ContinuousClock.Instant
        /// 0 to 1.
        let jitter: Double
        let sessionID: Int64?
        /// All sessions of this process.
        let ownSessions: Set<Int64>
        /// Nil while this node is no member, or leaves.
        let incarnation: Int64?
        let reads: RegistryReads
        let register: ViewMachine
        let links: [String: LinkReach]
    }

    /// The controller's znode has something else than a controller's record.
    private struct Fault: Hashable, Sendable {
        var version: Int32
        /// This node is the controller.
        var isOwn: Bool
        /// When nodes that are not the controller remove it.
        var due: ContinuousClock.Instant
    }

    private let settings: ClusterSettings
    private let paths: ClusterPaths
    private(set) var state = State.following
    private(set) var controller: ControllerRecord?
    private var fault: Fault?
    private var complaints = ComplaintMachine()
    /// When it was deposed last: whatever held it up may hold it up again.
    private var deposedAt: ContinuousClock.Instant?
    /// When this node was last linked to at least half of the others.
    private var reachedHalfAt: ContinuousClock.Instant?
    /// The incarnation of the last controller whose node is gone.
    private var formerController: Int64?
    /// Operations without a reply, that must not be repeated.
    private var isDeposing = false
    private var isElecting = false

    init(settings: ClusterSettings) {
        self.settings = settings
        self.paths = settings.paths
    }

    var isElected: Bool { if case .elected = self.state { true } else { false } }

    /// The version of the own znode that this node, as the controller, has to write again.
    var damagedVersion: Int32? { self.fault.flatMap { $0.isOwn ? $0.version : nil } }

    // MARK: - The next step

    mutating func proceed(_ facts: Facts) -> [Effect] {
        guard facts.sessionID != nil, facts.incarnation != nil, facts.reads.hasBeenRead(.controller) else { return [] }
        let (effects, isAwaitingRepair) = self.removeDamaged(facts)
        if isAwaitingRepair { return effects }
        switch self.state {
        case .following:
            guard self.controller == nil, facts.reads.isCurrent(.controller) else { return effects }
            // A node that was deposed lets all others go first.
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

    /// Whether this node has links to half of the others, or had lately. A controller without them is of no use, and the others would have to depose it: they
    /// go first. Nodes that are dead do not count: those whose port is closed, and the controller that is gone.
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

    /// Called at every event: what was true a moment ago may be what the next election depends on.
    mutating func noteReach(_ view: ClusterView?, _ links: [String: LinkReach], at now: ContinuousClock.Instant) {
        guard let view, view.nodes.contains(where: { $0.id != self.settings.id && links.reaches($0) }), self.reachesHalf(view, links) else { return }
        self.reachedHalfAt = now
    }

    // MARK: - Being elected

    mutating func replied(_ operation: Operation, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ facts: Facts) -> [Effect] {
        switch operation {
        case .readEpoch:
            return self.state == .reading ? self.readEpoch(result, facts) : []
        case .elect(let attempt):
            self.isElecting = false
            guard case .electing = self.state else { return [] }
            guard case .success(.multi(let stats)) = result, let stat = stats.first ?? nil else {
                // Another node was first, or the result is unknown. Then the controller's znode shows which node was elected.
                return self.standBack()
            }
            self.state = .elected(epoch: attempt, epochVersion: stat.version, at: facts.now)
            return [.elected(epoch: attempt, epochVersion: stat.version), .record(.elected, about: nil, "elected controller, epoch \(attempt)")]
        case .createEpoch:
            // The controller epoch was made again, by this node or by another one.
            return self.state == .reading ? self.wait(.milliseconds(Int(200 * facts.jitter)), facts) : []
        case .depose:
            self.isDeposing = false
            guard case .failure = result else { return [.readAgain(from: nil)] }
            // One that the servers refuse is not repeated as fast as they can.
            let again = facts.now.advanced(by: .milliseconds(200))
            return [.readAgain(from: again), .wake(at: again)]
        }
    }

    private mutating func readEpoch(_ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ facts: Facts) -> [Effect] {
        if case .failure(.refused(.noNode, _)) = result { return self.makeEpoch(facts) }
        guard case .success(.node(let data, let stat)) = result, let incarnation = facts.incarnation else { return self.standBack() }
        let (epoch, effects) = self.epoch(in: data, facts)
        guard let epoch else { return effects + self.wait(.seconds(1), facts) }
        // A register that lost writes may have lost epochs, too, under which views were written: all nodes refuse an older one.
        let attempt = max(epoch, facts.register.floor.controllerEpoch) + 1
        self.state = .electing(attempt: attempt)
        self.isElecting = true
        let record = ControllerRecord.json(
            id: self.settings.id, incarnation: incarnation, epoch: attempt, epochVersion: stat.version + 1, link: self.settings.link, api: self.settings.api)
        let request = ZooKeeperRequest.multi([
            .set(path: self.paths.controllerEpoch, data: Array(String(attempt).utf8), version: stat.version),
            .create(path: self.paths.controller, data: record, ephemeral: true),
        ])
        return effects + [.perform(request, for: .elect(attempt: attempt))]
    }

    /// The number that the next election counts on from. Its znode's version fences, so a lost number only has to be above those of all views.
    private func epoch(in data: [UInt8], _ facts: Facts) -> (Int32?, [Effect]) {
        if let epoch = Int32(String(decoding: data, as: UTF8.self)), (0...Int32.max - Int32(ClusterView.room)).contains(epoch) { return (epoch, []) }
        let text = "\(self.paths.controllerEpoch) is \(String(decoding: data.prefix(20), as: UTF8.self).debugDescription), and not a number to count on from"
        let known = facts.register.floor.controllerEpoch
        guard facts.reads.isCurrent(.view), facts.register.mayBeReplaced else {
            return (nil, [.alarm("\(text): no node can be elected before the view can be read, or before it is set to \(known)")])
        }
        return (known, [.alarm("\(text): the next controller's epoch is above that of the newest view, \(known)")])
    }

    private mutating func makeEpoch(_ facts: Facts) -> [Effect] {
        guard facts.reads.isCurrent(.view) else { return self.wait(.milliseconds(200), facts) }
        let known = facts.register.floor.controllerEpoch
        return [
            .alarm("ZooKeeper lost \(self.paths.controllerEpoch): it is made again with the epoch of the newest view, \(known)"),
            .perform(.create(path: self.paths.controllerEpoch, data: Array(String(known).utf8), ephemeral: false), for: .createEpoch),
        ]
    }

    private mutating func wait(_ delay: Duration, _ facts: Facts) -> [Effect] {
        let again = facts.now.advanced(by: delay)
        self.state = .waiting(until: again)
        return [.wake(at: again)]
    }

    private mutating func standBack() -> [Effect] {
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
            // Of a session that this process has given up, and that the servers keep for a while: no other node can know that.
            if !isOwn, facts.ownSessions.contains(stat.ephemeralOwner) {
                return self.depose(record, "the controller's znode of this node's former session is removed", facts.reads)
            }
            // Ours, by a write whose reply was lost. Without the epoch's version nothing can be written under it: begin again.
            guard isOwn, !self.isElecting else { return [] }
            self.isDeposing = true
            return [.perform(.delete(path: self.paths.controller, version: stat.version), for: .depose)]
        }
    }

    /// The controller's znode is gone. If it was this node's, another one has removed it.
    mutating func absent(_ facts: Facts) -> [Effect] {
        if let controller { self.formerController = controller.incarnation }
        self.controller = nil
        self.fault = nil
        return self.isAsOfNow(.controller, facts) ? [.stepDown("its znode in ZooKeeper was removed")] : []
    }

    /// Everything is written under the version of that znode: without it this controller can do nothing more.
    mutating func foundEpoch(_ stat: ZooKeeperStat?, _ facts: Facts) -> [Effect] {
        guard case .elected(_, let epochVersion, _) = self.state, self.isAsOfNow(.controllerEpoch, facts), stat?.version != epochVersion else { return [] }
        guard stat == nil else { return [.stepDown("\(self.paths.controllerEpoch) was changed")] }
        return [
            .alarm("ZooKeeper lost \(self.paths.controllerEpoch): a controller is elected again, which makes it again"),
            .stepDown("\(self.paths.controllerEpoch) is gone"),
        ]
    }

    /// Whether this node is the controller, and the target was read since: a read that was sent before the election may show the time before it.
    private func isAsOfNow(_ target: RegistryReads.Target, _ facts: Facts) -> Bool {
        guard case .elected(_, _, let electedAt) = self.state, let sentAt = facts.reads.sentAt(target) else { return false }
        return sentAt >= electedAt
    }

    private mutating func isUnreadable(_ stat: ZooKeeperStat, _ facts: Facts) -> [Effect] {
        let isOwn = stat.ephemeralOwner == facts.sessionID
        let isLeading = self.isElected && isOwn
        // Its session lives, and its owner writes it again.
        let patience: Duration = isOwn || stat.ephemeralOwner == 0 ? .zero : .seconds(3)
        if self.fault?.version != stat.version {
            self.fault = Fault(
                version: stat.version, isOwn: isLeading, due: facts.now.advanced(by: patience + .milliseconds(Int(200 * facts.jitter))))
        }
        let action =
            isLeading
            ? "this node is the controller and writes it again"
            : "the controller writes it again; if it does not within 3 seconds, it is deleted, and a controller is elected"
        let alarm = Effect.alarm("\(self.paths.controller) cannot be read: \(action)")
        return self.isElected && !isOwn ? [alarm, .stepDown("\(self.paths.controller) belongs to another session")] : [alarm]
    }

    /// Removes the controller's znode when it is damaged and its time is over. No node can be elected before that.
    private mutating func removeDamaged(_ facts: Facts) -> (effects: [Effect], isAwaited: Bool) {
        guard let fault, !self.isElected else { return ([], false) }
        guard facts.now >= fault.due else { return ([.wake(at: fault.due)], true) }
        guard facts.reads.isCurrent(.controller), !self.isDeposing else { return ([], true) }
        self.isDeposing = true
        return (
            [
                .record(.deposed, about: nil, "\(self.paths.controller) cannot be read: it is removed"),
                .perform(.delete(path: self.paths.controller, version: fault.version), for: .depose),
            ], true
        )
    }

    /// Removes the controller's znode, and not that of a node that has been elected since.
    mutating func depose(_ controller: ControllerRecord, _ reason: String, _ reads: RegistryReads) -> [Effect] {
        // Until it has been read again, it may be gone already.
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

    /// A peer has sent something.
    mutating func heard(from id: String, _ incarnation: Int64, at now: ContinuousClock.Instant) {
        guard let controller, controller.id == id, controller.incarnation == incarnation else { return }
        self.complaints.heard(controller, at: now)
    }

    mutating func complained(_ id: String, _ incarnation: Int64, epoch: Int32, at now: ContinuousClock.Instant) {
        self.complaints.received(from: id, incarnation, epoch: epoch, at: now)
    }

    mutating func complain(_ facts: Facts) -> [Effect] {
        guard let controller, controller.id != self.settings.id, facts.sessionID != nil, let incarnation = facts.incarnation else {
            self.complaints.rest()
            return []
        }
        let look = self.complaints.look(
            at: controller,
            .init(now: facts.now, settings: self.settings, incarnation: incarnation, view: facts.register.view, links: facts.links))
        var effects: [Effect] = []
        if let wake = look.wake { effects.append(.wake(at: wake)) }
        if !look.complainTo.isEmpty { effects.append(.complain(epoch: controller.epoch, to: look.complainTo)) }
        if let reason = look.deposes { effects += self.depose(controller, reason, facts.reads) }
        return effects
    }

    // MARK: - The end of it

    /// Whatever this node was in the election.
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
        // Another node is still the controller as far as is known, and can be reached over its link. This node is not.
        if self.controller?.id == self.settings.id { self.controller = nil }
    }
}
