import NIOConcurrencyHelpers

/// Keeps a session with ZooKeeper. When the session is lost, the client opens a new session under the next generation number, and reports the states.
///
/// All work is in ``run()``, and no task outlives that function. ``ZooKeeperSessionMachine`` makes the decisions. The actor runs on the cooperative pool.
/// Blocking calls are in ``ZooKeeperSession``, which has its own thread.
package actor ZooKeeperClient {
    /// Every change of state. Only one task may read this stream. The stream is unbounded, because a generation has only a few changes,
    /// and generations are at least half of ``ZooKeeperConfiguration/backoffMin`` apart.
    package nonisolated let states: AsyncStream<ZooKeeperState>
    /// The paths whose watches have fired. Only one task may read them. After a reconnection these are all paths that have a watch of the present handle.
    ///
    /// The C client sets its watches again on the new connection (measured: all three kinds still fire after a restart of the server), and the server fires the
    /// watches of znodes that changed meanwhile. But if the reply that confirmed a watch was lost with the connection, only the server knows the watch. Then it
    /// does not fire here.
    package nonisolated let changes = ZooKeeperChanges()

    private let configuration: ZooKeeperConfiguration
    private let statesContinuation: AsyncStream<ZooKeeperState>.Continuation
    /// Events for the machine. The stream is unbounded for the same reason as `states`.
    private let inputs: AsyncStream<ZooKeeperSessionMachine.Event>
    private nonisolated let inputsContinuation: AsyncStream<ZooKeeperSessionMachine.Event>.Continuation

    /// Creates the session object. Returns nil if the system has no thread for it.
    package typealias MakeSession = @Sendable (ZooKeeperConfiguration, @escaping @Sendable (ZooKeeperSession.Event) -> Void) -> ZooKeeperSession?

    private let makeSession: MakeSession
    private var machine: ZooKeeperSessionMachine
    private var generator = SystemRandomNumberGenerator()
    private var session: ZooKeeperSession?
    private nonisolated let lastIdentity = NIOLockedValueBox<ZooKeeperIdentity?>(nil)
    private nonisolated let validUntil = NIOLockedValueBox<ContinuousClock.Instant?>(nil)
    private var watched: Set<String> = []
    private var isRunning = false
    private var isFinished = false
    private var waitingForEnd: [CheckedContinuation<Void, Never>] = []

    package init(configuration: ZooKeeperConfiguration, makeSession: @escaping MakeSession = { ZooKeeperSession(configuration: $0, events: $1) }) {
        self.configuration = configuration
        self.makeSession = makeSession
        self.machine = ZooKeeperSessionMachine(
            settings: .init(
                connectTimeout: configuration.connectTimeout, suspensionMax: configuration.suspensionMax, isCautious: configuration.isCautious,
                backoffMin: configuration.backoffMin,
                backoffMax: configuration.backoffMax))
        (self.states, self.statesContinuation) = AsyncStream.makeStream(bufferingPolicy: .unbounded)
        (self.inputs, self.inputsContinuation) = AsyncStream.makeStream(bufferingPolicy: .unbounded)
    }

    /// Keeps a session until ``close()``, or until the task is cancelled, and then ends the session. Call this function only once.
    package func run() async {
        guard !self.isRunning, !self.isFinished else { return }
        self.isRunning = true
        self.inputsContinuation.yield(.started)
        await withDiscardingTaskGroup { group in
            for await input in self.inputs { self.step(input, in: &group) }
            // If the task is cancelled, the input stream ends immediately, and this step closes the handle.
            self.step(.closingRequested, in: &group)
            // The cancellation ends the timers. Tasks that close handles ignore it, and the group waits for them.
            group.cancelAll()
        }
        await withDiscardingTaskGroup { self.step(.handleClosed(generation: self.machine.generation), in: &$0) }
        self.isRunning = false
        self.finish()
    }

    /// Executes one request in the session of that generation.
    ///
    /// - Parameter deadline: the deadline of the reply. Later the result is ``ZooKeeperFailure/ambiguous(code:)``.
    /// - Returns: ``ZooKeeperFailure/sessionLost`` if `generation` is not the current one, ``ZooKeeperFailure/notSent(code:)`` if the session is not connected
    ///   or has 512 operations in flight.
    package func perform(
        _ request: ZooKeeperRequest, generation: UInt64, deadline: ContinuousClock.Instant
    ) async -> Result<ZooKeeperReply, ZooKeeperFailure> {
        guard let session = self.session, generation == self.machine.generation else { return .failure(.sessionLost) }
        guard self.machine.isConnected else { return .failure(.disconnected) }
        if let path = request.watchedPath { self.watched.insert(path) }
        return await session.perform(request, deadline: deadline)
    }

    /// Ends the session, so that its ephemeral znodes vanish immediately, and returns when ``run()`` has ended. May take seconds if servers do not respond.
    package func close() async {
        self.inputsContinuation.yield(.closingRequested)
        if !self.isRunning { return self.finish() }
        await withCheckedContinuation { self.waitingForEnd.append($0) }
    }

    /// The identity of the last session that was connected. Used by tests that take over the session.
    package nonisolated var identity: ZooKeeperIdentity? { self.lastIdentity.withLockedValue { $0 } }

    /// Whether the servers cannot have ended the session at this moment, if the client is cautious. It compares times, so it needs no message and no timer: a
    /// process that was stopped for a while gets the right result before it has handled anything else. Callable from every thread.
    package nonisolated var isSessionValid: Bool { self.validUntil.withLockedValue { $0 }.map { ContinuousClock.now < $0 } ?? false }

    private func step(_ event: ZooKeeperSessionMachine.Event, in group: inout DiscardingTaskGroup) {
        defer { self.validUntil.withLockedValue { $0 = self.machine.validUntil } }
        for action in self.machine.event(event, at: .now, using: &self.generator) { self.execute(action, in: &group) }
    }

    private func execute(_ action: ZooKeeperSessionMachine.Action, in group: inout DiscardingTaskGroup) {
        switch action {
        case .open(let generation): self.open(generation, in: &group)
        case .close(let generation): self.close(generation, in: &group)
        case .report(let state): self.statesContinuation.yield(state)
        case .verify(let generation): self.verify(generation, in: &group)
        case .wake(let time):
            // The task sleeps in steps, because its clock may stop while the computer is suspended.
            group.addTask { [inputsContinuation] in
                while !Task.isCancelled, .now < time { try? await Task.sleep(until: min(time, .now + .seconds(1)), clock: .continuous) }
                inputsContinuation.yield(.ticked)
            }
        case .reread: self.changes.mark(self.watched)
        case .finish: self.inputsContinuation.finish()
        }
    }

    private func open(_ generation: UInt64, in group: inout DiscardingTaskGroup) {
        self.watched = []
        self.session = self.makeSession(self.configuration) { [weak self] event in self?.hear(event, generation: generation) }
        guard let session = self.session else {
            self.inputsContinuation.yield(.openingFailed(generation: generation))
            return
        }
        group.addTask { [inputsContinuation] in
            if await !session.open() { inputsContinuation.yield(.openingFailed(generation: generation)) }
        }
    }

    private func close(_ generation: UInt64, in group: inout DiscardingTaskGroup) {
        guard let session = self.session.take() else {
            // No session could be created.
            self.inputsContinuation.yield(.handleClosed(generation: generation))
            return
        }
        group.addTask { [inputsContinuation] in
            await session.close()
            inputsContinuation.yield(.handleClosed(generation: generation))
        }
    }

    /// Verifies that the connected server reaches most of the servers. They write a multi to disk before its reply, even a multi with only checks. A refusal
    /// also counts as a reply.
    private func verify(_ generation: UInt64, in group: inout DiscardingTaskGroup) {
        guard let session = self.session else { return }
        let sentAt = ContinuousClock.now
        group.addTask { [inputsContinuation, configuration] in
            switch await session.perform(.multi([.check(path: "/", version: nil)]), deadline: sentAt + configuration.sessionTimeout) {
            case .success, .failure(.refused): inputsContinuation.yield(.verified(generation: generation, sentAt: sentAt))
            case .failure: break
            }
        }
    }

    /// Runs on the C client's completion thread.
    private nonisolated func hear(_ event: ZooKeeperSession.Event, generation: UInt64) {
        switch event {
        case .connected(let identity, let timeout):
            self.lastIdentity.withLockedValue { $0 = identity }
            self.inputsContinuation.yield(.connected(generation: generation, session: identity.session, timeout: timeout))
        case .disconnected: self.inputsContinuation.yield(.disconnected(generation: generation))
        case .expired: self.inputsContinuation.yield(.expired(generation: generation))
        case .authenticationFailed: self.inputsContinuation.yield(.authenticationFailed(generation: generation))
        case .changed(let path): self.changes.mark(CollectionOfOne(path))
        }
    }

    private func finish() {
        guard !self.isFinished else { return }
        self.isFinished = true
        self.statesContinuation.finish()
        self.changes.finish()
        for continuation in self.waitingForEnd { continuation.resume() }
        self.waitingForEnd = []
    }
}

extension ZooKeeperRequest {
    /// The path on which the request sets a watch.
    fileprivate var watchedPath: String? {
        switch self {
        case .get(let path, watch: true), .exists(let path, watch: true), .children(let path, watch: true): path
        case .get, .exists, .children, .create, .createShared, .set, .delete, .multi: nil
        }
    }
}
