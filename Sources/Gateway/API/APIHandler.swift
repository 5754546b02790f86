import NIOCore
import Pipeline

/// One connection of the API port: HTTP/1.1 with keep-alive and pipelining. This is the only handler of the channel.
///
/// `@unchecked Sendable`: confined to its event loop, which is also the loop of its publisher.
final class APIHandler: ChannelInboundHandler, HTTPHandler, FlushingConnection, PublishSink, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    var id = ConnectionID(slot: 0, generation: 0)
    var deadline = 0
    var wheelSecond = 0

    let port: APIPort
    var context: ChannelHandlerContext!
    var http: HTTPConnection
    var responses = ResponseQueue()
    var output = ByteBuffer()
    var isFlushQueued = false
    var closesAfterFlush = false
    /// A request is being executed off the loop. Only one is executed at a time, because such responses are large and a client can request many of them
    /// with few bytes.
    var isExecutingOffLoop = false
    /// Requests with one event (`/pub`, `/api/publish`) that wait for its outcome. The key is the index of the response.
    var publishes: [UInt64: (channel: ChannelName, form: PublishResponse.Form, keepAlive: Bool)] = [:]

    init(port: APIPort, isOverLimit: Bool) {
        self.port = port
        let limits = port.loop.limits
        self.http = HTTPConnection(headerBytesMax: limits.headerBytesMax, bodyBytesMax: limits.requestBytesMax, isOverLimit: isOverLimit)
    }

    var loop: LoopContext { self.port.loop }
    var services: APIServices { self.port.services }

    // MARK: - Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.loop.metrics.apiAccepted += 1
        self.loop.add(self, deadlineIn: self.firstDeadlineSeconds)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.loop.metrics.apiClosed += 1
        self.loop.remove(self)
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.http.receive(self.unwrapInboundIn(data))
        self.readRequests()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) { self.writabilityChanged(context) }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else { return }
        // A client such as `printf … | nc` closes its sending side early. Every request that the client has sent still gets a response, even if the
        // request has not been parsed yet.
        self.http.inputClosed()
        if self.http.state != .paused { self.readRequests() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    // MARK: - Requests

    var takesRequests: Bool { true }

    var canTakeRequest: Bool { !self.isExecutingOffLoop && self.responses.count < self.loop.limits.pipelinedRequestsMax }

    var canResume: Bool { !self.isExecutingOffLoop && self.responses.count < self.loop.limits.pipelinedRequestsMax / 2 + 1 }

    func handle(_ request: Request) {
        self.loop.metrics.apiRequests += 1
        let index = self.responses.reserve(headers: self.services.origins.headers(for: request.head))
        let keepAlive = self.http.keepsAlive(after: request.head)
        if !keepAlive { self.endRequests() }
        do throws(HTTPError) {
            // A health probe is not refused at the limit, because the node works. A preflight is not refused, because the page could not read the reason.
            if self.http.isOverLimit, request.head.path != "/healthz", request.head.method != .options {
                throw .unavailable(
                    "API connection limit reached (\(self.services.connectionsMax)); keep fewer connections open, or raise api-connections-max and the descriptor limit"
                )
            }
            try self.route(request, index, keepAlive)
        } catch {
            self.respond(index, error, keepAlive: keepAlive, omitBody: request.head.method == .head)
        }
    }

    func sendContinue() {
        guard self.responses.count == 0 else { return }
        self.output.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
        self.queueFlush()
    }

    func refuse(_ failure: HTTPError) {
        self.endRequests()
        self.respond(self.responses.reserve(), failure, keepAlive: false)
    }

    func finish() {
        self.endRequests()
        self.closesAfterFlush = true
        if self.responses.count == 0, self.output.readableBytes == 0 { self.closeGently() }
    }

    // MARK: - From the loop

    func deadlineReached() { self.requestDeadlineReached(hasPendingResponse: self.responses.count > 0) }

    /// Does nothing: back ends may stay connected to a drained node.
    func drain() {}

    func stop() {
        self.endRequests()
        self.closesAfterFlush = true
        if self.responses.count == 0, self.output.readableBytes == 0 { self.loop.closeWhenWritten(self, self.context) }
    }
}
