import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// All links of this node: those it dials, one to each peer, and those that peers have dialled to it.
///
/// Called from the coordinator's task and from the connections' event loops; what they share is behind one lock, held for a look-up.
final class Links: Sendable {
    /// Everything that happens, for one reader. Not bounded by itself: what peers send is bounded by their sockets, as long as the reader keeps up, and the
    /// reader is one pure value without I/O.
    let events: AsyncStream<LinkEvent>
    private let continuation: AsyncStream<LinkEvent>.Continuation

    private struct Outgoing {
        var peer: LinkPeer
        /// Counts the attempts of this process, so that a late answer to an older one is nobody's.
        var attempt = 0
        var handler: ObjectIdentifier?
        var channel: (any Channel)?
        var isUp = false
        var failures = 0
        var lastLoss: LinkLoss?
        var isDialling = false
    }

    private struct Incoming {
        var channel: (any Channel)?
        var identity: LinkIdentity?
    }

    private struct State {
        var incarnation: Int64?
        var viewVersion: Int64 = 0
        var outgoing: [String: Outgoing] = [:]
        var incoming: [ObjectIdentifier: Incoming] = [:]
        var strangers = 0
        var listener: (any Channel)?
        var isClosed = false
        var dropped: UInt64 = 0
        var attempts = 0
    }

    private let state = NIOLockedValueBox(State())
    private let configuration: LinkConfiguration
    private let cluster: String
    private let id: String
    private let version: String
    private let protocols: ClosedRange<Int>
    private let group: any EventLoopGroup
    private let logger: Logger

    init(
        _ configuration: LinkConfiguration, cluster: String, id: String, version: String, protocols: ClosedRange<Int> = 1...1, group: any EventLoopGroup,
        logger: Logger
    ) {
        self.configuration = configuration
        self.cluster = cluster
        self.id = id
        self.version = version
        self.protocols = protocols
        self.group = group
        self.logger = logger
        (self.events, self.continuation) = AsyncStream.makeStream(bufferingPolicy: .unbounded)
    }

    private var limits: LinkLimits { self.configuration.limits }

    var viewVersion: Int64 { self.state.withLockedValue { $0.viewVersion } }

    // MARK: - Lifecycle

