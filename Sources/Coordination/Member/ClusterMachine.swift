package import AdminAPI
import JSON
package import Partitioning

/// Decides the next steps of one node in a cluster: joining, following the view, taking over and releasing partitions,
/// and the controller's work if it is elected.
///
/// A pure value without I/O, clock or randomness of its own. ``ClusterCoordinator`` performs its effects in production, and a simulation performs them in
/// tests. Each child machine owns its state. This value passes an event to the child machines that it concerns, and performs their effects. Everything is
/// level-triggered: an event updates the state, and ``reconcile(_:)`` then requests everything that is missing. A failed operation is requested again at the
/// next event or ``Effect/wake(at:)``.
package struct ClusterMachine: Sendable {
    package let settings: ClusterSettings
    /// The session with ZooKeeper, and the znodes that are read in it.
    private(set) var session: MemberSession
    private(set) var configuring: ConfigurationMachine
    private(set) var membership: MembershipMachine
    /// The view.
    private(set) var register: ViewMachine
    private(set) var election: ElectionMachine
    /// Nil unless this node is the controller.
    private(set) var controlling: ControllerMachine?
    private(set) var owning: OwnershipMachine
    /// Links to the other nodes.
    private(set) var peers: PeerTable
    private(set) var reporting: ReportMachine
    private(set) var journal: Journal
    /// Operators' requests.
    private(set) var admin: AdminMachine
    /// The number of views that this node has tried to write to take partitions back.
    private var reclaimCount = 0
    private var departure: DepartureMachine

    /// - Parameters:
    ///   - nonce: a random number. It distinguishes this process from another process with the same id.
    ///   - remembered: the data that the previous process of this node stored.
    package init(settings: ClusterSettings, nonce: UInt64, remembered: RememberedCluster? = nil) {
        self.settings = settings
        self.session = MemberSession(settings: settings)
        self.owning = OwnershipMachine(isLogFencing: settings.isLogFencing, handoffMax: settings.handoffMax)
        self.configuring = ConfigurationMachine(settings: settings, nonce: nonce, remembered: remembered?.configuration)
        self.membership = MembershipMachine(settings: settings, nonce: nonce)
        self.register = ViewMachine(paths: settings.paths, cluster: settings.cluster, memory: ClusterMemory(isKept: settings.keepsMemory, past: remembered))
        self.election = ElectionMachine(settings: settings)
        self.peers = PeerTable(settings: settings)
        self.reporting = ReportMachine(settings: settings)
        self.admin = AdminMachine(settings: settings)
        self.departure = DepartureMachine(id: settings.id)
        self.journal = Journal(ownID: settings.id, alarmMin: settings.alarmMin, wallClock: settings.wallClock)
    }

    package enum Event: Sendable {
        case session(ZooKeeperState)
        /// The watches on these paths have fired.
        case changed(Set<String>)
        /// The result of an ``Effect/perform(token:_:generation:deadline:)``.
        case replied(token: UInt64, Result<ZooKeeperReply, ZooKeeperFailure>)
        /// The time of an ``Effect/wake(at:)`` has been reached. Has no effect if no work is due.
        case ticked
        case linkUp(ProcessID)
        case linkDown(ProcessID, isRefused: Bool, reason: String? = nil)
        /// A peer's heartbeat contains another view version than before.
        case peerView(ProcessID, version: Int64)
        case received(from: ProcessID, payload: [UInt8])
        /// The storage is ready for these grants.
        case sealed([Grant])
        /// The log refused to seal these grants. The machine requests the seal again.
        case sealRefused([Grant])
        /// The log is sealed under newer owner epochs than these grants, and refuses them: at a seal, at a commit, or when the sequencers compare their seals.
        case fenced([Grant])
        /// The storage has finished these grants, and commits nothing more under them.
        case handedOver([Grant])
        /// The storage has finished these grants, and their targets cannot be reached.
        case handoffFailed([Grant])
        case metrics(NodeMetrics)
        /// The result of an ``Effect/remember(number:_:)``. `failure` is nil if the bytes are durable.
        case remembered(number: UInt64, failure: String?)
        /// A fault outside this machine that operators must know.
        case fault(String)
        /// An operator's request at this node.
        case request(number: UInt64, AdminRequest)
        /// Hand all partitions over to other nodes until this time, then leave.
        case depart(until: ContinuousClock.Instant)
        /// Release all partitions and leave.
        case leave
    }

    package enum Effect: Sendable {
        case perform(token: UInt64, ZooKeeperRequest, generation: UInt64, deadline: ContinuousClock.Instant)
        /// Send ``Event/ticked`` at that time. Replaces the time of the previous `wake` effect.
        case wake(at: ContinuousClock.Instant)
        /// The peers to link to, and this node's incarnation and view version for the handshakes. Sent again when one of these values changes.
        case peers([Peer], incarnation: Int64, viewVersion: Int64)
        case send(to: String, payload: [UInt8])
        /// Replace the stored bytes with these bytes, then send ``Event/remembered(number:failure:)``. The bytes must survive a restart.
        case remember(number: UInt64, [UInt8])
        /// Prepare the log for these partitions under their owner epochs, then send ``Event/sealed(_:)``.
        case seal([Grant])
        /// Finish commits in flight and accept no new events, then send ``Event/handedOver(_:)`` or ``Event/handoffFailed(_:)``.
        case handOver([Handoff])
        /// Stop serving these partitions immediately, because they may belong to other nodes now.
        case release([Grant])
        /// The response to a request at this node.
        case respond(number: UInt64, AdminResponse)
        case log(ClusterEvent)
        /// This node cannot be part of the cluster, for this reason.
        case refuse(String)
        /// All partitions have been released.
        case left
    }

    package struct Peer: Hashable, Sendable {
        package var process: ProcessID
        /// `host:port`.
        package var link: String

        package var id: String { self.process.id }
    }

    /// The purpose of an operation on ZooKeeper.
    enum Operation: Hashable, Sendable {
        case read(RegistryReads.Target)
        case configuration(ConfigurationMachine.Operation)
        case membership(MembershipMachine.Operation)
        case election(ElectionMachine.Operation)
        case controller(ControllerMachine.Operation)
        case change(AdminMachine.Change)
        /// Writes a view in which this node takes partitions back.
        case reclaim(ClusterView)
    }

    /// The effects of one event, while they are collected.
    struct Turn {
        let now: ContinuousClock.Instant
        /// A random number from 0 to 1.
        let jitter: Double
        var effects: [Effect] = []
        private(set) var wake: ContinuousClock.Instant?

        mutating func wake(at time: ContinuousClock.Instant) {
            self.wake = self.wake.map { min($0, time) } ?? time
        }
    }

    // MARK: - One event

    /// Handles one event. `now` never goes backwards. Random numbers spread operations that many nodes would otherwise start together.
    package mutating func handle(_ event: Event, at now: ContinuousClock.Instant, using generator: inout some RandomNumberGenerator) -> [Effect] {
        var turn = Turn(now: now, jitter: Double.random(in: 0..<1, using: &generator))
        switch event {
        case .session(let state): self.sessionChanged(state, &turn)
        case .changed(let paths): self.session.reads.markDirty(paths)
        case .replied(let token, let result): self.replied(token, result, &turn)
        case .ticked: break
        case .linkUp(let peer): self.peers.linkUp(peer, at: now)
        case .linkDown(let peer, let isRefused, let reason):
            turn.wake(at: self.peers.linkDown(peer, isRefused: isRefused, reason: reason, at: now))
        case .peerView(let peer, let version): self.register.reported(version, by: peer.id)
        case .received(let peer, let payload): self.received(payload, from: peer, &turn)
        case .sealed(let partitions): self.perform(self.owning.sealed(partitions), &turn)
        case .sealRefused(let partitions): self.owning.refused(partitions)
        case .fenced(let partitions): self.fenced(partitions, &turn)
        case .handedOver(let partitions): self.owning.handedOver(partitions, at: now)
        case .handoffFailed(let partitions): self.owning.handoffFailed(partitions, at: now)
        case .metrics(let metrics): self.reporting.measured(metrics)
        case .remembered(let number, let failure): self.perform(self.register.remembered(number, failure: failure, at: now), &turn)
        case .fault(let sentence): self.raise(sentence, &turn)
        case .request(let number, let request): self.perform(self.admin.handle(request, .local(number), self.adminFacts(turn)), &turn)
        case .depart(let until): self.departure.begin(until: until)
        case .leave: self.membership.leave()
        }
        self.reconcile(&turn)
        return turn.effects
    }

    /// Requests everything that is missing, in the order of dependencies.
    private mutating func reconcile(_ turn: inout Turn) {
        self.reconcileDeparture(&turn)
        if self.isConnected { self.perform(self.membership.proceed(self.membershipFacts(turn)), &turn) }
        self.reconcileReads(&turn)
        self.election.noteReach(self.view, self.peers.links, at: turn.now)
        self.peers.noteIsolation(self.view, isConnected: self.isConnected, at: turn.now)
        self.perform(self.election.proceed(self.electionFacts(turn)), &turn)
        self.perform(self.election.complain(self.electionFacts(turn)), &turn)
        self.reconcileController(&turn)
        self.reconcileOwnership(&turn)
        self.perform(self.register.pull(from: self.peers.links.isUp, at: turn.now), &turn)
        self.reconcilePeers(&turn)
        self.reconcileReport(&turn)
        if self.incarnation != nil, let configuration {
            self.perform(self.register.remember(configuration, isController: self.isController, at: turn.now), &turn)
        }
        if !self.admin.isIdle { self.perform(self.admin.proceed(self.adminFacts(turn)), &turn) }
        if let wake = self.journal.expire(at: turn.now) { turn.wake(at: wake) }
        self.reconcileJoining(&turn)
        if let wake = turn.wake { turn.effects.append(.wake(at: wake)) }
    }

    private mutating func reconcileDeparture(_ turn: inout Turn) {
        guard !self.membership.isLeaving else { return }
        let facts = DepartureMachine.Facts(now: turn.now, incarnation: self.incarnation, isConnected: self.isConnected, view: self.view)
        switch self.departure.proceed(facts) {
        case .nothing: break
        case .announce(let incarnation, let next):
            // This node may be the controller.
            self.leaves(incarnation)
            for id in self.peers.links.up { self.send(.leaving, to: id, &turn) }
            turn.wake(at: next)
        case .wait(let next): turn.wake(at: next)
        case .leave: self.membership.leave()
        }
    }

    private mutating func reconcileReads(_ turn: inout Turn) {
        guard self.isConnected, !self.membership.isLeaving else { return }
        let (requests, wakes) = self.session.reads.next(at: turn.now)
        for (target, request) in requests { self.perform(request, for: .read(target), &turn) }
        for wake in wakes { turn.wake(at: wake) }
    }

    private mutating func reconcileController(_ turn: inout Turn) {
        guard self.isConnected, !self.membership.isLeaving else { return }
        self.control(.look, &turn)
    }

    private mutating func reconcileOwnership(_ turn: inout Turn) {
        guard let view, !self.membership.isLeaving else { return }
        let memory = self.register.memory
        self.perform(
            self.owning.follow(
                view, id: self.settings.id, incarnation: self.incarnation, isConnected: self.isConnected, at: turn.now, isCovered: memory.covers), &turn)
        if let due = self.owning.due, due > turn.now { turn.wake(at: due) }
    }

    private mutating func reconcilePeers(_ turn: inout Turn) {
        guard let incarnation else { return }
        let effect = self.peers.peers(self.view, members: self.controlling?.known.members ?? [:], controller: self.controller, incarnation: incarnation)
        if let effect { turn.effects.append(effect) }
    }

    private mutating func reconcileReport(_ turn: inout Turn) {
        guard let incarnation, self.isController || self.controller.map({ self.peers.links.isUp($0.id) }) ?? false else { return }
        let (report, wake) = self.reporting.next(self.reportFacts(incarnation, at: turn.now))
        turn.wake(at: wake)
        guard let report else { return }
        if self.isController {
            self.control(.reported(report, by: self.settings.id), &turn)
            // The next view may wait for this report.
            if !report.sealed.isEmpty { self.reconcileController(&turn) }
        } else if let controller {
            self.send(.report(report), to: controller.id, &turn)
            // The controller may know only the damaged configuration in ZooKeeper, so this node sends it the intact one.
            if let damaged = self.configuring.damaged { self.send(.configuration(damaged.configuration), to: controller.id, &turn) }
        }
    }

    // MARK: - ZooKeeper

    private mutating func sessionChanged(_ state: ZooKeeperState, _ turn: inout Turn) {
        switch self.session.changed(state) {
        case .unchanged: break
        case .connected(let isNew):
            if isNew {
                self.membership.restart()
                self.configuring.sessionBegan()
            }
        case .lost(let loss):
            self.record(.sessionLost, "the session with ZooKeeper was lost: \(loss.sentence)", &turn)
            self.membership.restart()
            self.stopControlling(&turn)
            self.election.sessionLost()
            self.register.sessionLost()
            self.configuring.sessionLost()
            self.perform(self.owning.membershipLost(), &turn)
        }
    }

    mutating func perform(_ request: ZooKeeperRequest, for operation: Operation, _ turn: inout Turn) {
        turn.effects.append(self.session.perform(request, for: operation, at: turn.now))
    }

    private mutating func replied(_ token: UInt64, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ turn: inout Turn) {
        guard let operation = self.session.replied(token) else { return }
        switch operation {
        case .read(let target): self.read(target, result, &turn)
        case .configuration(let operation):
            if case .failure(let failure) = result { self.membership.failed(failure) }
            let isAwaited = self.membership.state == .configuring
            self.perform(self.configuring.replied(operation, result, isAwaited: isAwaited, at: turn.now), &turn)
        case .membership(let operation): self.perform(self.membership.replied(operation, result, self.membershipFacts(turn)), &turn)
        case .election(let operation): self.perform(self.election.replied(operation, result, self.electionFacts(turn)), &turn)
        case .controller(let operation): self.control(.replied(operation, result), &turn)
        case .change(let change): self.perform(self.admin.replied(change, result, self.adminFacts(turn)), &turn)
        case .reclaim(let view): self.reclaimed(view, result, &turn)
        }
    }

    private mutating func read(_ target: RegistryReads.Target, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ turn: inout Turn) {
        switch self.session.reads.replied(target, result, at: turn.now, jitter: turn.jitter) {
        case .nothing: break
        case .watch(let request): self.perform(request, for: .read(target), &turn)
        case .absent: self.absent(target, &turn)
        case .found(let reply): self.found(target, reply, &turn)
        }
    }

    private mutating func found(_ target: RegistryReads.Target, _ reply: ZooKeeperReply, _ turn: inout Turn) {
        switch (target, reply) {
        case (.configuration, .node(let data, let stat)):
            self.perform(self.configuring.found(data, stat, wasMember: self.membership.wasMember), &turn)
        case (.controller, .node(let data, let stat)): self.perform(self.election.found(data, stat, self.electionFacts(turn)), &turn)
        case (.view, .node(let data, let stat)): self.perform(self.register.found(data, stat, at: turn.now), &turn)
        case (.ownMember, .stat(let stat)): self.perform(self.membership.found(stat, self.membershipFacts(turn)), &turn)
        case (.controllerEpoch, .stat(let stat)): self.perform(self.election.foundEpoch(stat, self.electionFacts(turn)), &turn)
        case (.members, .children(let ids, _)), (.nodes, .children(let ids, _)): self.control(.listed(target, ids), &turn)
        case (.configuration, _), (.controller, _), (.view, _), (.ownMember, _), (.controllerEpoch, _), (.members, _), (.nodes, _): break
        }
    }

    private mutating func absent(_ target: RegistryReads.Target, _ turn: inout Turn) {
        switch target {
        case .configuration: self.perform(self.configuring.absent(wasMember: self.membership.wasMember, at: turn.now), &turn)
        case .controller: self.perform(self.election.absent(self.electionFacts(turn)), &turn)
        case .view: self.perform(self.register.absent(at: turn.now), &turn)
        case .ownMember: self.perform(self.membership.found(nil, self.membershipFacts(turn)), &turn)
        case .controllerEpoch: self.perform(self.election.foundEpoch(nil, self.electionFacts(turn)), &turn)
        case .members, .nodes: self.control(.folderIsAbsent(target), &turn)
        }
    }

    // MARK: - Peers

    mutating func send(_ message: ClusterMessage, to id: String, _ turn: inout Turn) {
        do throws(JSONError) {
            turn.effects.append(.send(to: id, payload: try message.payload()))
        } catch {
            self.raise("a message to \(id) cannot be encoded: \(error)", &turn)
        }
    }

    /// Sends a view to every peer with a link. A peer that misses this message learns the view's version from the next heartbeat,
    /// and reads the view in ZooKeeper.
    private mutating func push(_ view: ClusterView, _ turn: inout Turn) {
        guard let payload = try? ClusterMessage.view(view).payload() else { return }
        for id in self.peers.links.up { turn.effects.append(.send(to: id, payload: payload)) }
    }

    private mutating func received(_ payload: [UInt8], from peer: ProcessID, _ turn: inout Turn) {
        let id = peer.id
        let message: ClusterMessage
        do throws(JSONError) {
            guard let known = try ClusterMessage(payload) else { return }
            message = known
        } catch {
            return self.raise("a message from \(id) cannot be read: \(error)", &turn)
        }
        self.election.receivedMessage(from: peer, at: turn.now)
        switch message {
        case .view(let view): self.accept(view, from: id, &turn)
        case .pull:
            if let view { self.send(.view(view), to: id, &turn) }
        case .report(let report):
            guard self.isController, report.incarnation == peer.incarnation else { return }
            self.control(.reported(report, by: id), &turn)
            self.send(.acknowledged, to: id, &turn)
            // The sender has a newer view than this node. ZooKeeper has lost that view, or it has not arrived here yet.
            if report.viewVersion > self.register.version { self.register.reported(report.viewVersion, by: id) }
        case .acknowledged: break
        case .configuration(let candidate):
            if self.isController { self.perform(self.configuring.receivedFromPeer(candidate), &turn) }
        case .complaint(let epoch): self.election.receivedComplaint(from: peer, epoch: epoch, at: turn.now)
        case .leaving: self.leaves(peer.incarnation)
        case .request(let number, let request): self.perform(self.admin.handle(request, .peer(id, number: number), self.adminFacts(turn)), &turn)
        case .response(let number, let response): self.perform(self.admin.responded(number, response, by: id, self.adminFacts(turn)), &turn)
        }
    }

    private mutating func leaves(_ incarnation: Int64) {
        let members = self.controlling?.known.members.values.map(\.incarnation) ?? []
        self.peers.leaves(incarnation, among: Set(self.view?.nodes.compactMap(\.incarnation) ?? []).union(members))
    }

    @discardableResult
    private mutating func accept(_ view: ClusterView, from source: String, _ turn: inout Turn) -> Bool {
        let (isTaken, effects) = self.register.accept(view, from: source, at: turn.now)
        self.perform(effects, &turn)
        return isTaken
    }

    // MARK: - Partitions that this node takes back

    private mutating func fenced(_ partitions: [Grant], _ turn: inout Turn) {
        guard self.owning.fenced(partitions, at: turn.now) else { return }
        if self.isConnected { self.session.reads.readAgain(.view) }
        for id in self.peers.links.up { self.send(.pull, to: id, &turn) }
    }

    /// Grants partitions to this node under newer owner epochs, in a write that ZooKeeper refuses if there is a newer view. So if the controller writes at the same
    /// time, one of the two writes fails, and its writer reads the view again. While the controller works, this is not needed: it completes or cancels moves.
    private mutating func reclaim(_ grants: [Grant], _ turn: inout Turn) {
        guard let view, let incarnation, let stored = self.register.stored, stored.version == view.version, self.session.reads.isCurrent(.view) else { return }
        if self.owning.isFenced(grants) {
            self.raise(
                "the log is sealed under newer owner epochs than the view has: ZooKeeper has lost grants, or the log was used by another cluster; this node "
                    + "raises the owner epochs of its partitions until the log accepts them", &turn)
        }
        var next = view
        next.version += 1
        self.reclaimCount += 1
        next.writer = "\(self.settings.id)/\(incarnation)/reclaim-\(self.reclaimCount)"
        next.writtenAt = self.settings.wallClock()
        for grant in grants { next.partitions[grant.partition] = .init(owner: self.settings.id, ownerEpoch: grant.ownerEpoch) }
        do throws(JSONError) {
            let data = try next.json()
            self.perform(.multi([.set(path: self.paths.view, data: data, version: stored.stat)]), for: .reclaim(next), &turn)
        } catch {
            self.raise("the view cannot be written: \(error)", &turn)
        }
    }

    private mutating func reclaimed(_ view: ClusterView, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ turn: inout Turn) {
        guard case .success(.multi(let stats)) = result else {
            // The next read shows whether the view was written, or which newer view there is.
            return self.session.reads.readAgain(.view)
        }
        self.wrote(view, stat: stats.last ?? nil, &turn)
    }

    // MARK: - The controller

    /// Passes an event to the controller machine, if this node is the controller.
    mutating func control(_ event: ControllerMachine.Event, _ turn: inout Turn) {
        guard let incarnation else { return }
        let facts = ControllerMachine.Facts(
            now: turn.now, incarnation: incarnation, register: self.register, configuration: self.configuration,
            damagedConfiguration: self.configuring.damaged, damagedController: self.election.damagedVersion, hasFounded: self.configuring.hasFounded,
            links: self.peers.links, leaving: self.peers.leaving, reads: self.session.reads)
        guard let effects = self.controlling?.handle(event, facts) else { return }
        self.perform(effects, &turn)
    }

    private mutating func beginControlling(epoch: Int32, epochVersion: Int32, _ turn: inout Turn) {
        self.controlling = ControllerMachine(settings: self.settings, epoch: epoch, epochVersion: epochVersion, electedAt: turn.now)
        self.session.reads.read(.members, .nodes, .view, .controller, .controllerEpoch)
    }

    /// Ends this node's work as the controller, and responds to the operators whose changes have no result yet.
    private mutating func stopControlling(_ turn: inout Turn) {
        self.election.follow()
        guard self.controlling.take() != nil else { return }
        self.perform(self.admin.stopControlling(self.adminFacts(turn)), &turn)
    }

    mutating func stepDown(_ reason: String, _ turn: inout Turn) {
        guard let controlling else { return }
        self.record(.deposed, "no longer the controller of epoch \(controlling.epoch): \(reason)", &turn)
        self.stopControlling(&turn)
        self.election.deposed(at: turn.now)
        self.session.reads.end(.members, .nodes, .controllerEpoch)
        self.session.reads.readAgain(.controller)
    }

    /// Steps down if there is a view of a higher controller epoch. This happens when ZooKeeper has lost epochs. No node would accept a view of this
    /// controller's epoch. The next election uses a higher epoch.
    private mutating func leaveOldEpoch(_ turn: inout Turn) {
        let known = self.register.floor.controllerEpoch
        guard let controlling, known > controlling.epoch else { return }
        if let controller, controller.epoch == controlling.epoch {
            let reason = "there is a view of controller epoch \(known), and this controller has epoch \(controlling.epoch)"
            self.perform(self.election.depose(controller, reason, self.session.reads), &turn)
        }
        self.stepDown("there is a view of controller epoch \(known)", &turn)
    }

    // MARK: - The journal

    /// - Parameter node: the node that the event is about. Nil for this node.
    mutating func record(_ kind: ClusterEvent.Kind, about node: String? = nil, _ text: String, _ turn: inout Turn) {
        turn.effects.append(.log(self.journal.record(kind, about: node, text, viewVersion: self.register.version)))
    }

    mutating func raise(_ message: String, _ turn: inout Turn) {
        if let event = self.journal.raise(message, viewVersion: self.register.version, at: turn.now) { turn.effects.append(.log(event)) }
    }

    /// Records an operator's request with its reason.
    private mutating func record(_ request: AdminRequest, _ outcome: String?, _ turn: inout Turn) {
        let by = request.by ?? ""
        let note = request.note ?? ""
        let text = request.sentence + (by.isEmpty ? "" : " by \(by)") + (note.isEmpty ? "" : ": \(note)") + (outcome.map { " (\($0))" } ?? "")
        turn.effects.append(
            .log(self.journal.record(operation: text, about: request.node ?? "", by: by, note: note, viewVersion: self.register.version)))
    }

    private mutating func reconcileJoining(_ turn: inout Turn) {
        let obstacle = self.joinObstacle
        let (isDue, seconds, wake) = self.membership.noteObstacle(obstacle, at: turn.now)
        if let wake { turn.wake(at: wake) }
        guard isDue, let obstacle else { return }
        self.record(.waiting, "not in cluster \(self.settings.cluster) for \(seconds) seconds: \(obstacle)", &turn)
    }
}

