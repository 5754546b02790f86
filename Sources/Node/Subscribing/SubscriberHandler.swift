import NIOCore
import Pipeline

/// One connection of the subscriber port, from its first byte to its last. The only handler in its pipeline.
///
/// Confined to its event loop. What to do is decided by ``HTTPRequestParser``, ``WebSocketParser`` and the fanout; this class executes it.
final class SubscriberHandler: ChannelInboundHandler, LoopConnection, SubscriberConnection {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase {
        /// Waiting for a request, or in the middle of one.
        /// Can transition to: opening, closing.
        case reading
        /// The request was understood; its channels are being opened.
        /// Can transition to: streaming, polling, closing.
        case opening
        /// Events flow until the connection ends.
        /// Can transition to: closing.
        case streaming
        /// A long-poll waits for its answer.
        /// Can transition to: reading (answered, kept alive), closing.
        case polling
        /// The last words are said; what still arrives is thrown away until the other side has closed or the time is up.
        case closing
    }

    var id = ConnectionID(slot: 0, generation: 0)
    var deadline = 0
    var wheelSecond = 0

    let loop: LoopContext
    var context: ChannelHandlerContext!
    private(set) var phase = Phase.reading
    /// Nil while events stream: an idle subscriber should weigh little.
    private var parser: HTTPRequestParser?
    private var webSocket: WebSocketParser?
    private(set) var subscriber: Subscriber?
    private var transport = Transport.sse
    private var keepsAlive = false
    private var crossOriginHeaders = ""
    private var upgradeResponse = ""
    /// The request was a HEAD, whose answer has no body.
    private var omitsBody = false
    private var missedPongs = 0
    /// The loop's second at which the socket stopped taking bytes.
    private var blockedSince: Int?
    private var isReadPaused = false
    /// Over the connection limit: it is told so and closed.
    private let isOverLimit: Bool

    init(loop: LoopContext, isOverLimit: Bool) {
        self.loop = loop
        self.isOverLimit = isOverLimit
    }

