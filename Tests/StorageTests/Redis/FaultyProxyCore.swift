import DequeModule
import NIOCore
import NIOPosix
import TestKit

#if canImport(Glibc)
    import Glibc
#endif

/// The connections and the faults of a ``FaultyProxy``. Runs on an event loop that all proxies of the process share.
actor FaultyProxyCore {
    typealias Direction = FaultyProxy.Direction

    nonisolated let unownedExecutor: UnownedSerialExecutor
    nonisolated let loop: any EventLoop  // keeps the executor above alive
    private static let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private static let heldBytesMax = 64 << 20

    nonisolated let port: UInt16
    private var serverPort: UInt16

    private var listener: (any Channel)?
    private var connections: [Int: Connection] = [:]
    private var counts = FaultyProxy.Counters()

    // The faults.
    private var stalled: Set<Direction> = []
    private var delays: [Direction: TimeAmount] = [:]
    private var bytesUntilCut: [Direction: Int] = [:]
    private var drop: ReplyDrop?
    private var isSwallowing = false

    init(to server: UInt16) {
        self.loop = Self.group.next()
        self.unownedExecutor = self.loop.executor.asUnownedSerialExecutor()
        self.port = LoopbackSocket.serverPort()
        self.serverPort = server
    }

    // MARK: - Faults

    /// The future succeeds when clients can connect.
    func pass() -> EventLoopFuture<Void> {
        self.stalled = []
        self.delays = [:]
        self.bytesUntilCut = [:]
        self.drop = nil
        self.isSwallowing = false
        for connection in Array(self.connections.values) where connection.hasLostBytes { self.reset(connection) }
        for connection in Array(self.connections.values) {
            for direction in Direction.allCases {
                connection.pipes[direction]!.isDueNow()
                self.deliver(direction, of: connection)
            }
        }
        return self.listener == nil ? self.listen() : self.loop.makeSucceededVoidFuture()
    }

    /// The future succeeds when no client can connect.
    func refuse() -> EventLoopFuture<Void> {
        self.cut()
        guard let listener = self.listener else { return self.loop.makeSucceededVoidFuture() }
        self.listener = nil
        return listener.close()
    }

    func cut() {
        for connection in Array(self.connections.values) { self.reset(connection) }
    }

    func stall(_ direction: Direction) { self.stalled.insert(direction) }

    func release(_ direction: Direction) {
        self.stalled.remove(direction)
        for connection in Array(self.connections.values) { self.deliver(direction, of: connection) }
    }

    func dropReplies(ofNext count: Int, named name: String?) { self.drop = ReplyDrop(requests: count, replies: count, name: name) }

    func delay(_ direction: Direction, _ time: TimeAmount) { self.delays[direction] = time }

    func cut(afterBytes count: Int, _ direction: Direction) { self.bytesUntilCut[direction] = count }

    func swallow() { self.isSwallowing = true }

    func forward(to server: UInt16) {
        self.serverPort = server
        self.cut()
    }

    var counters: FaultyProxy.Counters {
        var counters = self.counts
        counters.open = self.connections.count
        for direction in Direction.allCases { counters.held[direction] = self.connections.values.reduce(0) { $0 + $1.pipes[direction]!.bytes } }
        return counters
    }

    // MARK: - Connections

    private func listen() -> EventLoopFuture<Void> {
        ServerBootstrap(group: self.loop)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { client in
                client.eventLoop.makeCompletedFuture {
                    let id = self.assumeIsolated { $0.accepted(client) }
                    try client.pipeline.syncOperations.addHandler(ProxyEnd(self, connection: id, receives: .toServer))
                }
            }
            .bind(to: Self.loopback(self.port))
            .map { listener in self.assumeIsolated { $0.listener = listener } }
    }

    private static func loopback(_ port: UInt16) -> SocketAddress { try! SocketAddress(ipAddress: "127.0.0.1", port: Int(port)) }

    private func accepted(_ client: any Channel) -> Int {
        self.counts.accepted += 1
        let id = self.counts.accepted
        self.connections[id] = Connection(id: id, client: client)
        ClientBootstrap(group: self.loop)
            .channelInitializer { server in
                server.eventLoop.makeCompletedFuture {
                    try server.pipeline.syncOperations.addHandler(ProxyEnd(self, connection: id, receives: .toClient))
                }
            }
            .connect(to: Self.loopback(self.serverPort))
            .whenComplete { result in self.assumeIsolated { $0.connected(id, result) } }
        return id
    }

    private func connected(_ id: Int, _ result: Result<any Channel, any Error>) {
        guard let connection = self.connections[id] else {
            if case .success(let server) = result { Self.reset(server) }
            return
        }
        switch result {
        case .success(let server):
            connection.isConnecting = false
            connection.server = server
            self.deliver(.toServer, of: connection)
        case .failure:
            self.reset(connection)
        }
    }

    /// Called by the ``ProxyEnd`` that received the bytes from its peer.
    fileprivate func received(_ bytes: ByteBuffer, _ direction: Direction, of id: Int) {
        guard let connection = self.connections[id] else { return }
        guard !self.isSwallowing else {
            self.counts.swallowed += bytes.readableBytes
            connection.hasLostBytes = true
            return
        }
        guard direction == .toClient else { return self.enqueue(.bytes(bytes), direction, of: connection) }
        let answered = connection.filterReplies(bytes)
        self.counts.repliesDropped += answered.dropped
        self.enqueue(.bytes(answered.bytes), direction, of: connection)
        guard answered.dropped > 0, let drop = self.drop else { return }
        self.drop!.replies -= answered.dropped
        guard drop.replies <= answered.dropped else { return }
        self.drop = nil
        self.cut()
    }

    /// Called by the end that was closed by its peer: nothing more comes in this direction.
    fileprivate func ended(_ direction: Direction, of id: Int) {
        guard let connection = self.connections[id] else { return }
        switch direction {
        case .toServer:
            connection.client = nil
            connection.pipes[.toClient]!.discard()
        case .toClient:
            connection.server = nil
            connection.pipes[.toServer]!.discard()
        }
        guard !self.isSwallowing else {
            connection.hasLostBytes = true
            return
        }
        self.enqueue(.end, direction, of: connection)
    }

    // MARK: - Delivery

    private func enqueue(_ content: Pipe.Content, _ direction: Direction, of connection: Connection) {
        connection.pipes[direction]!.append(content, at: .now() + (self.delays[direction] ?? .zero))
        guard connection.bytes <= Self.heldBytesMax else {
            self.counts.exceeded += 1
            return self.reset(connection)
        }
        self.deliver(direction, of: connection)
    }

    private func deliver(_ direction: Direction, of connection: Connection) {
        guard !self.stalled.contains(direction), self.connections[connection.id] != nil else { return }
        guard let target = direction == .toServer ? connection.server : connection.client else {
            if connection.isConnecting, direction == .toServer { return }
            // The receiver has closed.
            connection.pipes[direction]!.discard()
            return self.endIfBothClosed(connection)
        }
        while let content = connection.pipes[direction]!.next(at: .now()) {
            switch content {
            case .bytes(var bytes):
                if direction == .toServer { self.passRequests(&bytes, of: connection) }
                guard self.write(bytes, direction, to: target, of: connection) else { return }
            case .end:
                self.connections[connection.id] = nil
                connection.closeAfterWriting(target)
                return
            }
        }
        guard let due = connection.pipes[direction]!.due else { return }
        let id = connection.id
        self.loop.scheduleTask(deadline: due) {
            self.assumeIsolated { proxy in
                if let connection = proxy.connections[id] { proxy.deliver(direction, of: connection) }
            }
        }
    }

    private func endIfBothClosed(_ connection: Connection) {
        if connection.client == nil, connection.server == nil, !connection.isConnecting { self.connections[connection.id] = nil }
    }

    /// Counts requests, and notes whose replies will be discarded.
    private func passRequests(_ bytes: inout ByteBuffer, of connection: Connection) {
        guard !connection.discardsRequests else { return bytes.clear() }
        for request in connection.requests.scan(bytes) {
            self.counts.requests += 1
            let isDropped = self.drop?.takes(request.name) ?? false
            connection.expectedReplies.append(isDropped)
            guard isDropped else { continue }
            connection.hasLostBytes = true
            guard self.drop?.requests == 0 else { continue }
            for connection in self.connections.values where connection.hasLostBytes { connection.discardsRequests = true }
            bytes = bytes.getSlice(at: bytes.readerIndex, length: request.end)!
            return
        }
    }

    /// False if the connection was cut.
    private func write(_ bytes: ByteBuffer, _ direction: Direction, to target: any Channel, of connection: Connection) -> Bool {
        var bytes = bytes
        let remaining = self.bytesUntilCut[direction]
        if let remaining, remaining < bytes.readableBytes { bytes = bytes.getSlice(at: bytes.readerIndex, length: remaining)! }
        let (id, count) = (connection.id, bytes.readableBytes)
        connection.bytesInFlight += count
        connection.lastWrite = target.writeAndFlush(bytes)
        connection.lastWrite!.whenComplete { _ in self.assumeIsolated { $0.connections[id]?.bytesInFlight -= count } }
        guard let remaining else { return true }
        self.bytesUntilCut[direction] = remaining - count
        guard remaining == count else { return true }
        self.bytesUntilCut[direction] = nil
        // The receiver must get its last bytes. A reset could overtake them.
        self.connections[id] = nil
        if let origin = direction == .toServer ? connection.client : connection.server { Self.reset(origin) }
        connection.closeAfterWriting(target)
        self.cut()
        return false
    }

    private func reset(_ connection: Connection) {
        self.connections[connection.id] = nil
        for channel in [connection.client, connection.server] { if let channel { Self.reset(channel) } }
    }

    private static func reset(_ channel: any Channel) {
        _ = (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0))
        channel.close(promise: nil)
    }
}