// MARK: - Effects of the child machines

extension ClusterMachine {
    mutating func perform(_ effects: [ConfigurationMachine.Effect], _ turn: inout Turn) {
        for effect in effects {
            switch effect {
            case .perform(let request, let operation): self.perform(request, for: .configuration(operation), &turn)
            case .makeFoundations:
                for (index, request) in self.settings.paths.foundations.enumerated() { self.perform(request, for: .membership(.makeFoundation(index)), &turn) }
            case .read(let time):
                self.session.reads.read(.configuration)
                guard let time else { continue }
                self.session.reads.readAgain(.configuration, from: time)
                turn.wake(at: time)
            case .joinAgain: self.membership.joinAgain(self.membershipFacts(turn))
            case .alarm(let text): self.raise(text, &turn)
            case .refuse(let reason): self.refuse(reason, &turn)
            }
        }
    }

    mutating func perform(_ effects: [MembershipMachine.Effect], _ turn: inout Turn) {
        for effect in effects {
            switch effect {
            case .perform(let request, let operation): self.perform(request, for: .membership(operation), &turn)
            case .read(let target): self.session.reads.read(target)
            case .readAgain(let target, let time):
                self.session.reads.readAgain(target, from: time)
                turn.wake(at: time)
            case .record(let kind, let text): self.record(kind, text, &turn)
            case .alarm(let text): self.raise(text, &turn)
            case .wake(let time): turn.wake(at: time)
            case .releasePartitions: self.perform(self.membership.isLeaving ? self.owning.releaseAll() : self.owning.membershipLost(), &turn)
            case .stopControlling: self.stopControlling(&turn)
            case .announceLeaving: for id in self.peers.links.up { self.send(.leaving, to: id, &turn) }
            case .refuse(let reason): self.refuse(reason, &turn)
            case .left: turn.effects.append(.left)
            }
        }
    }

