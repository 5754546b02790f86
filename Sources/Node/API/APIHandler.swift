import NIOCore
import Pipeline

/// One connection of the API port: HTTP/1.1 with keep-alive and pipelining. The only handler in its pipeline.
///
/// `@unchecked Sendable`: confined to its event loop, which is its publisher's.
final class APIHandler: ChannelInboundHandler, LoopConnection, PublishSink, @unchecked Sendable {
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

    let loop: LoopContext
    private var context: ChannelHandlerContext!
    private var phase = Phase.serving
    private var parser: HTTPRequestParser
    private var responses = ResponseQueue()
    private var output = ByteBuffer()
    private var isFlushQueued = false
    /// Part of a request has arrived, and its deadline runs.
    private var isInRequest = true
    private var isReadPaused = false
    /// The client has said all it will. What it has asked is still answered.
    private var isInputClosed = false
    private var closesAfterFlush = false
    /// The loop's second at which the socket stopped taking bytes.
    private var blockedSince: Int?
    /// A question that leaves the loop is under way. One at a time: their answers are large, and few bytes ask for many of them.
    private var isAsking = false
    /// Single publishes to `/pub` and `/api/publish` that wait for their outcome, by request.
    private var publishes: [UInt64: (channel: ChannelName, form: PublishForm, keepAlive: Bool)] = [:]
    private let isOverLimit: Bool

    enum PublishForm { case raw, json }

    init(loop: LoopContext, isOverLimit: Bool) {
        self.loop = loop
        self.isOverLimit = isOverLimit
        self.parser = HTTPRequestParser(headerBytesMax: loop.limits.headerBytesMax, bodyBytesMax: loop.limits.requestBytesMax)
    }

