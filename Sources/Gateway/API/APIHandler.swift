import NIOCore
import Pipeline

/// One connection of the API port: HTTP/1.1 with keep-alive and pipelining. The only handler in its pipeline.
///
/// `@unchecked Sendable`: confined to its event loop, which is its publisher's.
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
    /// A question that leaves the loop is under way. One at a time: their answers are large, and few bytes ask for many of them.
    var isAsking = false
    /// Single publishes to `/pub` and `/api/publish` that wait for their outcome, by request.
    var publishes: [UInt64: (channel: ChannelName, form: PublishForm, keepAlive: Bool)] = [:]

    enum PublishForm { case raw, json }

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
        // `printf … | nc`: every request that the client sent still gets its response, also one that has not been looked at yet.
        self.http.inputClosed()
        if self.http.state != .paused { self.readRequests() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    // MARK: - Requests

    var takesRequests: Bool { true }

    var hasRoom: Bool { !self.isAsking && self.responses.count < self.loop.limits.pipelinedRequestsMax }

    var hasRoomAgain: Bool { !self.isAsking && self.responses.count < self.loop.limits.pipelinedRequestsMax / 2 + 1 }

    func handle(_ request: Request) {
        self.loop.metrics.apiRequests += 1
        let index = self.responses.reserve(headers: self.services.origins.headers(for: request.head))
        let keepAlive = self.http.keepsAlive(after: request.head)
        if !keepAlive { self.endRequests() }
        do throws(HTTPFailure) {
            // A probe asks whether the node lives, and it does. A page whose preflight is refused cannot see why.
            if self.http.isOverLimit, request.head.path != "/healthz", request.head.method != .options {
                throw .unavailable(
                    "API connection limit reached (\(self.services.connectionsMax)); keep fewer open, or raise api-connections-max and the descriptor limit")
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

    func refuse(_ failure: HTTPFailure) {
        self.endRequests()
        self.respond(self.responses.reserve(), failure, keepAlive: false)
    }

    func finish() {
        self.endRequests()
        self.closesAfterFlush = true
        if self.responses.count == 0, self.output.readableBytes == 0 { self.closeGently() }
    }

    // MARK: - From the loop

    func deadlineReached() { self.requestDeadlineReached(isOwed: self.responses.count > 0) }

    /// A publisher stays on a node that is drained.
    func drain() {}

    func stop() {
        self.endRequests()
        self.closesAfterFlush = true
        if self.responses.count == 0, self.output.readableBytes == 0 { self.loop.closeWhenWritten(self, self.context) }
    }

    // MARK: - Questions

    /// Answers with what `work` finds, later and off the loop. Its place in the order of answers is kept.
    func ask(_ work: @escaping @Sendable () async -> @Sendable (APIHandler) -> Void) {
        self.isAsking = true
        let eventLoop = self.loop.loop
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        Task {
            let answer = await work()
            eventLoop.execute {
                bound.value.isAsking = false
                answer(bound.value)
                bound.value.resumeReading()
            }
        }
    }
}
