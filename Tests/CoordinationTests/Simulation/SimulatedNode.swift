@testable import Coordination

/// One process: a machine, its session as its client sees it, its links, and a storage that takes a moment.
final class SimulatedNode {
    let id: String
    let process: Int
    private unowned let simulation: Simulation
    private(set) var machine: ClusterMachine
    private(set) var isAlive = true
    private(set) var refusal: String?
    private var isPaused = false
    /// Its process lives, its client and its links answer, and its coordinator does nothing.
    private var isHung = false
    private var backlog: [ClusterMachine.Event] = []
    private var generation: UInt64 = 0
    private(set) var session: Int64?
    private var isConnected = false
    /// Operations that are under way, by token, with what fails them when the connection breaks.
    private var open: Set<UInt64> = []
    private var peers: [ClusterMachine.Peer] = []
    private var up: [String: Int64] = [:]
    private var told: [String: String] = [:]
    private var lastDelivery: [String: ContinuousClock.Instant] = [:]
    private var serving: [Int: Int64] = [:]
    private var lastVersion: Int64 = 0
    private(set) var answers: [UInt64: ClusterAnswer] = [:]
    private var nextQuestion: UInt64 = 1
    private var disconnections = 0
    private var wake: ContinuousClock.Instant?

    init(id: String, process: Int, in simulation: Simulation) {
        self.id = id
        self.process = process
        self.simulation = simulation
        var settings = ClusterSettings(cluster: "sim", id: id, link: "\(id):1", api: "\(id):2", version: "1")
        settings.partitionCount = simulation.partitionCount
        self.machine = ClusterMachine(settings: settings, nonce: UInt64(process))
    }

    // MARK: - Events

    func handle(_ event: ClusterMachine.Event) {
        guard self.isAlive else { return }
        guard !self.isPaused, !self.isHung else { return self.backlog.append(event) }
        let actions = self.machine.handle(event, at: self.simulation.now, using: &self.simulation.random)
        self.check()
        for action in actions { self.execute(action) }
    }

    private func check() {
        for (partition, held) in self.machine.ownership where held.state == .serving {
            self.simulation.checker.serves(partition, held.ownerEpoch, process: self.process)
        }
        for (partition, ownerEpoch) in self.serving {
            let held = self.machine.ownership[partition]
            if held?.state != .serving || held?.ownerEpoch != ownerEpoch { self.simulation.checker.finished(partition, ownerEpoch, process: self.process) }
        }
        self.serving = self.machine.ownership.filter { $0.value.state == .serving }.mapValues(\.ownerEpoch)
        let version = self.machine.view?.version ?? 0
        if version < self.lastVersion { self.simulation.checker.fail("\(self.id) went from view \(self.lastVersion) back to \(version)") }
        self.lastVersion = version
    }

    private func execute(_ action: ClusterMachine.Action) {
        let simulation = self.simulation
        if simulation.isTracingActions { simulation.tell("\(self.id): \("\(action)".prefix(200))") }
        switch action {
        case .perform(let token, let request, let generation, let deadline): self.perform(token, request, generation, deadline)
        case .wake(let time):
            if let wake = self.wake, wake <= time, wake > simulation.now { return }
            self.wake = time
            simulation.at(time) {
                guard self.wake == time else { return }
                self.wake = nil
                self.handle(.ticked)
            }
        case .peers(let peers, _, _):
            self.peers = peers
            self.up = self.up.filter { id, incarnation in peers.contains { $0.id == id && $0.incarnation == incarnation } }
            self.told = self.told.filter { id, _ in peers.contains { $0.id == id } }
            self.look()
        case .send(let id, let payload): self.send(payload, to: id)
        case .seal(let partitions): simulation.after(simulation.milliseconds(0...30)) { self.handle(.sealed(partitions)) }
        case .handOver(let partitions): simulation.after(simulation.milliseconds(0...60)) { self.handle(.handedOver(partitions)) }
        case .release: break
        case .answer(let number, let answer): self.answers[number] = answer
        case .log(let event): simulation.tell("\(self.id): \(event.kind.rawValue) \(event.node) \(event.text)")
        case .refuse(let reason):
            self.refusal = reason
            self.end(gracefully: true)
        case .left: self.end(gracefully: true)
        }
    }