    // MARK: - Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.loop.statistics.apiAccepted += 1
        self.loop.add(self, deadlineIn: self.isOverLimit ? 2 : self.loop.limits.handshakeSecondsMax)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.loop.statistics.apiClosed += 1
        self.loop.remove(self)
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard self.phase == .serving else { return }
        self.parser.feed(self.unwrapInboundIn(data))
        self.readRequests()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.blockedSince = context.channel.isWritable ? nil : self.loop.second
        self.resumeReading()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else { return }
        // `printf … | nc`: the answers to what was asked still go out, to what has not been looked at yet, too.
        self.isInputClosed = true
        if !self.isReadPaused { self.readRequests() }
    }

    /// Nothing more is asked; what is owed goes out.
    private func finish() {
        self.phase = .closing
        self.closesAfterFlush = true
        if self.responses.count == 0, self.output.readableBytes == 0 { self.closeGently() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    // MARK: - Requests

    private func readRequests() {
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
                    self.loop.statistics.apiRequests += 1
                    self.handle(request)
                }
            }
        } catch {
            self.phase = .closing
            self.respond(self.responses.reserve(), error, keepAlive: false)
        }
    }

    private func handle(_ request: Request) {
        let index = self.responses.reserve(headers: self.loop.shared.apiOrigins.headers(for: request.head))
        // One that came over the limit is told so once, and makes room.
        let keepAlive = request.head.keepsAlive && !self.isOverLimit
        if !keepAlive { self.phase = .closing }
        do throws(HTTPFailure) {
            // A probe asks whether the node lives, and it does.
            if self.isOverLimit, request.head.path != "/healthz" {
                throw .unavailable("this node has as many API connections as it may (api-connections-max); keep fewer open")
            }
            try self.route(request, index, keepAlive)
        } catch {
            self.respond(index, error, keepAlive: keepAlive, omitBody: request.head.method == .head)
        }
    }

    private func sendContinue() {
        guard self.responses.count == 0 else { return }
        self.output.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
        self.queueFlush()
    }

    /// A request in the middle has to come on; between requests a connection may rest longer.
    private func setDeadline() {
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

    private func pauseReading() {
        guard !self.isReadPaused, let channel = self.context?.channel else { return }
        self.isReadPaused = true
        _ = try? channel.syncOptions?.setOption(ChannelOptions.autoRead, value: false)
    }

    private func resumeReading() {
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

    // MARK: - Publishing

    /// Publishes one event; its answer fills the request's place.
    func publish(_ event: Event, _ index: UInt64, form: PublishForm, keepAlive: Bool) {
        self.publishes[index] = (event.channel, form, keepAlive)
        self.loop.publisher.onLoop { $0.publish(event, sink: self, token: index) }
    }

    /// Publishes several; `answer` is called with their outcomes in order.
    func publish(_ events: [Event], answer: @escaping ([PublishOutcome]) -> Void) {
        guard !events.isEmpty else { return answer([]) }
        let job = PublishJob(count: events.count, finish: answer)
        self.loop.publisher.onLoop { publisher in
            for (index, event) in events.enumerated() { publisher.publish(event, sink: job, token: UInt64(index)) }
        }
    }

    func published(_ outcome: PublishOutcome, token: UInt64) {
        guard let publish = self.publishes.removeValue(forKey: token), self.context != nil else { return }
        if case .refused(let refusal) = outcome { return self.respond(token, PublishAnswer.failure(refusal), keepAlive: publish.keepAlive) }
        var body = ByteBufferAllocator().buffer(capacity: 128)
        switch publish.form {
        case .raw:
            PublishAnswer.writeRaw(outcome, channel: publish.channel, into: &body)
        case .json:
            body.writeStaticString("{\"result\":{")
            PublishAnswer.writePosition(outcome, into: &body)
            body.writeStaticString("}}")
        }
        self.respond(token, .ok, content: .json, body: body, keepAlive: publish.keepAlive)
    }

    // MARK: - Answers

    func respond(
        _ index: UInt64, _ status: HTTPStatus, content: ResponseWriter.Content, body: ByteBuffer, headers: String = "", keepAlive: Bool,
        omitBody: Bool = false
    ) {
        var response = ByteBufferAllocator().buffer(capacity: body.readableBytes + 192)
        ResponseWriter.write(
            status, content: content, body: body, headers: headers + self.responses.headers(of: index), keepAlive: keepAlive, omitBody: omitBody,
            into: &response)
        self.complete(index, response, closes: !keepAlive)
    }

    func respond(_ index: UInt64, _ failure: HTTPFailure, keepAlive: Bool, omitBody: Bool = false) {
        self.loop.statistics.refused(failure.status)
        var response = ByteBuffer()
        ResponseWriter.write(failure, headers: self.responses.headers(of: index), keepAlive: keepAlive, omitBody: omitBody, into: &response)
        self.complete(index, response, closes: !keepAlive)
    }

    /// `headers` say more than those of the request's place, and stand for them.
    func preflight(_ index: UInt64, _ headers: String, _ keepAlive: Bool) {
        var response = ByteBuffer()
        ResponseWriter.write(.noContent, content: .text, body: ByteBuffer(), headers: headers, keepAlive: keepAlive, into: &response)
        self.complete(index, response, closes: !keepAlive)
    }

    private func complete(_ index: UInt64, _ response: ByteBuffer, closes: Bool) {
        if self.responses.complete(index, with: response, closes: closes, into: &self.output) { self.closesAfterFlush = true }
        self.queueFlush()
    }

    private func queueFlush() {
        guard !self.isFlushQueued, self.context != nil, self.output.readableBytes > 0 else { return }
        self.isFlushQueued = true
        self.loop.flushSoon(self)
    }

    /// Writes what is ready, in one write. Called by the loop once a turn.
    func flush() {
        self.isFlushQueued = false
        guard let context = self.context else { return }
        let output = self.output
        self.output = ByteBuffer()
        context.writeAndFlush(self.wrapOutboundOut(output), promise: nil)
        if self.closesAfterFlush, self.responses.count == 0 {
            self.closeGently()
        } else {
            self.resumeReading()
        }
    }

    private func closeGently() {
        self.phase = .closing
        if let context { self.loop.closeGently(self, context) }
    }

    // MARK: - LoopConnection

    func deadlineReached() {
        switch self.phase {
        case .serving where self.blockedSince != nil, .closing where self.blockedSince != nil:
            guard self.loop.second - self.blockedSince! < self.loop.limits.stalledSecondsMax else {
                self.loop.statistics.stalled += 1
                return self.context.close(promise: nil)
            }
            self.loop.setDeadline(of: self, in: self.loop.limits.handshakeSecondsMax)
        // The client waits for us, and we do not read what it has sent meanwhile.
        case .serving where self.responses.count > 0 || self.isReadPaused, .closing where self.responses.count > 0:
            self.loop.setDeadline(of: self, in: self.loop.limits.handshakeSecondsMax)
        case .serving where !self.parser.isBetweenRequests:
            self.loop.statistics.timedOut += 1
            self.phase = .closing
            self.respond(self.responses.reserve(), .timeout, keepAlive: false)
        case .serving, .closing:
            self.context.close(promise: nil)
        }
    }

    func stop() {
        self.phase = .closing
        self.closesAfterFlush = true
        if self.responses.count == 0, self.output.readableBytes == 0 { self.loop.closeWhenWritten(self, self.context) }
    }
}
