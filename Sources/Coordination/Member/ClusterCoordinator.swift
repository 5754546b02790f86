package import AdminAPI
import Partitioning

/// Makes this node a member of its cluster: performs the effects of ``ClusterMachine`` on ZooKeeper, the links and the log.
///
/// All effects are performed inside ``run()``, on the cooperative pool. No published event passes through this actor.
package actor ClusterCoordinator: ClusterAdministration {
    private let client: ZooKeeperClient
    private let transport: any ClusterTransport
    private let storage: any PartitionStorage
    private let memory: (any ClusterMemoryStore)?
    private let onEvent: @Sendable (ClusterEvent) -> Void
    private let leaveTimeout: Duration
    nonisolated let inbox = CoordinatorInbox()

    private var machine: ClusterMachine
    private var generator = SystemRandomNumberGenerator()
    private var nextRequest: UInt64 = 1
    private var waiting: [UInt64: CheckedContinuation<AdminResponse, Never>] = [:]
    private var scheduledWake: ContinuousClock.Instant?
    private var refusal: String?
    private var isFinished = false

    /// - Parameters:
    ///   - remembered: the contents of `memory`.
    ///   - onEvent: called with each event of the history, in order.
    package init(
        settings: ClusterSettings, client: ZooKeeperClient, transport: any ClusterTransport, storage: any PartitionStorage,
        leaveTimeout: Duration = .seconds(3), memory: (any ClusterMemoryStore)? = nil, remembered: RememberedCluster? = nil,
        onEvent: @escaping @Sendable (ClusterEvent) -> Void
    ) {
        var settings = settings
        settings.keepsMemory = memory != nil
        self.memory = memory
        self.client = client
        self.transport = transport
        self.storage = storage
        self.onEvent = onEvent
        self.leaveTimeout = leaveTimeout
        self.machine = ClusterMachine(settings: settings, nonce: UInt64.random(in: 1...UInt64.max), remembered: remembered)
    }

    /// Keeps this node a member until ``leave()``, or until its task is cancelled. Throws ``ClusterRefusal`` if this node cannot be part of the cluster.
    package func run() async throws(ClusterRefusal) {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.client.run() }
            group.addTask { [client, inbox] in for await state in client.states { inbox.put(.session(state)) } }
            group.addTask { [client, inbox] in for await paths in client.changes { await inbox.offer(.changed(paths)) } }
            while let events = await self.inbox.take() { for event in events { self.step(event, in: &group) } }
            // Closing the session removes the member znode immediately, if it still exists.
            await self.client.close()
            group.cancelAll()
        }
        self.finish()
        if let refusal = self.refusal { throw ClusterRefusal(reason: refusal) }
    }

    /// Releases all partitions and ends ``run()``. If ZooKeeper does not respond, this takes the initializer's `leaveTimeout`,
    /// and up to 4.5 s more to close the session.
    package nonisolated func leave() { self.inbox.put(.leave) }

    /// Hands the partitions over to other nodes until `deadline` at the latest, then begins to do the same as ``leave()``. Returns when that begins: the partitions are
    /// handed over, or are being released.
    package func depart(until deadline: ContinuousClock.Instant) async {
        guard !self.isFinished, !self.isLeaving else { return }
        self.inbox.put(.depart(until: deadline))
        await withCheckedContinuation { self.departing.append($0) }
    }

    private var isLeaving = false
    private var departing: [CheckedContinuation<Void, Never>] = []

    private func departed() {
        for continuation in self.departing { continuation.resume() }
        self.departing = []
    }

    /// Accepts an event of the links or the process. Returns when the event is in the inbox. A caller that forwards peers' messages waits for this, so that it
    /// reads no more messages than the inbox can hold.
    package nonisolated func deliver(_ event: ClusterMachine.Event) async { await self.inbox.offer(event) }

    /// Forwards the request to the controller, and returns the controller's response or this node's own response.
    package func respond(to request: AdminRequest) async -> AdminResponse {
        guard !self.isFinished else { return .failed(.stopping, "this node has left the cluster") }
        let number = self.nextRequest
        self.nextRequest += 1
        return await withCheckedContinuation { continuation in
            self.waiting[number] = continuation
            self.inbox.put(.request(number: number, request))
        }
    }

    /// The session timeout that the servers granted. Nil without a session.
    package var sessionTimeout: Duration? {
        self.machine.session.timeout
    }

    /// See ``ZooKeeperClient/isSessionValid``. A log that does not fence asks before each commit.
    package nonisolated var isSessionValid: Bool { self.client.isSessionValid }

    package var partitionCount: Int { self.machine.configuration?.partitionCount ?? 0 }

    /// This node's state in its cluster, for this node's metrics and status.
    package var summary: ClusterSummary {
        ClusterSummary(
            name: self.machine.settings.cluster, incarnation: self.machine.incarnation, viewVersion: self.machine.view?.version ?? 0,
            state: self.machine.view?.node(self.machine.settings.id)?.state,
            hasOther: self.machine.view?.nodes.contains { $0.id != self.machine.settings.id && ($0.state == .active || $0.state == .cordoned) } ?? false,
            controller: self.machine.controller?.id, isController: self.machine.isController,
            partitions: self.machine.ownership.values.reduce(into: [:]) { $0[$1.state, default: 0] += 1 }, session: self.machine.session.state.phase.name,
            outage: self.machine.outage, sessions: self.machine.session.state.generation, alarm: self.machine.alarm,
            unserved: self.machine.controlling?.unservedTooLong(at: .now).count ?? 0, events: self.machine.history.counts,
            hasJoined: self.machine.membership.joinWatch.hasJoined,
            obstacle: self.machine.membership.joinWatch.reason, isIsolated: self.machine.isIsolated(at: .now))
    }

    // MARK: -

    private func step(_ event: ClusterMachine.Event, in group: inout DiscardingTaskGroup) {
        for effect in self.machine.handle(event, at: .now, using: &self.generator) { self.perform(effect, in: &group) }
        guard self.machine.membership.isLeaving, !self.isLeaving else { return }
        self.isLeaving = true
        self.departed()
        group.addTask { [inbox, leaveTimeout] in
            // If ZooKeeper does not respond.
            try? await Task.sleep(for: leaveTimeout)
            inbox.finish()
        }
    }

    private func perform(_ effect: ClusterMachine.Effect, in group: inout DiscardingTaskGroup) {
        switch effect {
        case .perform(let token, let request, let generation, let deadline):
            group.addTask { [client, inbox] in
                let result = await client.perform(request, generation: generation, deadline: deadline)
                inbox.put(.replied(token: token, result))
            }
        case .wake(let time):
            // An earlier wake that is no longer needed only causes one unnecessary tick.
            if let scheduled = self.scheduledWake, scheduled <= time, scheduled > .now { return }
            self.scheduledWake = time
            group.addTask { [inbox] in
                // The task sleeps in steps, because its clock may stop while the computer is suspended.
                while !Task.isCancelled, .now < time { try? await Task.sleep(until: min(time, .now + .seconds(1)), clock: .continuous) }
                inbox.put(.ticked)
            }
        case .peers(let peers, let incarnation, let viewVersion):
            self.transport.setPeers(peers, incarnation: incarnation, viewVersion: viewVersion)
        case .send(let id, let payload):
            self.transport.send(payload, to: id)
        case .remember(let number, let bytes):
            guard let memory else { return }
            group.addTask { [inbox] in
                let failure = await memory.save(bytes)
                inbox.put(.remembered(number: number, failure: failure))
            }
        case .seal(let partitions):
            group.addTask { [storage, inbox] in
                let refusals = await storage.seal(partitions)
                let all = Set(refusals.map(\.grant))
                inbox.put(.sealed(partitions.filter { !all.contains($0) }))
                let fenced = refusals.filter(\.isFenced).map(\.grant)
                if !fenced.isEmpty { inbox.put(.fenced(fenced)) }
                let failed = refusals.filter { !$0.isFenced }
                guard let first = failed.first else { return }
                await inbox.offer(
                    .fault(
                        "the log refuses \(failed.count == 1 ? "a partition" : "\(failed.count) partitions") of this node; retrying every second: \(first.reason)"
                    ))
                // The machine requests refused grants again immediately after this event, so the event waits a second.
                try? await Task.sleep(for: .seconds(1))
                inbox.put(.sealRefused(failed.map(\.grant)))
            }
        case .handOver(let handoffs):
            // With a log that fences, a handoff takes no longer than a commit, and one report contains all of them. Otherwise the content of each partition is carried
            // to the next owner, and no partition waits for another one.
            for handoffs in self.machine.settings.isLogFencing ? [handoffs] : handoffs.map({ [$0] }) {
                group.addTask { [storage, inbox] in
                    let failed = await storage.handOver(handoffs)
                    if !failed.isEmpty { inbox.put(.handoffFailed(failed)) }
                    let unreached = Set(failed)
                    inbox.put(.handedOver(handoffs.map(\.grant).filter { !unreached.contains($0) }))
                }
            }
        case .release(let partitions):
            group.addTask { [storage] in await storage.release(partitions) }
        case .respond(let number, let response):
            self.waiting.removeValue(forKey: number)?.resume(returning: response)
        case .log(let event):
            self.onEvent(event)
        case .refuse(let reason):
            self.refusal = reason
            self.inbox.finish()
        case .left:
            self.inbox.finish()
        }
    }

    private func finish() {
        self.isFinished = true
        self.departed()
        for continuation in self.waiting.values { continuation.resume(returning: .failed(.stopping, "this node is leaving the cluster")) }
        self.waiting = [:]
    }
}