    private mutating func refuse(_ reason: String, _ turn: inout Turn) {
        self.perform(self.owning.releaseAll(), &turn)
        self.membership.refused()
        turn.effects.append(.refuse(reason))
    }

    mutating func perform(_ effects: [ViewMachine.Effect], _ turn: inout Turn) {
        for effect in effects {
            switch effect {
            case .adopted(let view, let before):
                var reasons = ViewReasons()
                if let (writer, known) = self.controlling?.reasons, writer == view.writer { reasons = known }
                turn.effects += self.journal.record(view, before: before, reasons).map { .log($0) }
            case .alarm(let text): self.raise(text, &turn)
            case .readAgain(let time): self.session.reads.readAgain(.view, from: time)
            case .remember(let number, let bytes): turn.effects.append(.remember(number: number, bytes))
            case .pull(let ids): for id in ids { self.send(.pull, to: id, &turn) }
            case .wake(let time): turn.wake(at: time)
            }
        }
        self.leaveOldEpoch(&turn)
    }

    mutating func perform(_ effects: [ElectionMachine.Effect], _ turn: inout Turn) {
        for effect in effects {
            switch effect {
            case .perform(let request, let operation): self.perform(request, for: .election(operation), &turn)
            case .readAgain(let time): self.session.reads.readAgain(.controller, from: time)
            case .record(let kind, let node, let text): self.record(kind, about: node, text, &turn)
            case .alarm(let text): self.raise(text, &turn)
            case .wake(let time): turn.wake(at: time)
            case .complain(let epoch, let ids): for id in ids { self.send(.complaint(epoch: epoch), to: id, &turn) }
            case .elected(let epoch, let epochVersion): self.beginControlling(epoch: epoch, epochVersion: epochVersion, &turn)
            case .stepDown(let reason): self.stepDown(reason, &turn)
            }
        }
    }

