import Logging
import NIOCore
import NIOPosix
import NIOSSL

/// One connection to one Redis server, which is opened anew whenever it is lost.
///
/// Pinned to one event loop: an actor on the same loop calls it without a change of thread. ``RedisConnectionMachine`` decides, ``RedisRequestQueue`` keeps
/// the requests that wait, and this actor executes. It must be closed: until then the connection and the timers keep it alive.
actor RedisClient {
    nonisolated let address: RedisAddress
    nonisolated let unownedExecutor: UnownedSerialExecutor
    /// Keeps the executor alive.
    private let loop: any EventLoop
    private let settings: RedisClientSettings
    private let handshake: RedisHandshake
    private let logger: Logger
    private var machine: RedisConnectionMachine
    private var queue: RedisRequestQueue<Waiter>
    /// The connection in use: from when it is open until it is dropped.
    private var channel: (any Channel)?
    private var tls: RedisTLS?
    /// Wakes when the oldest request is overdue. Nil while no request waits.
    private var deadlineTimer: Scheduled<Void>?
    private var isRefreshing = false
    private var loggedWarnings: [String] = []
    private var closing: [CheckedContinuation<Void, Never>] = []
    private var generator = SystemRandomNumberGenerator()
    /// What the server said about itself on the present connection; nil while there is none.
    private(set) var facts: RedisServerFacts?
    /// Made once for each reading of the facts, because every append needs it.
    private var established: Session?
    /// The SHA-1 of each script, in order, for `EVALSHA`. Empty until the first connection.
    private(set) var scriptHashes: [String] = []

    /// Who gets the replies of a group of requests.
    private enum Waiter {
        case sender(CheckedContinuation<[Result<RedisReply, RedisRequestError>], Never>)
        case handshake(attempt: Int)
        case refresh(attempt: Int)
    }

    init(address: RedisAddress, loop: any EventLoop, settings: RedisClientSettings, scripts: [String], log: Logger) {
        self.address = address
        self.loop = loop
        self.unownedExecutor = loop.executor.asUnownedSerialExecutor()
        self.settings = settings
        self.tls = settings.tls
        self.handshake = RedisHandshake(address: address, scripts: scripts)
        self.logger = log
        self.machine = RedisConnectionMachine(settings: settings, place: address.hostAndPort, isTLS: address.isTLS)
        self.queue = RedisRequestQueue(requestsMax: settings.requestsMax, bytesMax: settings.bytesMax)
    }

    /// Connections that were made. A caller that must know whether two requests used one connection reads it in the same turn as it sends.
    var generation: UInt64 { self.machine.generation }

    /// Why there is no connection that can be used, as a sentence. Nil if there is one.
    var problem: String? { self.machine.problem }

    /// Requests without a reply.
    var waitingRequests: Int { self.queue.requests }

    /// Connects, and keeps connecting until ``close()``. Does not wait.
    func start() { self.perform(.started) }

    /// Closes the connection and returns when it is closed. Requests that wait end with an error.
    func close() async {
        self.perform(.closingRequested)
        guard self.machine.state != .closed else { return }
        await withCheckedContinuation { self.closing.append($0) }
    }

    /// What a caller needs for its requests on the present connection. Nil while there is none.
    var session: Session? { self.machine.problem == nil ? self.established : nil }

    /// The session, after the server's facts were read again: no change before this call is missed.
    func freshSession() async -> Session? {
        let attempt = self.machine.attempt
        let handshake = RedisHandshake(factsOf: self.address)
        let replies = await self.send(handshake.requests).compactMap { try? $0.get() }
        // A connection that was made meanwhile has read the facts.
        if attempt == self.machine.attempt, replies.count == handshake.requests.count { self.judged(handshake.judge(replies)) }
        return self.session
    }

    struct Session: Equatable {
        /// The server's identity: see ``RedisServerFacts/Identity``.
        let storage: String
        let scriptHashes: [String]
    }

    /// Sends requests in one write. Returns one result for each, in order, after ``RedisClientSettings/deadline`` at the latest.
    ///
    /// The task's cancellation has no effect.
    ///
    /// - Parameter storage: the requests are sent only if this is the identity of the connected server. Nil sends them to any.
    func send(_ requests: [RedisRequest], to storage: String? = nil) async -> [Result<RedisReply, RedisRequestError>] {
        guard !requests.isEmpty else { return [] }
        if let storage, let established = self.established, established.storage != storage {
            let objection = "Redis at \(self.address.hostAndPort) was restarted or replaced"
            return Array(repeating: .failure(.notSent(objection)), count: requests.count)
        }
        var bytes = 0
        for request in requests {
            // Redis would take the beginning of the next request as the missing argument.
            precondition(request.isComplete, "A request has fewer arguments than it announced")
            bytes += request.bytes.readableBytes
        }
        if let objection = self.machine.problem ?? self.queue.objection(toAdding: requests.count, bytes: bytes) {
            return Array(repeating: .failure(.notSent(objection)), count: requests.count)
        }
        return await withCheckedContinuation { self.write(requests, bytes: bytes, for: .sender($0)) }
    }

    // MARK: - Writing

    private func write(_ requests: [RedisRequest], bytes: Int, for waiter: Waiter) {
        let now = NIODeadline.now()
        self.queue.add(waiter, count: requests.count, bytes: bytes, at: now)
        // The machine bounds the time of a handshake.
        if self.deadlineTimer == nil, self.machine.state == .ready { self.wakeAtDeadline(now + self.settings.deadline) }
        guard let channel = self.channel else { preconditionFailure("Requests are written only while there is a connection") }
        // A socket that takes bytes gets them with this flush, and whether each byte left is not worth a promise for each request. Behind a socket
        // that is full, it is worth it: then many requests wait here, and they can be sent again without a doubt if the connection ends.
        let attempt = self.machine.attempt
        if channel.isWritable {
            self.queue.mayHaveWrittenAll()
            for request in requests { channel.write(request.bytes, promise: nil) }
        } else {
            for request in requests {
                channel.write(request.bytes).assumeIsolated().whenSuccess { self.assumeIsolated { $0.wroteOne(attempt: attempt) } }
            }
        }
        channel.flush()
    }

    private func wroteOne(attempt: Int) {
        if attempt == self.machine.attempt { self.queue.didWrite(1) }
    }

    // MARK: - The deadline

    /// One timer for all requests: it looks at the oldest when it fires, so a request costs no timer.
    private func wakeAtDeadline(_ deadline: NIODeadline) {
        self.deadlineTimer = self.loop.assumeIsolated().scheduleTask(deadline: deadline) { self.assumeIsolated { $0.deadlinePassed() } }
    }

    private func deadlinePassed() {
        self.deadlineTimer = nil
        guard let oldest = self.queue.oldest else { return }
        guard oldest + self.settings.deadline <= .now() else { return self.wakeAtDeadline(oldest + self.settings.deadline) }
        let milliseconds = self.settings.deadline.nanoseconds / 1_000_000
        self.perform(.lost(attempt: self.machine.attempt, "Redis at \(self.address.hostAndPort) sent no reply in \(milliseconds) ms"))
    }

    // MARK: - From the connection

    /// Why a connection must not be used any longer.
    enum Loss {
        case closed
        case failed(any Error)
        case malformed(RedisProtocolError)
    }

    func received(_ replies: [RedisReply], on channel: any Channel) {
        // Why the server cannot be used any longer. The replies that came with this one still count.
        var change: String?
        for reply in replies {
            // An earlier reply may have ended the connection.
            guard channel === self.channel else { return }
            self.received(reply, change: &change)
        }
        if let change { self.perform(.judged(attempt: self.machine.attempt, .unavailable(change))) }
    }

    private func received(_ reply: RedisReply, change: inout String?) {
        let attempt = self.machine.attempt
        var outcome = Result<RedisReply, RedisRequestError>.success(reply)
        if case .error(let text) = reply {
            if self.machine.state == .handshaking {
                if let verdict = self.handshake.verdict(onGreeting: text) { return self.perform(.judged(attempt: attempt, verdict)) }
            } else if let refusal = RedisRefusal(text, place: self.address.hostAndPort) {
                outcome = .failure(.notSent(refusal.sentence))
                if refusal.isAboutServer { change = refusal.sentence }
            }
        }
        switch self.queue.received(outcome) {
        case .incomplete: break
        case .complete(let waiter, let results): self.finish(waiter, results)
        case .unexpected: self.lost(.malformed(RedisProtocolError(description: "a reply came without a request")))
        }
    }

    /// Ignored if the connection was dropped before, or never was the one in use: of a name with several addresses, more than one may connect.
    func lost(_ loss: Loss, on channel: any Channel) {
        if channel === self.channel { self.lost(loss) }
    }

    private func lost(_ loss: Loss) {
        let place = self.address.hostAndPort
        let sentence =
            switch loss {
            case .closed: "Redis at \(place) closed the connection"
            case .failed(let error): "the connection to Redis at \(place) failed: \(Self.sentence(error))"
            case .malformed(let error): "Redis at \(place) does not follow its protocol: \(error)"
            }
        self.perform(.lost(attempt: self.machine.attempt, sentence))
    }

    private func finish(_ waiter: Waiter, _ results: [Result<RedisReply, RedisRequestError>]) {
        switch waiter {
        case .sender(let continuation):
            continuation.resume(returning: results)
        case .handshake(let attempt), .refresh(let attempt):
            self.isRefreshing = false
            var replies: [RedisReply] = []
            for result in results {
                switch result {
                case .success(let reply): replies.append(reply)
                // The connection has ended, or a refusal of the server ends it.
                case .failure: return
                }
            }
            guard attempt == self.machine.attempt else { return }
            if case .refresh = waiter {
                self.judged(RedisHandshake(factsOf: self.address).judge(replies))
            } else {
                let result = self.handshake.judge(replies)
                if result.verdict == .accepted { self.scriptHashes = result.scriptHashes }
                self.judged(result)
            }
        }
    }

    private func judged(_ result: RedisHandshake.Result) {
        if result.verdict == .accepted {
            self.facts = result.facts
            self.established = result.facts.map { Session(storage: $0.identity.text, scriptHashes: self.scriptHashes) }
            self.logWarnings()
        }
        self.perform(.judged(attempt: self.machine.attempt, result.verdict))
    }

    // MARK: - The machine

    private func perform(_ event: RedisConnectionMachine.Event) {
        for action in self.machine.event(event, using: &self.generator) {
            switch action {
            case .open(let attempt): self.open(attempt)
            case .handshake(let attempt): self.write(self.handshake, for: .handshake(attempt: attempt))
            case .serve: break
            case .drop(let attempt, let sentence): self.drop(attempt, sentence)
            case .refresh(let attempt): self.refresh(attempt)
            case .wake(let turn, let time):
                self.loop.assumeIsolated().scheduleTask(in: time) { self.assumeIsolated { $0.perform(.woke(turn: turn)) } }
            case .log(let report): self.log(report)
            case .finish:
                self.deadlineTimer?.cancel()
                for continuation in self.closing { continuation.resume() }
                self.closing = []
            }
        }
    }

    private func write(_ handshake: RedisHandshake, for waiter: Waiter) {
        self.write(handshake.requests, bytes: handshake.requests.reduce(0) { $0 + $1.bytes.readableBytes }, for: waiter)
    }

    private func refresh(_ attempt: Int) {
        guard !self.isRefreshing else { return }
        self.isRefreshing = true
        self.write(RedisHandshake(factsOf: self.address), for: .refresh(attempt: attempt))
    }

    private func open(_ attempt: Int) {
        do throws(RedisAddressError) {
            // Reading the authorities of the system takes milliseconds, so it is done once.
            if self.address.isTLS, self.tls == nil { self.tls = try RedisTLS() }
        } catch {
            return self.perform(.openingFailed(attempt: attempt, "Redis at \(self.address.hostAndPort) cannot be used: \(error)"))
        }
        let context = self.address.isTLS ? self.tls?.context : nil
        let (host, replyBytesMax) = (self.address.host, self.settings.replyBytesMax)
        ClientBootstrap(group: self.loop)
            .connectTimeout(self.settings.connectDeadline)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let context {
                        // Without a name, the server's address is checked against its certificate.
                        let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
                        try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : host))
                    }
                    // A name with several addresses creates several channels. The first that connects is used.
                    try channel.pipeline.syncOperations.addHandler(RedisChannelHandler(client: self, replyBytesMax: replyBytesMax))
                }
            }
            .connect(host: self.address.host, port: self.address.port)
            .assumeIsolated()
            .whenComplete { result in self.assumeIsolated { $0.opened(attempt, result) } }
    }

    private func opened(_ attempt: Int, _ result: Result<any Channel, any Error>) {
        switch result {
        case .success(let channel):
            self.channel = channel
            self.perform(.opened(attempt: attempt))
        case .failure(let error):
            self.perform(.openingFailed(attempt: attempt, "Redis at \(self.address.hostAndPort) cannot be reached: \(Self.sentence(error))"))
        }
    }

    private func drop(_ attempt: Int, _ sentence: String) {
        self.facts = nil
        self.established = nil
        self.deadlineTimer?.cancel()
        self.deadlineTimer = nil
        for (waiter, results) in self.queue.end(sentence) { self.finish(waiter, results) }
        guard let channel = self.channel.take() else { return }
        channel.closeFuture.assumeIsolated().whenComplete { _ in self.assumeIsolated { $0.perform(.ended(attempt: attempt)) } }
        channel.close(promise: nil)
    }

    // MARK: - For people

    private func log(_ report: RedisConnectionMachine.Report) {
        var metadata: Logger.Metadata = ["redis": "\(self.address)"]
        switch report {
        case .connected, .back:
            metadata["version"] = "\(self.facts?.version ?? "")"
            if report == .back { self.logger.info("Redis is back", metadata: metadata) } else { self.logger.info("Redis is connected", metadata: metadata) }
        case .lost(let reason):
            metadata["reason"] = "\(reason)"
            self.logger.warning("Redis is not connected", metadata: metadata)
        case .refused(let reason):
            metadata["reason"] = "\(reason)"
            self.logger.error("Redis is refused", metadata: metadata)
        }
    }

    /// Each once, until it changes.
    private func logWarnings() {
        guard let warnings = self.facts?.warnings(at: self.address.hostAndPort) else { return }
        for warning in warnings where !self.loggedWarnings.contains(warning) { self.logger.warning("\(warning)") }
        self.loggedWarnings = warnings
    }

    private static func sentence(_ error: any Error) -> String {
        if error is NIOSSLError || error is NIOSSLExtraError || error is BoringSSLError { return RedisTLS.sentence(error) }
        if let error = error as? NIOConnectionError {
            if let first = error.connectionErrors.first { return Self.sentence(first.error) }
            return "\(error.host) has no address"
        }
        if case .connectTimeout(let time)? = error as? ChannelError { return "no response in \(time.nanoseconds / 1_000_000) ms" }
        return "\(error)"
    }
}