/// The coordinator's access to the links. Calls keep their order and do not wait.
package protocol ClusterTransport: Sendable {
    func setPeers(_ peers: [ClusterMachine.Peer], incarnation: Int64, viewVersion: Int64)
    /// The message is lost if there is no link, or if the link is full. The machine repeats messages that it still needs.
    func send(_ payload: [UInt8], to id: String)
}

/// Why this node cannot be part of its cluster, and what to change.
package struct ClusterRefusal: Error, CustomStringConvertible {
    package let reason: String
    package var description: String { self.reason }
}

/// One node's knowledge of its cluster, for that node's metrics and status.
package struct ClusterSummary: Sendable {
    package var name: String
    package var incarnation: Int64?
    package var viewVersion: Int64
    /// This node's state in the view. Nil if the view does not contain it.
    package var state: NodeState?
    /// Whether there is another node that subscribers can move to.
    package var hasOther: Bool
    /// The id of the controller, if this node knows it.
    package var controller: String?
    package var isController: Bool
    package var partitions: [Ownership.State: Int]
    /// The state of the session with ZooKeeper: a ``ZooKeeperState/Phase/name``.
    package var session: String
    /// The outage of ZooKeeper. Nil while there is a connection.
    package var outage: ZooKeeperOutage?
    /// The number of sessions that this process has opened or tried to open.
    package var sessions: UInt64
    package var alarm: String?
    /// The number of granted partitions that have not been served for a while. Always 0 on a node that is not the controller.
    package var unserved: Int
    package var events: [ClusterEvent.Kind: Int]
    /// Whether the controller has accepted this node, now or earlier.
    package var hasJoined: Bool
    /// Why this node has not joined, if it has tried for ``JoinWatch/patience``. Nil if this node has joined.
    package var obstacle: String?
    /// Whether this node has no link to any other member. See ``ClusterMachine/isIsolated(at:)``.
    package var isIsolated: Bool

    package var isDraining: Bool { self.state == .draining || self.state == .drained }

    package func count(_ state: Ownership.State) -> Int { self.partitions[state] ?? 0 }
}
