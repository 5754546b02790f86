import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import Synchronization

/// An HTTP server on a free port of this machine, with responses given by the test.
final class FakeNode: Sendable {
    struct Request: Sendable {
        var method: String
        var uri: String
        var headers: HTTPHeaders
        var body: String
        /// The number of earlier requests on the same connection.
        var before: Int

        /// The path without the query.
        var path: String { String(self.uri.prefix { $0 != "?" }) }
    }

    enum Reply: Sendable {
        case response(Int, String, [(String, String)] = [])
        /// Sends a body in pieces, and then closes the connection.
        case stream([String])
        /// Opens a WebSocket, sends these texts, and then closes with this code.
        case webSocket([String], close: Int)
        /// Closes the connection without a response.
        case hangUp
        /// Sends nothing, and leaves the connection open.
        case silence
    }

    private let channel: any Channel
    private let seen = Mutex<[Request]>([])

    var url: String { "http://127.0.0.1:\(self.channel.localAddress?.port ?? 0)" }
    var requests: [Request] { self.seen.withLock { $0 } }

    static func run<Result>(_ reply: @escaping @Sendable (Request) -> Reply, _ body: (FakeNode) async throws -> Result) async throws -> Result {
        let holder = Mutex<FakeNode?>(nil)
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = FakeHandler { request in
                        holder.withLock { $0 }?.seen.withLock { $0.append(request) }
                        return reply(request)
                    }
                    let upgrader = NIOWebSocketServerUpgrader { channel, head in
                        guard case .webSocket = reply(FakeNode.request(head)) else { return channel.eventLoop.makeSucceededFuture(nil) }
                        return channel.eventLoop.makeSucceededFuture([:])
                    } upgradePipelineHandler: { channel, head in
                        let request = FakeNode.request(head)
                        holder.withLock { $0 }?.seen.withLock { $0.append(request) }
                        guard case .webSocket(let texts, let code) = reply(request) else { return channel.close() }
                        return FakeNode.send(texts, code, on: channel)
                    }
                    let bound = NIOLoopBound(handler, eventLoop: channel.eventLoop)
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(
                        withPipeliningAssistance: true,
                        withServerUpgrade: (
                            upgraders: [upgrader], completionHandler: { context in context.pipeline.syncOperations.removeHandler(bound.value, promise: nil) }
                        ))
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let node = FakeNode(channel)
        holder.withLock { $0 = node }
        defer { channel.close(promise: nil) }
        return try await body(node)
    }

    private init(_ channel: any Channel) {
        self.channel = channel
    }

    private static func request(_ head: HTTPRequestHead) -> Request {
        Request(method: head.method.rawValue, uri: head.uri, headers: head.headers, body: "", before: 0)
    }

    private static func send(_ texts: [String], _ code: Int, on channel: any Channel) -> EventLoopFuture<Void> {
        channel.pipeline.addHandler(FakeWebSocketHandler(texts, code))
    }
}

private final class FakeWebSocketHandler: ChannelInboundHandler, Sendable {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    private let texts: [String]
    private let code: Int

    init(_ texts: [String], _ code: Int) {
        self.texts = texts
        self.code = code
    }

    func handlerAdded(context: ChannelHandlerContext) {
        // A text in two frames with a ping between them, as a server may send it.
        for text in self.texts {
            let half = text.utf8.count / 2
            context.write(self.wrapOutboundOut(.init(fin: false, opcode: .text, data: ByteBuffer(bytes: text.utf8.prefix(half)))), promise: nil)
            context.write(self.wrapOutboundOut(.init(fin: true, opcode: .ping, data: ByteBuffer(string: "p"))), promise: nil)
            context.write(self.wrapOutboundOut(.init(fin: true, opcode: .continuation, data: ByteBuffer(bytes: text.utf8.dropFirst(half)))), promise: nil)
        }
        context.writeAndFlush(
            self.wrapOutboundOut(.init(fin: true, opcode: .connectionClose, data: ByteBuffer(integer: UInt16(self.code)))), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = self.unwrapInboundIn(data)
        precondition(frame.maskKey != nil, "A client masks its frames")
        if frame.opcode == .connectionClose { context.close(promise: nil) }
    }
}

private final class FakeHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let reply: (FakeNode.Request) -> FakeNode.Reply
    private var head: HTTPRequestHead?
    private var body = ""
    private var count = 0

    init(_ reply: @escaping (FakeNode.Request) -> FakeNode.Reply) {
        self.reply = reply
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            self.body = ""
        case .body(let bytes):
            self.body += String(buffer: bytes)
        case .end:
            guard let head else { return }
            let request = FakeNode.Request(method: head.method.rawValue, uri: head.uri, headers: head.headers, body: self.body, before: self.count)
            self.count += 1
            self.response(self.reply(request), context)
        }
    }

    private func response(_ reply: FakeNode.Reply, _ context: ChannelHandlerContext) {
        switch reply {
        case .response(let status, let body, let headers):
            var head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status))
            for (name, value) in headers { head.headers.add(name: name, value: value) }
            head.headers.add(name: "Content-Length", value: String(body.utf8.count))
            context.write(self.wrapOutboundOut(.head(head)), promise: nil)
            context.write(self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: body)))), promise: nil)
            context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
        case .stream(let pieces):
            context.write(self.wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .ok))), promise: nil)
            for piece in pieces { context.writeAndFlush(self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: piece)))), promise: nil) }
            context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
            context.close(promise: nil)
        case .webSocket, .hangUp:
            context.close(promise: nil)
        case .silence:
            break
        }
    }
}