    mutating func perform(_ effects: [ControllerMachine.Effect], _ turn: inout Turn) {
        for effect in effects {
            switch effect {
            case .perform(let request, let operation): self.perform(request, for: .controller(operation), &turn)
            case .readAgain(let target): self.session.reads.readAgain(target)
            case .markDirty(let path): self.session.reads.markDirty([path])
            case .wrote(let view, let stat): self.wrote(view, stat: stat, &turn)
            case .record(let kind, let node, let text): self.record(kind, about: node, text, &turn)
            case .reported(let alarm, let node, let version):
                turn.effects.append(.log(self.journal.record(.alarm, about: node, alarm, viewVersion: version)))
            case .alarm(let text): self.raise(text, &turn)
            case .wake(let time): turn.wake(at: time)
            case .stepDown(let reason): self.stepDown(reason, &turn)
            }
        }
    }

    private mutating func wrote(_ view: ClusterView, stat: ZooKeeperStat?, _ turn: inout Turn) {
        self.register.wrote(view, stat: stat)
        // ZooKeeper also notifies other nodes. One of them may have sent the view here before the reply arrived.
        let isKnown = self.view?.version == view.version
        if self.accept(view, from: "this node", &turn) || isKnown {
            self.push(view, &turn)
        } else {
            // A peer's newer view has arrived meanwhile, or the written view contradicts the newest view.
            self.control(.viewRefused, &turn)
        }
    }

