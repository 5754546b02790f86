import NIOCore
import NIOPosix
import Partitioning

@testable import Link

/// A peer that completes the handshake, and then sends nothing or reads nothing.
final class FakePeer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Behaviour: Sendable {
        /// Reads, and sends nothing.
        case silent
        /// Sends heartbeats, and reads nothing.
        case readsNothing
    }

    private let behaviour: Behaviour
    private var decoder = LinkFrameDecoder(payloadBytesMax: 1 << 24)
    private var machine: LinkMachine

    init(_ id: String, _ behaviour: Behaviour) {
        self.behaviour = behaviour
        let identity = LinkIdentity(cluster: "test", process: ProcessID(id: id, incarnation: 1), protocols: 1...1, version: "0.1")
        self.machine = LinkMachine(.incoming, identity: identity, to: nil, nonce: LinkHello.makeNonce(), secret: nil, limits: LinkLimits(), now: 0)
    }

    /// Listens on a free port.
    static func listen(_ id: String, _ behaviour: Behaviour) async throws -> any Channel {
        try await ServerBootstrap(group: TestNode.group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(FakePeer(id, behaviour)) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard self.machine.state != .up else { return }
        self.decoder.feed(self.unwrapInboundIn(data))
        while self.machine.state != .up, let frame = try? self.decoder.nextFrame() {
            for action in self.machine.received(frame, now: 0) {
                if case .send(let kind, let payload) = action { Self.write(kind, payload, context) }
            }
        }
        guard self.machine.state == .up, case .readsNothing = self.behaviour else { return }
        try? context.channel.syncOptions?.setOption(.autoRead, value: false)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(100)) { task in
            guard bound.value.channel.isActive else { return task.cancel() }
            Self.write(.heartbeat, [UInt8](repeating: 0, count: 8), bound.value)
        }
    }

    private static func write(_ kind: LinkFrame.Kind, _ payload: [UInt8], _ context: ChannelHandlerContext) {
        var buffer = ByteBuffer()
        LinkFrame(kind: kind, viewVersion: 1, payload: payload).write(into: &buffer)
        context.writeAndFlush(NIOAny(buffer), promise: nil)
    }
}

/// Collects the received bytes until the connection ends.
final class Keeper: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var bytes = ByteBuffer()
    private let ended: EventLoopPromise<ByteBuffer>

    init(_ ended: EventLoopPromise<ByteBuffer>) { self.ended = ended }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { self.bytes.writeImmutableBuffer(self.unwrapInboundIn(data)) }
    func channelInactive(context: ChannelHandlerContext) { self.ended.succeed(self.bytes) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    /// Connects, sends the bytes, and returns everything that it receives until the other side closes.
    static func send(_ bytes: [UInt8], to node: TestNode, _ setUp: @escaping @Sendable (any Channel) throws -> Void = { _ in }) async throws -> ByteBuffer {
        let ended = TestNode.group.next().makePromise(of: ByteBuffer.self)
        do {
            let channel = try await ClientBootstrap(group: TestNode.group).channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try setUp(channel)
                    try channel.pipeline.syncOperations.addHandler(Keeper(ended))
                }
            }.connect(host: "127.0.0.1", port: node.port).get()
            channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
        } catch {
            ended.fail(error)
        }
        return try await ended.futureResult.get()
    }
}
