import NIOCore
import Pipeline

/// One connection of the API port: HTTP/1.1 with keep-alive and pipelining. The only handler in its pipeline.
///
/// `@unchecked Sendable`: confined to its event loop, which is its publisher's.
final class APIHandler: ChannelInboundHandler, LoopConnection, FlushingConnection, PublishSink, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase {
        /// Can transition to: closing.
        case serving
        /// No more requests are taken; answers that are owed still go out, then it closes.
        case closing
    }

    var id = ConnectionID(slot: 0, generation: 0)
    var deadline = 0
    var wheelSecond = 0

    let port: APIPort
    var context: ChannelHandlerContext!
    var phase = Phase.serving
    var parser: HTTPRequestParser
    var responses = ResponseQueue()
    var output = ByteBuffer()
    var isFlushQueued = false
    /// Part of a request has arrived, and its deadline runs.
    var isInRequest = true
    var isReadPaused = false
    /// The client has said all it will. What it has asked is still answered.
    var isInputClosed = false
    var closesAfterFlush = false
    var stall = StallWatch()
    /// A question that leaves the loop is under way. One at a time: their answers are large, and few bytes ask for many of them.
    var isAsking = false
    /// Single publishes to `/pub` and `/api/publish` that wait for their outcome, by request.
    var publishes: [UInt64: (channel: ChannelName, form: PublishForm, keepAlive: Bool)] = [:]
    let isOverLimit: Bool

    enum PublishForm { case raw, json }

    init(port: APIPort, isOverLimit: Bool) {
        self.port = port
        self.isOverLimit = isOverLimit
        let limits = port.loop.limits
        self.parser = HTTPRequestParser(headerBytesMax: limits.headerBytesMax, bodyBytesMax: limits.requestBytesMax)
    }

    var loop: LoopContext { self.port.loop }
    var services: APIServices { self.port.services }

    // MARK: - Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.loop.metrics.apiAccepted += 1
        self.loop.add(self, deadlineIn: self.isOverLimit ? 2 : self.loop.limits.handshakeSecondsMax)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.loop.metrics.apiClosed += 1
        self.loop.remove(self)
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard self.phase == .serving else { return }
        self.parser.feed(self.unwrapInboundIn(data))
        self.readRequests()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            self.stall.unblock()
            self.resumeReading()
        } else {
            self.stall.block(at: self.loop.second, waiting: context.waitingBytes)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else { return }
        // `printf … | nc`: the answers to what was asked still go out, to what has not been looked at yet, too.
        self.isInputClosed = true
        if !self.isReadPaused { self.readRequests() }
    }

    /// Nothing more is asked; what is owed goes out.
    func finish() {
        self.phase = .closing
        self.closesAfterFlush = true
        if self.responses.count == 0, self.output.readableBytes == 0 { self.closeGently() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    // MARK: - Requests

    func readRequests() {
        do throws(HTTPFailure) {
            while self.phase == .serving {
                guard self.responses.count < self.loop.limits.pipelinedRequestsMax, !self.isAsking, self.context?.channel.isWritable ?? false else {
                    return self.pauseReading()
                }
                switch try self.parser.next() {
                case .needMore where self.isInputClosed:
                    return self.finish()
                case .needMore(let wantsContinue):
                    if wantsContinue { self.sendContinue() }
                    return self.setDeadline()
                case .request(let request):
                    self.isInRequest = false
                    self.loop.metrics.apiRequests += 1
                    self.handle(request)
                }
            }
        } catch {
            self.phase = .closing
            self.respond(self.responses.reserve(), error, keepAlive: false)
        }
    }

    func handle(_ request: Request) {
        let index = self.responses.reserve(headers: self.services.origins.headers(for: request.head))
        // One that came over the limit is told so once, and makes room.
        let keepAlive = request.head.keepsAlive && !self.isOverLimit
        if !keepAlive { self.phase = .closing }
        do throws(HTTPFailure) {
            // A probe asks whether the node lives, and it does. A page whose preflight is refused cannot see why.
            if self.isOverLimit, request.head.path != "/healthz", request.head.method != .options {
                throw .unavailable(
                    "API connection limit reached (\(self.services.connectionsMax)); keep fewer open, or raise api-connections-max and the descriptor limit"
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

    /// A request in the middle has to come on; between requests a connection may rest longer.
    func setDeadline() {
        let limits = self.loop.limits
        if self.parser.isBetweenRequests {
            self.isInRequest = false
            self.loop.setDeadline(of: self, in: limits.idleSecondsMax)
        } else if !self.isInRequest {
            // Counted from the first byte: one that drips does not buy time with each drop.
            self.isInRequest = true
            self.loop.setDeadline(of: self, in: limits.handshakeSecondsMax)
        }
    }

    func pauseReading() {
        guard !self.isReadPaused, let channel = self.context?.channel else { return }
        self.isReadPaused = true
        _ = try? channel.syncOptions?.setOption(ChannelOptions.autoRead, value: false)
    }

    func resumeReading() {
        guard self.isReadPaused, self.phase == .serving, !self.isAsking, self.responses.count < self.loop.limits.pipelinedRequestsMax / 2 + 1,
            let channel = self.context?.channel, channel.isWritable
        else { return }
        self.isReadPaused = false
        self.readRequests()
        if !self.isReadPaused { _ = try? channel.syncOptions?.setOption(ChannelOptions.autoRead, value: true) }
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