    // MARK: - Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.parser = self.newParser()
        self.loop.statistics.accepted += 1
        self.loop.add(self, deadlineIn: self.isOverLimit ? 2 : self.loop.limits.handshakeSecondsMax)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        // Whatever ended the connection, it ends here, once.
        self.loop.statistics.closed += 1
        self.loop.remove(self)
        self.endSubscriber()
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        switch self.phase {
        case .reading, .opening, .polling:
            self.parser?.feed(bytes)
            if self.phase == .reading { self.readRequests() } else { self.checkPipelined() }
        case .streaming:
            // SSE and line streams are one way; what their clients still send means nothing.
            if self.webSocket != nil { self.readFrames(bytes) }
        case .closing:
            break
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            self.blockedSince = nil
            if self.isReadPaused { self.resumeReading() }
            if let subscriber { self.loop.fanout.onLoop { $0.writable(subscriber) } }
        } else {
            self.blockedSince = self.loop.second
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // The client closed its side. For a stream that is goodbye. In `closing` the channel ends by itself as soon as our side is closed, too.
        if let event = event as? ChannelEvent, event == .inputClosed, self.phase != .closing { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    // MARK: - Requests

    private func newParser() -> HTTPRequestParser {
        // A GET may have a body that means nothing; a small one is read past.
        HTTPRequestParser(headerBytesMax: self.loop.limits.headerBytesMax, bodyBytesMax: 1024)
    }

    private func readRequests() {
        do throws(HTTPFailure) {
            while self.phase == .reading {
                // A client that asks and does not read must not fill our memory.
                guard self.context.channel.isWritable else { return self.pauseReading() }
                guard case .request(let request)? = try self.parser?.next() else { return }
                try self.handle(request.head)
            }
        } catch {
            self.refuse(error)
        }
    }

    private func pauseReading() {
        self.isReadPaused = true
        _ = try? self.context.channel.syncOptions?.setOption(ChannelOptions.autoRead, value: false)
    }

    private func resumeReading() {
        self.isReadPaused = false
        self.readRequests()
        if !self.isReadPaused { _ = try? self.context?.channel.syncOptions?.setOption(ChannelOptions.autoRead, value: true) }
    }

    private func handle(_ head: RequestHead) throws(HTTPFailure) {
        if self.loop.isStopping { throw .unavailable("this node stops; connect again") }
        self.keepsAlive = head.keepsAlive
        self.omitsBody = head.method == .head
        self.crossOriginHeaders = self.loop.shared.origins.headers(for: head)
        if head.path == "/healthz" { return try self.answerHealth(head) }
        if self.isOverLimit {
            throw .unavailable("this node has as many subscribers as it may; try another or later", retryAfterSeconds: 5)
        }
        guard let (transport, channels) = SubscribeRequest.transport(of: head.path) else { throw .notFound(head.path, SubscribeRequest.paths) }
        if head.method == .options { return self.answerPreflight(head) }
        guard head.method == .get else { throw .methodNotAllowed("GET, OPTIONS") }
        let request = try SubscribeRequest(transport, channels: channels, head: head, limits: self.loop.limits)
        guard self.loop.fanout.onLoop({ $0.hasRoom(for: request.channels) }) else {
            throw .unavailable("subscribers of this node name as many channels as they may (subscribed-channels-max); try another node or later")
        }
        if transport == .webSocket {
            if let origin = head.field("origin"), !self.loop.shared.origins.allows(origin), !Origins.isSame(origin, as: head) {
                throw HTTPFailure(.forbidden, "forbidden_origin", "add \(origin) to cors-origins to let its pages connect")
            }
            self.upgradeResponse = try WebSocketHandshake.response(to: head)
        }
        self.subscribe(request)
    }

    private func subscribe(_ request: SubscribeRequest) {
        self.phase = .opening
        self.transport = request.transport
        self.loop.statistics.opened[request.transport.rawValue] += 1
        if request.resumes { self.loop.statistics.resumed += 1 }
        let subscriber = Subscriber(framing: request.framing, context: self.context, connection: self)
        self.subscriber = subscriber
        self.loop.fanout.onLoop { $0.subscribe(subscriber, to: request.channels) }
    }

    private func endSubscriber() {
        guard let subscriber else { return }
        self.subscriber = nil
        self.loop.statistics.ended[self.transport.rawValue] += 1
        self.loop.fanout.onLoop { $0.unsubscribe(subscriber) }
    }

    private func answerHealth(_ head: RequestHead) throws(HTTPFailure) {
        guard head.method == .get || head.method == .head else { throw .methodNotAllowed("GET, HEAD") }
        self.answer(.ok, content: .text, body: ByteBuffer(string: "ok\n"), omitBody: head.method == .head)
    }

    private func answerPreflight(_ head: RequestHead) {
        self.crossOriginHeaders = self.loop.shared.origins.preflightHeaders(for: head, methods: "GET, OPTIONS")
        self.answer(.noContent, content: .text, body: ByteBuffer())
    }

    private func answer(_ status: HTTPStatus, content: ResponseWriter.Content, body: ByteBuffer, omitBody: Bool = false) {
        var buffer = ByteBuffer()
        ResponseWriter.write(
            status, content: content, body: body, headers: "X-Accel-Buffering: no\r\n" + self.crossOriginHeaders, keepAlive: self.keepsAlive,
            omitBody: omitBody,
            into: &buffer)
        self.context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
        if self.keepsAlive {
            self.loop.setDeadline(of: self, in: self.loop.limits.idleSecondsMax)
        } else {
            self.closeGently()
        }
    }

    private func refuse(_ failure: HTTPFailure) {
        self.loop.statistics.refused(failure.status)
        var buffer = ByteBuffer()
        ResponseWriter.write(failure, headers: self.crossOriginHeaders, keepAlive: false, omitBody: self.omitsBody, into: &buffer)
        self.context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
        self.closeGently()
    }

    /// Bytes that arrive while a long-poll waits are the client's next requests; they are kept, within reason.
    private func checkPipelined() {
        if let parser, parser.bufferedBytes > self.loop.limits.headerBytesMax { self.context.close(promise: nil) }
    }

    private func closeGently() {
        self.phase = .closing
        self.endSubscriber()
        self.parser = nil
        self.webSocket = nil
        if let context { self.loop.closeGently(self, context) }
    }

    // MARK: - SubscriberConnection

    func subscriberOpened(cursor: String) {
        guard let framing = self.subscriber?.framing else { return }
        var buffer = ByteBuffer()
        switch self.transport {
        case .sse:
            self.writeStreamHead("text/event-stream", framing, into: &buffer)
        case .stream:
            self.writeStreamHead("application/x-ndjson", framing, into: &buffer)
        case .webSocket:
            buffer.writeString(self.upgradeResponse)
            self.upgradeResponse = ""
            self.webSocket = WebSocketParser(messageBytesMax: self.loop.limits.clientMessageBytesMax)
        case .longPoll:
            self.phase = .polling
            self.loop.setDeadline(of: self, in: self.loop.limits.heartbeatSeconds)
            return
        }
        self.phase = .streaming
        let rest = self.parser?.takeRest() ?? ByteBuffer()
        self.parser = nil
        self.loop.setDeadline(of: self, in: self.loop.limits.heartbeatSeconds)
        FrameEncoder.writeOpening(
            cursor: cursor, framing: framing, retryMilliseconds: Reconnect.retryMilliseconds(stopping: false), into: &buffer)
        self.context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
        // A client may send its first frames with its handshake.
        if self.webSocket != nil, rest.readableBytes > 0 { self.readFrames(rest) }
    }

    private func writeStreamHead(_ contentType: StaticString, _ framing: Framing, into buffer: inout ByteBuffer) {
        ResponseWriter.writeStreamHead(contentType: contentType, isChunked: framing.isChunked, headers: self.crossOriginHeaders, into: &buffer)
    }

    func subscriberAnswered(elements: ByteBuffer, cursor: String) {
        guard self.phase == .polling else { return }
        self.endSubscriber()
        var elements = elements
        if elements.readableBytes > 0 { elements.moveWriterIndex(to: elements.writerIndex - 1) }
        var body = ByteBufferAllocator().buffer(capacity: elements.readableBytes + cursor.utf8.count + 32)
        body.writeStaticString("{\"events\":[")
        body.writeBuffer(&elements)
        body.writeString("],\"cursor\":\"\(cursor)\"}")
        self.phase = .reading
        self.answer(.ok, content: .json, body: body)
        if self.phase == .reading { self.readRequests() }
    }

    // MARK: - WebSocket

    private func readFrames(_ bytes: ByteBuffer) {
        self.webSocket?.feed(bytes)
        while let step = self.webSocket?.next() {
            switch step {
            case .needMore:
                return
            case .message:
                continue
            case .pong:
                self.missedPongs = 0
            case .ping(let payload):
                // A client that pings and does not read must not fill our memory.
                guard self.context.channel.isWritable else { continue }
                self.writeFrame(.pong, payload)
            case .close(let code):
                self.closeWebSocket(code)
            }
        }
    }

    private func closeWebSocket(_ code: UInt16) {
        self.writeFrame(.close, ByteBuffer(integer: code))
        self.closeGently()
    }

    private func writeFrame(_ opcode: WebSocketFrame.Opcode, _ payload: ByteBuffer) {
        var buffer = ByteBufferAllocator().buffer(capacity: payload.readableBytes + 2)
        WebSocketFrame.writeHeader(opcode, payloadLength: payload.readableBytes, into: &buffer)
        buffer.writeImmutableBuffer(payload)
        self.context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
    }

    // MARK: - LoopConnection

    func deadlineReached() {
        switch self.phase {
        case .reading where self.blockedSince != nil:
            self.closeIfStalled()
        case .reading:
            self.loop.statistics.timedOut += 1
            // Between two requests there is nothing to answer; in the middle of one there is.
            if self.isOverLimit || self.parser?.isBetweenRequests ?? true {
                self.context.close(promise: nil)
            } else {
                self.refuse(.timeout)
            }
        case .opening:
            self.loop.setDeadline(of: self, in: self.loop.limits.handshakeSecondsMax)
        case .streaming:
            self.heartbeat()
        case .polling:
            self.answerNow()
        case .closing:
            self.context.close(promise: nil)
        }
    }

    private func heartbeat() {
        self.loop.setDeadline(of: self, in: self.loop.limits.heartbeatSeconds)
        if self.blockedSince != nil { return self.closeIfStalled() }
        switch self.transport {
        case .sse, .stream:
            guard let framing = self.subscriber?.framing else { return }
            self.context.writeAndFlush(self.wrapOutboundOut(self.loop.shared.heartbeats[framing]), promise: nil)
        case .webSocket:
            self.missedPongs += 1
            // Counted when the next ping is due: the second one unanswered ends it.
            if self.missedPongs > 2 { return self.closeWebSocket(1001) }
            self.writeFrame(.ping, ByteBuffer())
        case .longPoll:
            break
        }
    }

    private func closeIfStalled() {
        guard let blockedSince else { return }
        self.loop.setDeadline(of: self, in: self.loop.limits.heartbeatSeconds)
        guard self.loop.second - blockedSince >= self.loop.limits.stalledSecondsMax else { return }
        self.loop.statistics.stalled += 1
        self.context.close(promise: nil)
    }

    /// A long-poll's time is up: the answer with what it has gathered in this turn, which its cursor is past already.
    private func answerNow() {
        guard let subscriber else { return }
        self.subscriberAnswered(elements: subscriber.gathered, cursor: subscriber.cursor)
    }

    /// The last words of a stream and its end, which is more than a connection that breaks.
    private func endStream(_ lastWords: ByteBuffer) {
        guard let framing = self.subscriber?.framing else { return }
        var buffer = ByteBuffer()
        if lastWords.readableBytes > 0 { FrameEncoder.writeStream(lastWords, framing: framing, into: &buffer) }
        if framing.isChunked { buffer.writeStaticString(ChunkedCoding.end) }
        self.context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
        self.closeGently()
    }

    func stop() {
        switch self.phase {
        case .reading:
            self.phase = .closing
            self.loop.closeWhenWritten(self, self.context)
        case .opening:
            self.context.close(promise: nil)
        case .polling:
            self.keepsAlive = false
            self.answerNow()
        case .streaming:
            switch self.transport {
            case .sse:
                self.endStream(ByteBuffer(string: "retry: \(Reconnect.retryMilliseconds(stopping: true))\n\n"))
            case .stream:
                self.endStream(ByteBuffer())
            case .webSocket:
                self.closeWebSocket(1012)
            case .longPoll:
                break
            }
        case .closing:
            break
        }
    }
}

/// When browsers come back.
enum Reconnect {
    /// A second or two in normal times; after a planned stop spread over several, so that they do not all come at once.
    static func retryMilliseconds(stopping: Bool) -> Int {
        stopping ? Int.random(in: 500...5000) : Int.random(in: 1000...2000)
    }
}
