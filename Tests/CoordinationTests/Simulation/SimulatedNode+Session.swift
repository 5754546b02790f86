@testable import Coordination

extension SimulatedNode {
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

    func perform(_ token: UInt64, _ request: ZooKeeperRequest, _ generation: UInt64, _ deadline: ContinuousClock.Instant) {
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
}
