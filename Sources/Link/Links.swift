package import Logging
import NIOConcurrencyHelpers
package import NIOCore
import NIOPosix
import Partitioning
package import Sockets

/// All links of this node: an outgoing link to each peer, and an incoming link from each peer.
///
/// Called from the coordinator's task and from the connections' event loops. One lock protects the shared state. The lock is held briefly, and never during an
/// `await` or a write. Events enter the inbox under this lock, so the inbox has them in the order in which they happened.
package final class Links: Sendable {
    /// All events. Only one task may read this stream. It ends after ``close()``. Unread events are bounded by ``LinkLimits/unreadBytesMax``.
    package let events: AsyncStream<LinkEvent>

    /// Identifies an outgoing or an incoming link.
    struct Key: Hashable {
        var id: String
        var use: LinkUse
    }

    struct Peer {
        var peer: LinkPeer
        var dial: DialMachine
        /// The connection of the current attempt, once it is open.
        var serial: UInt64?
        var changedAt: NIODeadline
        var dropped: UInt64 = 0
    }

    struct Connection {
        let direction: LinkDirection
        let channel: any Channel
        let handler: NIOLoopBound<LinkHandler>
        /// The peer and the attempt of an outgoing connection.
        var peer: Key?
        var attempt = 0
        /// The authenticated identity.
        var identity: LinkIdentity?
        /// The use of an authenticated connection.
        var use = LinkUse.control
        /// The peer's address, for an incoming connection.
        var address = ""
        /// True between the events `up` and `down` of the connection.
        var isUp = false
        var changedAt = NIODeadline.now()
        var protocolVersion: Int?
        var roundTrip: Int?
        var queuedBytes = 0
    }

    struct State {
        var incarnation: Int64?
        var viewVersion: Int64 = 0
        var peers: [Key: Peer] = [:]
        /// The number of peers that were ever added. Each peer's attempt numbers begin with a different value.
        var peerCount = 0
        /// All authenticated, unauthenticated and closing connections, by serial.
        var connections: [UInt64: Connection] = [:]
        /// The serials of the incoming links.
        var incoming: [Key: UInt64] = [:]
        /// Number of unauthenticated incoming connections, by address.
        var unauthenticated: [String: Int] = [:]
        var incomingCount = 0
        var listener: (any Channel)?
        var isClosed = false
        var dropped: UInt64 = 0
        var refused = LinkRefusals()
    }

    let state = NIOLockedValueBox(State())
    let inbox: LinkInbox
    let configuration: LinkConfiguration
    package let group: any EventLoopGroup
    let logger: Logger
    /// Nil for a node without data connections.
    let receiver: (any LinkDataReceiver)?
    private let cluster: String
    private let id: String
    private let version: String
    private let protocols: ClosedRange<Int>

    package init(
        _ configuration: LinkConfiguration, cluster: String, id: String, version: String, protocols: ClosedRange<Int> = 1...1, group: any EventLoopGroup,
        receiver: (any LinkDataReceiver)? = nil, logger: Logger
    ) {
        self.configuration = configuration
        self.receiver = receiver
        self.cluster = cluster
        self.id = id
        self.version = version
        self.protocols = protocols
        self.group = group
        self.logger = logger
        let inbox = LinkInbox(bytesMax: configuration.limits.unreadBytesMax)
        self.inbox = inbox
        self.events = AsyncStream { await inbox.next() }
    }

    var limits: LinkLimits { self.configuration.limits }

    /// The connections that this node dials to each peer and accepts from each peer.
    var uses: Set<LinkUse> { self.receiver == nil ? [.control] : [.control, .data] }

    var viewVersion: Int64 { self.state.withLockedValue { $0.viewVersion } }

    /// Messages that were not sent, because the link was down, its buffer was full, or the message was too large.
    package var dropped: UInt64 { self.state.withLockedValue { $0.dropped } }

    func identity(_ incarnation: Int64) -> LinkIdentity {
        LinkIdentity(cluster: self.cluster, process: ProcessID(id: self.id, incarnation: incarnation), protocols: self.protocols, version: self.version)
    }

    // MARK: - Lifecycle

    /// Starts listening. Returns the bound address. If port 0 was requested, this address has the port that the system chose. Throws an error with a message
    /// for people.
    package func start() async throws -> ListenAddress {
        let address = self.configuration.address
        if let objection = self.configuration.objection(to: address) { throw LinkError("link \(objection)") }
        let channel: any Channel
        do {
            channel = try await ServerBootstrap(group: self.group)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .serverChannelOption(.backlog, value: 1024)
                .serverChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .serverChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(AcceptPauseHandler()) }
                }
                .childChannelInitializer { channel in channel.eventLoop.makeCompletedFuture { try self.accept(channel) } }
                .bind(host: address.host, port: address.port).get()
        } catch {
            throw LinkError("link \(address): cannot listen on this address: \(error)")
        }
        self.state.withLockedValue { $0.listener = channel }
        var bound = ListenAddress(host: channel.localAddress?.ipAddress ?? address.host, port: channel.localAddress?.port ?? address.port)
        // A host name is kept, unless the socket is bound to every interface.
        if !bound.isWildcard { bound.host = address.host }
        return bound
    }

    /// Announces the end to all peers, waits at most ``LinkLimits/farewellMilliseconds`` for them to close, and ends ``events``.
    package func close() async {
        let (listener, effects, channels) = self.state.withLockedValue { state in
            state.isClosed = true
            let effects = state.peers.keys.flatMap { id in self.end(id, &state) } + self.dismissAll(&state)
            return (state.listener, effects, state.connections.values.map(\.channel))
        }
        try? await listener?.close()
        self.perform(effects)
        for channel in channels { try? await channel.closeFuture.get() }
        self.inbox.finish()
    }

    // MARK: - Calls of the coordinator

    /// Sets the identity that this node sends to its peers. Links under the former identity end and are opened again.
    package func setIdentity(incarnation: Int64) {
        let effects: [Effect] = self.state.withLockedValue { state in
            guard state.incarnation != incarnation, !state.isClosed else { return [] }
            state.incarnation = incarnation
            let redial = state.peers.keys.flatMap { id in self.apply(id, state.peers[id]!.dial.renew(), &state) }
            return redial + self.dismissAll(&state)
        }
        self.perform(effects)
    }

    /// Peers receive the version with the next heartbeat or message.
    package func setViewVersion(_ version: Int64) { self.state.withLockedValue { $0.viewVersion = version } }

    /// Dials new peers. Ends the links to peers that are no longer listed, or whose incarnation or address has changed. If an id occurs twice, its first entry
    /// counts.
    package func setPeers(_ peers: [LinkPeer]) {
        let wanted = Dictionary(peers.map { ($0.id, $0) }) { first, _ in first }
        let effects: [Effect] = self.state.withLockedValue { state in
            guard !state.isClosed else { return [] }
            var effects: [Effect] = []
            for (key, peer) in state.peers where wanted[key.id] != peer.peer { effects += self.end(key, &state) }
            for (id, peer) in wanted {
                for key in self.uses.map({ Key(id: id, use: $0) }) where state.peers[key] == nil {
                    state.peerCount += 1
                    state.peers[key] = Peer(peer: peer, dial: DialMachine(limits: self.limits, attempt: state.peerCount << 32), changedAt: .now())
                    // A node without an identity does not dial.
                    if state.incarnation != nil { effects += self.apply(key, state.peers[key]!.dial.renew(), &state) }
                }
            }
            return effects
        }
        self.perform(effects)
    }

    /// Sends a message over the outgoing control connection. Messages of one caller to one peer arrive in order, but a message may be lost.
    ///
    /// Returns false if there is no link, if the message is too large for a frame, or if too many bytes already wait for the peer. Then the message is lost.
    /// True does not guarantee delivery, because the link may break.
    @discardableResult
    package func send(_ payload: [UInt8], to id: String) -> Bool {
        let bytes = payload.count + LinkFrame.lengthBytes + LinkFrame.headBytes
        let taken: (channel: any Channel, serial: UInt64, viewVersion: Int64)? = self.state.withLockedValue { state in
            let key = Key(id: id, use: .control)
            guard payload.count <= self.limits.frameBytesMax, let peer = state.peers[key], peer.dial.isUp, let serial = peer.serial,
                let connection = state.connections[serial], connection.queuedBytes + bytes <= self.limits.bufferedBytesMax
            else {
                state.dropped += 1
                state.peers[key]?.dropped += 1
                return nil
            }
            state.connections[serial]!.queuedBytes += bytes
            return (connection.channel, serial, state.viewVersion)
        }
        guard let taken else { return false }
        var buffer = taken.channel.allocator.buffer(capacity: bytes)
        LinkFrame(kind: .message, viewVersion: taken.viewVersion, payload: payload).write(into: &buffer)
        let promise = taken.channel.eventLoop.makePromise(of: Void.self)
        promise.futureResult.whenComplete { _ in
            // The system has accepted the bytes, or they were lost with the connection.
            self.state.withLockedValue { $0.connections[taken.serial]?.queuedBytes -= bytes }
        }
        taken.channel.writeAndFlush(buffer, promise: promise)
        return true
    }
}