    mutating func perform(_ effects: [AdminMachine.Effect], _ turn: inout Turn) {
        for effect in effects {
            switch effect {
            case .respond(let response, .local(let number)): turn.effects.append(.respond(number: number, response))
            case .respond(let response, .peer(let id, let number)): self.send(.response(number: number, response), to: id, &turn)
            case .forward(let number, let request, let id): self.send(.request(number: number, request), to: id, &turn)
            case .perform(let parts, let change): if let controlling { self.perform(controlling.fenced(parts), for: .change(change), &turn) }
            case .record(let request, let outcome): self.record(request, outcome, &turn)
            case .readAgain(let target): self.session.reads.readAgain(target)
            case .stepDown(let reason): self.stepDown(reason, &turn)
            case .wake(let time): turn.wake(at: time)
            }
        }
    }

    mutating func perform(_ effects: [OwnershipMachine.Effect], _ turn: inout Turn) {
        for effect in effects {
            switch effect {
            case .seal(let partitions): turn.effects.append(.seal(partitions))
            case .handOver(let handoffs): turn.effects.append(.handOver(handoffs))
            case .release(let partitions): turn.effects.append(.release(partitions))
            case .reclaim(let grants): self.reclaim(grants, &turn)
            }
        }
    }
}

// MARK: - State that child machines read from each other

