@testable import Coordination

/// The node's ZooKeeper client: the real state machine, with a simulated handle and simulated servers.
extension SimulatedNode {
    static func clientSettings(isLogFencing: Bool) -> ZooKeeperSessionMachine.Settings {
        .init(
            connectTimeout: .seconds(15), suspensionMax: isLogFencing ? .seconds(60) : nil, isCautious: !isLogFencing, backoffMin: .milliseconds(100),
            backoffMax: .milliseconds(500))
    }

    var generation: UInt64 { self.client.generation }

    func connect() { self.step(.started) }

    func step(_ event: ZooKeeperSessionMachine.Event) {
        guard self.isAlive else { return }
        for action in self.client.event(event, at: self.simulation.now, using: &self.simulation.random) {
            switch action {
            case .open(let generation):
                self.simulation.after(self.simulation.milliseconds(5...40)) { self.tryToConnect(generation) }
            case .close:
                // The connected server ends the session, if this server reaches the leader.
                if self.reachesServers, let session = self.session { self.simulation.server.end(session) }
                self.session = nil
                self.isConnected = false
                self.fail(.sessionLost)
            case .report(let state):
                if case .lost = state.phase { self.fail(.sessionLost) }
                self.handle(.session(state))
            case .verify(let generation):
                let sentAt = self.simulation.now
                self.simulation.after(self.simulation.microseconds(200...5000)) { self.verify(generation, sentAt) }
            case .wake(let time): self.simulation.at(time) { self.tick() }
            case .reread:
                // Changes may have been missed, so all watched paths are reported as changed.
                let paths = ["/config", "/controller", "/view", "/members", "/nodes", "/members/\(self.id)"].map { "/rt/sim\($0)" }
                self.simulation.after(.milliseconds(1)) { self.handle(.changed(Set(paths))) }
            case .finish: break
            }
        }
    }

    /// A paused process handles the tick when it continues.
    private func tick() {
        guard self.isPaused else { return self.step(.ticked) }
        self.simulation.after(.milliseconds(20)) { self.tick() }
    }

    /// Whether a request reaches a majority of the servers.
    private var reachesServers: Bool { self.isConnected && !self.isStranded && !self.simulation.server.isAway }

    private func tryToConnect(_ generation: UInt64) {
        guard self.isAlive, generation == self.generation, self.session == nil else { return }
        guard !self.simulation.server.isAway, !self.isPaused, !self.isStranded else {
            return self.simulation.after(.milliseconds(200)) { self.tryToConnect(generation) }
        }
        self.session = self.simulation.server.open(for: self)
        self.isConnected = true
        self.step(.connected(generation: generation, session: self.session!, timeout: FakeZooKeeper.timeout))
    }

    /// The client sends a heartbeat.
    func heartbeat() {
        guard self.isAlive, !self.isPaused, self.reachesServers, let session = self.session else { return }
        if self.simulation.server.sessions[session] == nil {
            self.step(.expired(generation: self.generation))
        } else {
            self.simulation.server.touch(session)
        }
    }

    private func verify(_ generation: UInt64, _ sentAt: ContinuousClock.Instant) {
        guard self.isAlive, generation == self.generation, self.reachesServers, let session = self.session else { return }
        guard !self.isPaused else { return self.simulation.after(.milliseconds(20)) { self.verify(generation, sentAt) } }
        guard self.simulation.server.sessions[session] != nil else { return }
        self.simulation.server.touch(session)
        self.step(.verified(generation: generation, sentAt: sentAt))
    }

    /// The connection breaks for a while. Operations in flight may have been executed or not.
    func disconnect(for duration: Duration) {
        guard self.isAlive, self.isConnected, let session = self.session else { return }
        self.simulation.note("\(self.id) loses its connection for \(duration)")
        self.isConnected = false
        self.disconnections += 1
        let number = self.disconnections
        self.simulation.server.disconnected(session)
        self.fail(.ambiguous(code: -4))
        let generation = self.generation
        self.step(.disconnected(generation: generation))
        self.simulation.after(duration) { self.reconnect(generation, number) }
    }

    private func reconnect(_ generation: UInt64, _ number: Int) {
        guard self.isAlive, self.generation == generation, self.disconnections == number, !self.isConnected, let session = self.session else { return }
        guard !self.simulation.server.isAway, !self.isStranded else { return self.simulation.after(.milliseconds(300)) { self.reconnect(generation, number) } }
        guard self.simulation.server.reconnected(session) else { return self.step(.expired(generation: generation)) }
        self.isConnected = true
        self.step(.connected(generation: generation, session: session, timeout: FakeZooKeeper.timeout))
    }

    /// The node's ZooKeeper server is cut off from the other servers and has not noticed it. The server replies to heartbeats, but not to requests that need
    /// the leader. Its last report to the leader about active sessions is up to a quarter of a session timeout old.
    func strand(for duration: Duration) {
        guard self.isAlive, self.isConnected, !self.isStranded, let session = self.session else { return }
        self.simulation.note("\(self.id) is stranded with its server for \(duration)")
        self.isStranded = true
        self.simulation.server.touch(session, ago: self.simulation.milliseconds(0...1500))
        self.simulation.after(duration) {
            self.simulation.note("\(self.id) is no longer stranded")
            self.isStranded = false
        }
    }

    func watchFired(_ path: String, session: Int64) {
        guard session == self.session, self.isConnected, !self.isStranded else { return }
        self.handle(.changed([path]))
    }

    func perform(_ token: UInt64, _ request: ZooKeeperRequest, _ generation: UInt64, _ deadline: ContinuousClock.Instant) {
        guard generation == self.generation, let session = self.session else {
            return self.simulation.after(.microseconds(10)) { self.handle(.replied(token: token, .failure(.sessionLost))) }
        }
        guard self.client.isConnected else {
            return self.simulation.after(.microseconds(10)) { self.handle(.replied(token: token, .failure(.notSent(code: -4)))) }
        }
        self.open.insert(token)
        let number = self.disconnections
        self.simulation.at(deadline) { self.reply(token, .failure(.ambiguous(code: -7))) }
        let isSlow = self.simulation.hasSmallFaults && self.simulation.chance(1)
        self.simulation.after(isSlow ? self.simulation.milliseconds(100...7000) : self.simulation.microseconds(100...2000)) {
            guard !self.simulation.server.isAway, !self.isStranded else { return }
            // The connection broke meanwhile. Half of these operations have still reached the servers.
            if self.disconnections != number, self.simulation.chance(50) { return }
            // The servers refuse an operation of an older connection once the session has a new connection.
            if self.disconnections != number, self.isConnected || self.session != session { return }
            let result = self.simulation.server.apply(request, session: session)
            self.simulation.after(self.simulation.microseconds(100...3000)) {
                if self.disconnections == number { self.reply(token, result) }
            }
        }
    }

    private func fail(_ failure: ZooKeeperFailure) { for token in self.open.sorted() { self.reply(token, .failure(failure)) } }

    private func reply(_ token: UInt64, _ result: Result<ZooKeeperReply, ZooKeeperFailure>) {
        guard self.open.remove(token) != nil else { return }
        self.handle(.replied(token: token, result))
    }
}