    /// Listens. Answers the address that is bound, with the port that the system chose when 0 was asked for.
    func start() async throws -> ListenAddress {
        let address = self.configuration.address
        let channel = try await ServerBootstrap(group: self.group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.backlog, value: 128)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(AcceptPauseHandler()) }
            }
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in channel.eventLoop.makeCompletedFuture { try self.accept(channel) } }
            .bind(host: address.host, port: address.port).get()
        self.state.withLockedValue { $0.listener = channel }
        return ListenAddress(host: address.host, port: channel.localAddress?.port ?? address.port)
    }

    /// Says goodbye to all and ends ``events``.
    func close() async {
        let (listener, channels) = self.state.withLockedValue { state in
            state.isClosed = true
            defer { state.outgoing = [:] }
            return (state.listener, state.outgoing.values.compactMap(\.channel) + state.incoming.values.compactMap(\.channel))
        }
        try? await listener?.close()
        for channel in channels { try? await channel.close() }
        self.continuation.finish()
    }

    // MARK: - What the coordinator wants

    /// Who this node is to its peers from now on. Links that were made as somebody else end.
    func setIdentity(incarnation: Int64) {
        let channels: [any Channel] = self.state.withLockedValue { state in
            guard state.incarnation != incarnation else { return [] }
            defer { state.incarnation = incarnation }
            return state.incarnation == nil ? [] : state.outgoing.values.compactMap(\.channel) + state.incoming.values.compactMap(\.channel)
        }
        for channel in channels { channel.close(promise: nil) }
    }

    func setViewVersion(_ version: Int64) { self.state.withLockedValue { $0.viewVersion = version } }

    /// Dials those that are new, and ends the links to those that are gone.
    func setPeers(_ peers: [LinkPeer]) {
        let wanted = Dictionary(uniqueKeysWithValues: peers.map { ($0.id, $0) })
        let (gone, new) = self.state.withLockedValue { state in
            var gone: [any Channel] = []
            for (id, outgoing) in state.outgoing where wanted[id] != outgoing.peer {
                if let channel = outgoing.channel { gone.append(channel) }
                state.outgoing[id] = nil
            }
            let new = state.isClosed ? [] : peers.filter { state.outgoing[$0.id] == nil }
            for peer in new { state.outgoing[peer.id] = Outgoing(peer: peer) }
            return (gone, new)
        }
        for channel in gone { channel.close(promise: nil) }
        for peer in new { self.dial(peer) }
    }

    /// False when there is no link, or when the peer does not take what waits for it already. Then it is lost.
    @discardableResult
    func send(_ payload: [UInt8], to id: String) -> Bool {
        let (channel, viewVersion) = self.state.withLockedValue { state in
            (state.outgoing[id].flatMap { $0.isUp ? $0.channel : nil }, state.viewVersion)
        }
        guard let channel, channel.isWritable, payload.count <= self.limits.frameBytesMax else {
            self.state.withLockedValue { $0.dropped += 1 }
            return false
        }
        var buffer = channel.allocator.buffer(capacity: payload.count + 16)
        LinkFrame(kind: .message, viewVersion: viewVersion, payload: payload).write(into: &buffer)
        channel.writeAndFlush(buffer, promise: nil)
        return true
    }

    /// Messages that were lost because there was no link or no room.
    var dropped: UInt64 { self.state.withLockedValue { $0.dropped } }

    // MARK: - Dialling

    private func dial(_ peer: LinkPeer) {
        let attempt: (number: Int, incarnation: Int64)? = self.state.withLockedValue { state in
            guard !state.isClosed, let incarnation = state.incarnation, var outgoing = state.outgoing[peer.id], outgoing.peer == peer, !outgoing.isDialling
            else { return nil }
            state.attempts += 1
            outgoing.attempt = state.attempts
            outgoing.isDialling = true
            state.outgoing[peer.id] = outgoing
            return (state.attempts, incarnation)
        }
        guard let attempt else { return }
        guard let address = ListenAddress(peer.address) else {
            return self.failed(peer, attempt.number, .unreachable("\(peer.address) is not host:port"))
        }
        var own = self.hello(attempt.incarnation)
        own.to = peer.id
        own.toIncarnation = peer.incarnation
        ClientBootstrap(group: self.group)
            .connectTimeout(.seconds(2))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelInitializer { [own] channel in
                channel.eventLoop.makeCompletedFuture {
                    try self.prepare(channel)
                    if let context = self.configuration.clientTLS {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: context, serverHostname: nil))
                    }
                    let handler = LinkHandler(.outgoing, own: own, secret: self.configuration.secret, limits: self.limits, links: self)
                    let identifier = ObjectIdentifier(handler)
                    self.state.withLockedValue { state in
                        guard state.outgoing[peer.id]?.attempt == attempt.number else { return }
                        state.outgoing[peer.id]!.handler = identifier
                    }
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .connect(host: address.host, port: address.port)
            .whenFailure { error in self.failed(peer, attempt.number, Self.loss(error)) }
    }

    private func prepare(_ channel: any Channel) throws {
        let high = self.limits.bufferedBytesMax
        try channel.syncOptions?.setOption(.writeBufferWaterMark, value: .init(low: high / 2, high: high))
    }

    private func hello(_ incarnation: Int64) -> LinkHello {
        let identity = LinkIdentity(cluster: self.cluster, id: self.id, incarnation: incarnation, protocols: self.protocols, version: self.version)
        let nonce = (0..<16).map { _ in UInt8.random(in: .min ... .max) }.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        return LinkHello(identity: identity, nonce: nonce)
    }

    /// A closed port means that the process is dead; everything else may be the way there.
    private static func loss(_ error: any Error) -> LinkLoss {
        var errors: [any Error] = [error]
        if let error = error as? NIOConnectionError { errors = error.connectionErrors.map(\.error) }
        if errors.contains(where: { ($0 as? IOError)?.errnoCode == ECONNREFUSED }) { return .refused }
        return .unreachable("\(errors.first ?? error)")
    }

    private func failed(_ peer: LinkPeer, _ attempt: Int, _ loss: LinkLoss) {
        let again: TimeAmount? = self.state.withLockedValue { state in
            guard var outgoing = state.outgoing[peer.id], outgoing.peer == peer, outgoing.attempt == attempt, outgoing.isDialling else { return nil }
            outgoing.isDialling = false
            outgoing.isUp = false
            outgoing.channel = nil
            outgoing.handler = nil
            if outgoing.lastLoss != loss {
                self.logger.info("no link", metadata: ["peer": "\(peer.id)", "address": "\(peer.address)", "reason": "\(loss)"])
            }
            outgoing.lastLoss = loss
            let ceiling = min(self.limits.backoffMillisecondsMax, self.limits.backoffMillisecondsMin << min(outgoing.failures, 10))
            outgoing.failures += 1
            state.outgoing[peer.id] = outgoing
            return state.isClosed ? nil : .milliseconds(Int64(ceiling / 2 + Int.random(in: 0...(ceiling / 2))))
        }
        guard let again else { return }
        self.continuation.yield(.down(id: peer.id, incarnation: peer.incarnation, .outgoing, loss))
        _ = self.group.next().scheduleTask(in: again) { self.dial(peer) }
    }

    // MARK: - Accepting

    private func accept(_ channel: any Channel) throws {
        let incarnation: Int64? = self.state.withLockedValue { state in
            guard !state.isClosed, state.strangers < self.limits.strangersMax, state.incoming.count < self.limits.incomingMax else { return nil }
            return state.incarnation
        }
        // Not a member yet, or no room: the other side tries again.
        guard let incarnation else { throw LinkFrameDecoder.Malformed(description: "not now") }
        try self.prepare(channel)
        if let context = self.configuration.serverTLS {
            try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
        }
        let handler = LinkHandler(.incoming, own: self.hello(incarnation), secret: self.configuration.secret, limits: self.limits, links: self)
        let identifier = ObjectIdentifier(handler)
        self.state.withLockedValue { state in
            state.incoming[identifier] = Incoming(channel: channel)
            state.strangers += 1
        }
        channel.closeFuture.whenComplete { _ in
            self.state.withLockedValue { state in
                guard let incoming = state.incoming.removeValue(forKey: identifier) else { return }
                if incoming.identity == nil { state.strangers -= 1 }
            }
        }
        try channel.pipeline.syncOperations.addHandler(handler)
    }

    // MARK: - From the connections, on their loops

    func rose(_ handler: LinkHandler, _ channel: any Channel, _ identity: LinkIdentity, _ direction: LinkDirection) {
        let identifier = ObjectIdentifier(handler)
        let isWanted = self.state.withLockedValue { state in
            switch direction {
            case .outgoing:
                guard var outgoing = state.outgoing[identity.id], outgoing.handler == identifier else { return false }
                outgoing.channel = channel
                outgoing.isUp = true
                outgoing.failures = 0
                outgoing.lastLoss = nil
                state.outgoing[identity.id] = outgoing
            case .incoming:
                guard state.incoming[identifier] != nil else { return false }
                state.incoming[identifier]!.identity = identity
                state.strangers -= 1
            }
            return true
        }
        guard isWanted else { return handler.dismiss("not wanted any more") }
        self.continuation.yield(.up(id: identity.id, incarnation: identity.incarnation, direction))
    }

    func received(_ handler: LinkHandler, viewVersion: Int64, _ payload: [UInt8]) {
        guard let (id, incarnation) = self.peer(of: handler) else { return }
        self.continuation.yield(.received(from: id, incarnation: incarnation, viewVersion: viewVersion, payload: payload))
    }

    func peerView(_ handler: LinkHandler, _ version: Int64) {
        guard let (id, incarnation) = self.peer(of: handler) else { return }
        self.continuation.yield(.viewVersion(from: id, incarnation: incarnation, version))
    }

    func fell(_ handler: LinkHandler, _ loss: LinkLoss, _ direction: LinkDirection) {
        let identifier = ObjectIdentifier(handler)
        switch direction {
        case .outgoing:
            let found = self.state.withLockedValue { state in state.outgoing.values.first { $0.handler == identifier }.map { ($0.peer, $0.attempt) } }
            if let (peer, attempt) = found { self.failed(peer, attempt, loss) }
        case .incoming:
            if case .rejected(let reason) = loss { self.logger.info("a link was refused", metadata: ["reason": "\(reason)"]) }
            let identity = self.state.withLockedValue { $0.incoming[identifier]?.identity }
            if let identity { self.continuation.yield(.down(id: identity.id, incarnation: identity.incarnation, .incoming, loss)) }
        }
    }

    private func peer(of handler: LinkHandler) -> (String, Int64)? {
        let identifier = ObjectIdentifier(handler)
        return self.state.withLockedValue { state in
            if let identity = state.incoming[identifier]?.identity { return (identity.id, identity.incarnation) }
            return state.outgoing.values.first { $0.handler == identifier }.map { ($0.peer.id, $0.peer.incarnation) }
        }
    }
}