extension ClusterMachine {
    private func membershipFacts(_ turn: Turn) -> MembershipMachine.Facts {
        let isRead = self.session.reads.isCurrent(.configuration) && self.configuring.absentSince == nil
        let configuration = isRead ? self.configuring.configuration : nil
        return .init(
            now: turn.now, jitter: turn.jitter, sessionID: self.session.id, sessionTimeout: self.session.timeout, ownSessions: self.session.own,
            configuration: configuration,
            incompatibility: configuration.flatMap { self.configuring.incompatibility(of: $0, wasMember: self.membership.wasMember) },
            usedIncarnations: [self.view, self.register.memory.past?.view].compactMap { $0?.node(self.settings.id)?.incarnation })
    }

    private func electionFacts(_ turn: Turn) -> ElectionMachine.Facts {
        .init(
            now: turn.now, jitter: turn.jitter, sessionID: self.session.id, isConnected: self.isConnected, ownSessions: self.session.own,
            incarnation: self.membership.isLeaving ? nil : self.incarnation, reads: self.session.reads, register: self.register, links: self.peers.links)
    }

    private func reportFacts(_ incarnation: Int64, at now: ContinuousClock.Instant) -> ReportMachine.Facts {
        .init(
            now: now, incarnation: incarnation, viewVersion: self.register.version, partitions: self.ownership, links: self.peers.links,
            controller: self.controller, session: self.session.state, alarm: self.alarm)
    }