/// Requests whose replies will be discarded.
private struct ReplyDrop {
    /// How many more requests to take, and how many replies to them are still to come.
    var requests: Int
    var replies: Int
    var name: String?

    mutating func takes(_ name: String) -> Bool {
        guard self.requests > 0, self.name == nil || self.name == name else { return false }
        self.requests -= 1
        return true
    }
}

/// The bytes of one direction that were not delivered yet.
private struct Pipe {
    enum Content {
        case bytes(ByteBuffer)
        /// The sender closed.
        case end
    }

    private var items: Deque<(content: Content, at: NIODeadline)> = []
    private(set) var bytes = 0

    var due: NIODeadline? { self.items.first?.at }

    /// Never before what is in the pipe already.
    mutating func append(_ content: Content, at: NIODeadline) {
        if case .bytes(let buffer) = content { self.bytes += buffer.readableBytes }
        self.items.append((content, max(at, self.items.last?.at ?? at)))
    }

    mutating func next(at now: NIODeadline) -> Content? {
        guard let first = self.items.first, first.at <= now else { return nil }
        self.items.removeFirst()
        if case .bytes(let buffer) = first.content { self.bytes -= buffer.readableBytes }
        return first.content
    }

    mutating func isDueNow() {
        for index in self.items.indices { self.items[index].at = .now() }
    }