    func ask(_ question: ClusterQuestion) {
        self.nextQuestion += 1
        self.handle(.question(number: self.nextQuestion, question))
    }

    // MARK: - ZooKeeper

    func connect() {
        self.generation += 1
        let generation = self.generation
        self.handle(.session(ZooKeeperState(generation: generation, phase: .connecting)))
        self.simulation.after(self.simulation.milliseconds(5...40)) { self.tryToConnect(generation) }
    }

    private func tryToConnect(_ generation: UInt64) {
        guard self.isAlive, generation == self.generation, self.session == nil else { return }
        guard !self.simulation.server.isAway, !self.isPaused else {
            return self.simulation.after(.milliseconds(200)) { self.tryToConnect(generation) }
        }
        self.session = self.simulation.server.open(for: self)
        self.isConnected = true
        self.handle(.session(ZooKeeperState(generation: generation, phase: .connected(session: self.session!, timeout: FakeZooKeeper.timeout))))
    }

    /// Its client has contact: the servers hear of it.
    func heartbeat() {
        guard self.isAlive, !self.isPaused, self.isConnected, let session = self.session, !self.simulation.server.isAway else { return }
        if self.simulation.server.sessions[session] == nil { self.lose(.expired) } else { self.simulation.server.heard(session) }
    }

    /// The connection breaks for a while. Whatever is under way may have happened or not.
    func disconnect(for duration: Duration) {
        guard self.isAlive, self.isConnected, let session = self.session else { return }
        self.simulation.tell("\(self.id) loses its connection for \(duration)")
        self.isConnected = false
        self.disconnections += 1
        let number = self.disconnections
        self.simulation.server.disconnected(session)
        for token in self.open.sorted() { self.answer(token, .failure(.ambiguous(code: -4))) }
        self.handle(.session(ZooKeeperState(generation: self.generation, phase: .suspended)))
        let generation = self.generation
        // The client gives up by its own clock; the servers by theirs.
        self.simulation.after(.seconds(2)) { if self.disconnections == number, !self.isConnected, self.generation == generation { self.lose(.givenUp) } }
        self.simulation.after(duration) { self.reconnect(generation, number) }
    }

    private func reconnect(_ generation: UInt64, _ number: Int) {
        guard self.isAlive, self.generation == generation, self.disconnections == number, !self.isConnected, let session = self.session else { return }
        guard !self.simulation.server.isAway else { return self.simulation.after(.milliseconds(300)) { self.reconnect(generation, number) } }
        guard self.simulation.server.reconnected(session) else { return self.lose(.expired) }
        self.isConnected = true
        self.handle(.session(ZooKeeperState(generation: generation, phase: .connected(session: session, timeout: FakeZooKeeper.timeout))))
        // Watches are set again with everything that may have fired meanwhile.
        let paths = ["/config", "/controller", "/view", "/members", "/nodes", "/members/\(self.id)"].map { "/rt/sim\($0)" }
        self.simulation.after(.milliseconds(1)) { self.handle(.changed(Set(paths))) }
    }

    func lose(_ loss: ZooKeeperState.Loss) {
        guard self.isAlive, self.session != nil else { return }
        self.session = nil
        self.isConnected = false
        for token in self.open.sorted() { self.answer(token, .failure(.sessionLost)) }
        self.handle(.session(ZooKeeperState(generation: self.generation, phase: .lost(loss))))
        self.simulation.after(self.simulation.milliseconds(50...500)) { self.connect() }
    }

    func watchFired(_ path: String, session: Int64) {
        guard session == self.session, self.isConnected else { return }
        self.handle(.changed([path]))
    }

    private func perform(_ token: UInt64, _ request: ZooKeeperRequest, _ generation: UInt64, _ deadline: ContinuousClock.Instant) {
        guard generation == self.generation, let session = self.session else {
            return self.simulation.after(.microseconds(10)) { self.handle(.answered(token: token, .failure(.sessionLost))) }
        }
        guard self.isConnected else {
            return self.simulation.after(.microseconds(10)) { self.handle(.answered(token: token, .failure(.notSent(code: -4)))) }
        }
        self.open.insert(token)
        let number = self.disconnections
        self.simulation.at(deadline) { self.answer(token, .failure(.ambiguous(code: -7))) }
        let isSlow = self.simulation.chance(1)
        self.simulation.after(isSlow ? self.simulation.milliseconds(100...7000) : self.simulation.microseconds(100...2000)) {
            guard !self.simulation.server.isAway else { return }
            // Cut off on the way: half of them had arrived.
            if self.disconnections != number, self.simulation.chance(50) { return }
            // The servers refuse what an older connection brings once the session has moved to a new one.
            if self.disconnections != number, self.isConnected || self.session != session { return }
            let result = self.simulation.server.apply(request, session: session)
            self.simulation.after(self.simulation.microseconds(100...3000)) {
                if self.disconnections == number { self.answer(token, result) }
            }
        }
    }