    private func adminFacts(_ turn: Turn) -> AdminMachine.Facts {
        let machine = self
        return .init(
            now: turn.now, view: self.view, configuration: self.configuration, configurationVersion: self.configuring.version, reads: self.session.reads,
            controlling: self.controlling,
            reachable: self.controller.flatMap { self.links.isUp($0.id) ? $0.id : nil }, noControllerReason: self.noControllerReason, outage: self.outage
        ) { machine.localResponse(to: $0, at: turn.now, without: $1) }
    }

    /// This node's report about itself. Also available while this node is not a member.
    func report(at now: ContinuousClock.Instant) -> NodeReport {
        self.reporting.report(self.reportFacts(self.incarnation ?? self.view?.node(self.settings.id)?.incarnation ?? 0, at: now))
    }

    package var view: ClusterView? { self.register.view }
    package var configuration: ClusterConfiguration? { self.configuring.configuration }
    package var incarnation: Int64? { self.membership.incarnation }
    package var controller: ControllerRecord? { self.election.controller }
    package var isController: Bool { self.controlling != nil }
    package var ownership: [Int: Ownership] { self.owning.partitions }
    package var alarm: String? { self.journal.alarm }
    package var history: ClusterHistory { self.journal.history }
    var isConnected: Bool { self.session.isConnected }
    var paths: ClusterPaths { self.settings.paths }
    var links: [String: LinkReach] { self.peers.links }

    /// Why no view can be written by this node, or by another controller with the same knowledge. Nil if a view can be written.
    var obstacle: String? {
        self.register.mayBeReplaced ? self.controlling?.invalid : "the view in ZooKeeper cannot be read; \(self.register.advice)"
    }

    /// Whether this node has had no link to any other member for longer than a dead member stays in the view. Never true for the controller: the other members
    /// must reach the controller, not the reverse.
    package func isIsolated(at now: ContinuousClock.Instant) -> Bool {
        self.membership.joinWatch.hasJoined && !self.isController && self.peers.isIsolated(at: now)
    }
}
