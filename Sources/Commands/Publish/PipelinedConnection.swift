import NIOCore
import NIOHTTP1
import NIOPosix

/// One connection with several requests in flight. The node handles them in order and sends the responses in order.
final class PipelinedConnection: Sendable {
    struct Request: Sendable {
        var path: String
        var headers: [(String, String)]
        var body: [UInt8]
    }

    private let channel: any Channel
    private let handler: NIOLoopBound<PipelineHandler>

    private init(channel: any Channel, handler: NIOLoopBound<PipelineHandler>) {
        self.channel = channel
        self.handler = handler
    }

    var isOpen: Bool { self.channel.isActive }

    static func open(_ base: BaseURL, within limit: Duration) async throws -> PipelinedConnection {
        try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(.nanoseconds(Int64(limit.seconds * 1e9)))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connect(host: base.host, port: base.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = PipelineHandler(host: base.authority)
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(handler)
                    return PipelinedConnection(channel: channel, handler: NIOLoopBound(handler, eventLoop: channel.eventLoop))
                }
            }
    }

    /// Sends all requests and waits for all responses. Requests without a response at the end of the connection or of the time limit have failed: it is unknown
    /// whether the node has handled them.
    func send(_ requests: [Request], within limit: Duration) async -> [Result<Answer, any Error>] {
        let handler = self.handler
        let deadline = self.channel.eventLoop.scheduleTask(in: .nanoseconds(Int64(limit.seconds * 1e9))) { handler.value.fail(TimedOut()) }
        defer { deadline.cancel() }
        do {
            let answers = try await self.channel.eventLoop.submit { handler.value.send(requests) }.get()
            var results: [Result<Answer, any Error>] = []
            for answer in answers {
                do { results.append(.success(try await answer.get())) } catch { results.append(.failure(error)) }
            }
            return results
        } catch {
            return requests.map { _ in .failure(error) }
        }
    }

    func close() async {
        try? await self.channel.close().get()
    }
}

/// Pairs responses with requests. Runs on its channel's loop.
final class PipelineHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private static let answerBytesMax = 1024 * 1024

    private let host: String
    private var context: ChannelHandlerContext?
    private var waiting: [EventLoopPromise<Answer>] = []
    private var head: HTTPResponseHead?
    private var body: [UInt8] = []

    init(host: String) {
        self.host = host
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func send(_ requests: [PipelinedConnection.Request]) -> [EventLoopFuture<Answer>] {
        guard let context, context.channel.isActive else { return [] }
        let futures = requests.map { request in
            let promise = context.eventLoop.makePromise(of: Answer.self)
            self.waiting.append(promise)
            var head = HTTPRequestHead(version: .http1_1, method: .POST, uri: request.path)
            head.headers.add(name: "Host", value: self.host)
            for (name, value) in request.headers { head.headers.add(name: name, value: value) }
            head.headers.add(name: "Content-Length", value: String(request.body.count))
            context.write(self.wrapOutboundOut(.head(head)), promise: nil)
            context.write(self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: request.body)))), promise: nil)
            context.write(self.wrapOutboundOut(.end(nil)), promise: nil)
            return promise.futureResult
        }
        context.flush()
        return futures
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
        case .body(let bytes):
            guard self.body.count + bytes.readableBytes <= PipelineHandler.answerBytesMax else { return self.fail(ChannelError.eof) }
            self.body += bytes.readableBytesView
        case .end:
            guard let head = self.head, head.status.code >= 200 else { return }
            let answer = Answer(status: Int(head.status.code), headers: head.headers, body: self.body)
            self.head = nil
            self.body = []
            guard !self.waiting.isEmpty else { return self.fail(ChannelError.eof) }
            self.waiting.removeFirst().succeed(answer)
            if !head.isKeepAlive { self.fail(ChannelError.eof) }
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.fail(ChannelError.eof)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.fail(error)
    }

    /// Ends the connection. Requests without a response never get one.
    func fail(_ error: any Error) {
        let waiting = self.waiting
        self.waiting = []
        for promise in waiting { promise.fail(error) }
        self.context?.close(promise: nil)
    }
}