    mutating func discard() {
        self.items = []
        self.bytes = 0
    }
}

/// On the proxy's loop.
private final class Connection {
    let id: Int
    /// Nil when it has closed.
    var client: (any Channel)?
    /// Nil until it is connected, and when it has closed.
    var server: (any Channel)?
    var isConnecting = true
    var pipes: [FaultyProxy.Direction: Pipe] = [.toServer: Pipe(), .toClient: Pipe()]
    var bytesInFlight = 0
    var lastWrite: EventLoopFuture<Void>?

    var requests = RESPScanner()
    private var replies = RESPScanner()
    /// For each request that is not answered yet: whether its reply will be discarded.
    var expectedReplies: Deque<Bool> = []
    var hasLostBytes = false
    var discardsRequests = false

    init(id: Int, client: any Channel) {
        self.id = id
        self.client = client
    }

    var bytes: Int { self.pipes.values.reduce(self.bytesInFlight) { $0 + $1.bytes } }

    /// The bytes without those of replies that are discarded, and how many replies of that kind have ended.
    func filterReplies(_ bytes: ByteBuffer) -> (bytes: ByteBuffer, dropped: Int) {
        var (kept, dropped) = (ByteBuffer(), 0)
        var rest = bytes
        var start = 0
        for reply in self.replies.scan(bytes) {
            let part = rest.readSlice(length: reply.end - start)!
            start = reply.end
            if self.expectedReplies.popFirst() ?? false { dropped += 1 } else { kept.writeImmutableBuffer(part) }
        }
        if !(self.expectedReplies.first ?? false) { kept.writeImmutableBuffer(rest) }
        return (kept, dropped)
    }

    /// Closing a channel fails the writes that it has not finished.
    func closeAfterWriting(_ channel: any Channel) {
        guard let lastWrite else { return channel.close(promise: nil) }
        lastWrite.whenComplete { _ in channel.close(promise: nil) }
    }
}

/// One side of a connection.
private final class ProxyEnd: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let proxy: FaultyProxyCore
    private let connection: Int
    private let direction: FaultyProxy.Direction

    init(_ proxy: FaultyProxyCore, connection: Int, receives direction: FaultyProxy.Direction) {
        self.proxy = proxy
        self.connection = connection
        self.direction = direction
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        self.proxy.assumeIsolated { [connection, direction] in $0.received(bytes, direction, of: connection) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.proxy.assumeIsolated { [connection, direction] in $0.ended(direction, of: connection) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