    private func answer(_ token: UInt64, _ result: Result<ZooKeeperReply, ZooKeeperFailure>) {
        guard self.open.remove(token) != nil else { return }
        self.handle(.answered(token: token, result))
    }

    // MARK: - Links

    /// Looks at every peer and tells the machine what became different.
    func look() {
        guard self.isAlive, !self.isPaused else { return }
        for peer in self.peers {
            let other = self.simulation.node(peer.id)
            let isOpen = self.simulation.isReachable(self.id, peer.id)
            let state: String
            if isOpen, let other, other.isAlive {
                state = !other.isPaused && other.machine.incarnation == peer.incarnation ? "up \(peer.incarnation)" : "silent \(peer.incarnation)"
            } else if isOpen {
                state = "refused \(peer.incarnation)"
            } else {
                state = "silent \(peer.incarnation)"
            }
            guard self.told[peer.id] != state else { continue }
            self.told[peer.id] = state
            // Silence takes the time of a few heartbeats to be noticed.
            let delay = state.hasPrefix("silent") ? Duration.seconds(4) : self.simulation.milliseconds(1...30)
            self.simulation.after(delay) {
                guard self.isAlive, self.told[peer.id] == state, self.peers.contains(peer) else { return }
                if state.hasPrefix("up") {
                    self.up[peer.id] = peer.incarnation
                    self.handle(.linkUp(id: peer.id, incarnation: peer.incarnation))
                    if let version = other?.machine.view?.version { self.handle(.peerView(id: peer.id, version: version)) }
                } else {
                    self.up[peer.id] = nil
                    self.handle(.linkDown(id: peer.id, incarnation: peer.incarnation, isRefused: state.hasPrefix("refused")))
                }
            }
        }
    }

    private func send(_ payload: [UInt8], to id: String) {
        guard let incarnation = self.machine.incarnation, self.up[id] != nil, let target = self.up[id] else { return }
        let due = max(self.simulation.now.advanced(by: self.simulation.microseconds(100...5000)), self.lastDelivery[id] ?? self.simulation.now)
        self.lastDelivery[id] = due
        self.simulation.at(due) {
            guard self.simulation.isReachable(self.id, id), let other = self.simulation.node(id), other.isAlive, other.machine.incarnation == target else {
                return
            }
            other.handle(.received(from: self.id, incarnation: incarnation, payload: payload))
        }
    }

    // MARK: - What happens to a process

    func crash() {
        guard self.isAlive else { return }
        self.simulation.tell("\(self.id) crashes")
        self.isAlive = false
    }

    func end(gracefully: Bool) {
        guard self.isAlive else { return }
        self.isAlive = false
        if let session = self.session { self.simulation.server.end(session) }
    }

    func leave() {
        self.simulation.tell("\(self.id) leaves")
        self.handle(.leave)
    }

    func hang(for duration: Duration) {
        guard self.isAlive, !self.isHung else { return }
        self.simulation.tell("\(self.id) hangs for \(duration)")
        self.isHung = true
        self.simulation.after(duration) {
            self.simulation.tell("\(self.id) hangs no longer")
            self.isHung = false
            self.catchUp()
        }
    }

    private func catchUp() {
        let backlog = self.backlog
        self.backlog = []
        for event in backlog { self.handle(event) }
    }

    func pause(for duration: Duration) {
        guard self.isAlive, !self.isPaused else { return }
        self.simulation.tell("\(self.id) is paused for \(duration)")
        self.isPaused = true
        self.simulation.after(duration) {
            self.simulation.tell("\(self.id) goes on")
            self.isPaused = false
            self.catchUp()
        }
    }
}
