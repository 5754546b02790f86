package import Logging
import NIOConcurrencyHelpers
package import NIOCore
import NIOPosix
package import Sockets

/// All links of this node: those it dials, one to each peer, and those that peers have dialled to it.
///
/// Called from the coordinator's task and from the connections' event loops; what they share is behind one lock, held for a look-up and never while anything
/// is awaited or written. Events are put into the inbox under that lock, so that their order is the order of what happened.
package final class Links: Sendable {
    /// Everything that happens, for one reader. Ends after ``close()``. What is not read yet is bounded by ``LinkLimits/unreadBytesMax``.
    package let events: AsyncStream<LinkEvent>

    struct Peer {
        var peer: LinkPeer
        var dial: DialMachine
        /// The connection of the attempt that counts, once there is one.
        var serial: UInt64?
        var changedAt: NIODeadline
        var dropped: UInt64 = 0
    }

    struct Connection {
        let direction: LinkDirection
        let channel: any Channel
        let handler: NIOLoopBound<LinkHandler>
        /// For an outgoing one: which attempt at whom it is.
        var peerID: String?
        var attempt = 0
        /// Who it has proved to be.
        var identity: LinkIdentity?
        /// For an incoming one: where it comes from.
        var address = ""
        /// From its event `up` to its event `down`.
        var isUp = false
        var changedAt = NIODeadline.now()
        var protocolVersion: Int?
        var roundTrip: Int?
        var queuedBytes = 0
    }

    struct State {
        var incarnation: Int64?
        var viewVersion: Int64 = 0
        var peers: [String: Peer] = [:]
        /// Peers there have been.
        var peerCount = 0
        /// By serial: those that have proved who they are, those that have not, and those that are saying goodbye.
        var connections: [UInt64: Connection] = [:]
        /// The incoming connection of each peer that has one.
        var incoming: [String: UInt64] = [:]
        /// Incoming connections that have not proved who they are, by where they come from.
        var strangers: [String: Int] = [:]
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
    private let cluster: String
    private let id: String
    private let version: String
    private let protocols: ClosedRange<Int>

    package init(
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
        let inbox = LinkInbox(bytesMax: configuration.limits.unreadBytesMax)
        self.inbox = inbox
        self.events = AsyncStream { await inbox.next() }
    }

    var limits: LinkLimits { self.configuration.limits }

    var viewVersion: Int64 { self.state.withLockedValue { $0.viewVersion } }

    /// Messages that were not sent, for want of a link or of room.
    package var dropped: UInt64 { self.state.withLockedValue { $0.dropped } }

    func identity(_ incarnation: Int64) -> LinkIdentity {
        LinkIdentity(cluster: self.cluster, id: self.id, incarnation: incarnation, protocols: self.protocols, version: self.version)
    }

    // MARK: - Lifecycle

    /// Listens. Answers the address that is bound, with the port that the system chose when 0 was asked for. Throws a sentence for a person.
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
            throw LinkError("link \(address): cannot listen there: \(error)")
        }
        self.state.withLockedValue { $0.listener = channel }
        var bound = ListenAddress(host: channel.localAddress?.ipAddress ?? address.host, port: channel.localAddress?.port ?? address.port)
        // A name stays a name, unless it stands for every interface.
        if !bound.isWildcard { bound.host = address.host }
        return bound
    }

    /// Says goodbye to all, waits until they have heard it or ``LinkLimits/farewellMilliseconds`` are over, and ends ``events``.
    package func close() async {
        let (listener, work, channels) = self.state.withLockedValue { state in
            state.isClosed = true
            let work = state.peers.keys.flatMap { id in self.end(id, &state) } + self.dismissAll(&state)
            return (state.listener, work, state.connections.values.map(\.channel))
        }
        try? await listener?.close()
        self.carryOut(work)
        for channel in channels { try? await channel.closeFuture.get() }
        self.inbox.finish()
    }

    // MARK: - What the coordinator wants

    /// Who this node is to its peers from now on. Links that were made as somebody else end, and are made anew.
    package func setIdentity(incarnation: Int64) {
        let work: [Work] = self.state.withLockedValue { state in
            guard state.incarnation != incarnation, !state.isClosed else { return [] }
            state.incarnation = incarnation
            let redial = state.peers.keys.flatMap { id in self.settle(id, state.peers[id]!.dial.renew(), &state) }
            return redial + self.dismissAll(&state)
        }
        self.carryOut(work)
    }

    /// Peers hear of it with the next heartbeat or message.
    package func setViewVersion(_ version: Int64) { self.state.withLockedValue { $0.viewVersion = version } }

    /// Dials those that are new, and ends the links to those that are gone, or that have another incarnation or address. One id counts once.
    package func setPeers(_ peers: [LinkPeer]) {
        let wanted = Dictionary(peers.map { ($0.id, $0) }) { first, _ in first }
        let work: [Work] = self.state.withLockedValue { state in
            guard !state.isClosed else { return [] }
            var work: [Work] = []
            for (id, peer) in state.peers where wanted[id] != peer.peer { work += self.end(id, &state) }
            for (id, peer) in wanted where state.peers[id] == nil {
                state.peerCount += 1
                state.peers[id] = Peer(peer: peer, dial: DialMachine(limits: self.limits, attempt: state.peerCount << 32), changedAt: .now())
                // Before this node knows who it is, it dials nobody.
                if state.incarnation != nil { work += self.settle(id, state.peers[id]!.dial.renew(), &state) }
            }
            return work
        }
        self.carryOut(work)
    }

    /// Sends over the outgoing link. What one caller sends to one peer arrives in that order, or not at all.
    ///
    /// False when there is no link, when the message is larger than a frame may be, or when the peer does not take what waits for it already. Then it is lost.
    /// True promises nothing either: a link may break.
    @discardableResult
    package func send(_ payload: [UInt8], to id: String) -> Bool {
        let bytes = payload.count + LinkFrame.lengthBytes + LinkFrame.headBytes
        let taken: (channel: any Channel, serial: UInt64, viewVersion: Int64)? = self.state.withLockedValue { state in
            guard payload.count <= self.limits.frameBytesMax, let peer = state.peers[id], peer.dial.isUp, let serial = peer.serial,
                let connection = state.connections[serial], connection.queuedBytes + bytes <= self.limits.bufferedBytesMax
            else {
                state.dropped += 1
                state.peers[id]?.dropped += 1
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
            // Taken by the system, or lost with the connection.
            self.state.withLockedValue { $0.connections[taken.serial]?.queuedBytes -= bytes }
        }
        taken.channel.writeAndFlush(buffer, promise: promise)
        return true
    }
}
