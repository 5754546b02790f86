import NIOCore
import NIOHTTP1
import NIOPosix

/// One connection with several requests in flight. The node handles them in order and sends the responses in order.
///
/// The HTTP client of ``NodeClient`` waits for each response before it sends the next request on a connection. This would limit `publish -` to one event for
/// each round trip.
final class PipelinedConnection: Sendable {
    private let channel: any Channel
    private let handler: NIOLoopBound<PipelineHandler>

    private init(channel: any Channel, handler: NIOLoopBound<PipelineHandler>) {
        self.channel = channel
        self.handler = handler
    }

    var isOpen: Bool { self.channel.isActive }

    static func open(_ base: BaseURL, within limit: Duration) async throws -> PipelinedConnection {
        try await Connecting.bootstrap(timeout: min(limit, Connecting.timeoutMax)).connect(host: base.host, port: base.port) { channel in
            channel.eventLoop.makeCompletedFuture {
                let handler = PipelineHandler(base: base)
                try channel.pipeline.syncOperations.addHTTPClientHandlers()
                try channel.pipeline.syncOperations.addHandler(handler)
                return PipelinedConnection(channel: channel, handler: NIOLoopBound(handler, eventLoop: channel.eventLoop))
            }
        }
    }

    /// Sends all requests and waits for all responses. If the connection ends or the time limit has passed, requests without a response fail, although the
    /// node may have handled them. An empty result means that the connection was closed before the call.
    func send(_ requests: [Request], within limit: Duration) async -> [Result<Response, any Error>] {
        let handler = self.handler
        let deadline = self.channel.eventLoop.scheduleTask(in: TimeAmount(limit)) { handler.value.fail(TimeoutError()) }
        defer { deadline.cancel() }
        do {
            let responses = try await self.channel.eventLoop.submit { handler.value.send(requests) }.get()
            var results: [Result<Response, any Error>] = []
            for response in responses {
                do { results.append(.success(try await response.get())) } catch { results.append(.failure(error)) }
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

/// Assigns responses to requests by their order. Runs on the event loop of its channel.
final class PipelineHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let base: BaseURL
    private var context: ChannelHandlerContext?
    private var waiting: [EventLoopPromise<Response>] = []
    private var assembler = ResponseAssembler()

    init(base: BaseURL) {
        self.base = base
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func send(_ requests: [Request]) -> [EventLoopFuture<Response>] {
        guard let context, context.channel.isActive else { return [] }
        let futures = requests.map { request in
            let promise = context.eventLoop.makePromise(of: Response.self)
            self.waiting.append(promise)
            context.write(self.wrapOutboundOut(.head(request.head(to: self.base))), promise: nil)
            context.write(self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: request.body ?? [])))), promise: nil)
            context.write(self.wrapOutboundOut(.end(nil)), promise: nil)
            return promise.futureResult
        }
        context.flush()
        return futures
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        do {
            guard let response = try self.assembler.append(self.unwrapInboundIn(data)) else { return }
            // A response without a request violates the protocol.
            guard !self.waiting.isEmpty else { return self.fail(ChannelError.eof) }
            self.waiting.removeFirst().succeed(response)
            if self.assembler.closesConnection { self.fail(ChannelError.eof) }
        } catch {
            self.fail(error)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.fail(ChannelError.eof)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.fail(error)
    }

    /// Closes the connection. Fails all requests that have no response yet.
    func fail(_ error: any Error) {
        let waiting = self.waiting
        self.waiting = []
        for promise in waiting { promise.fail(error) }
        self.context?.close(promise: nil)
    }
}
