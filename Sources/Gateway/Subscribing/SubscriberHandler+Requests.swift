import NIOCore
import Pipeline

extension SubscriberHandler {
    var takesRequests: Bool { self.phase == .requests }

    /// Responses are written in the order of requests, one after the other.
    var hasRoom: Bool { true }
    var hasRoomAgain: Bool { true }

    /// The body of a GET means nothing, so no client waits with it for long.
    func sendContinue() {}

    func finish() { self.closeSubscriber() }

    func handle(_ request: Request) {
        let head = request.head
        do throws(HTTPFailure) {
            try self.route(head)
        } catch {
            // Needed only for a refusal, so not looked up for every subscriber.
            self.isEventSource = head.method == .get && head.path.hasPrefix("/ev/") && head.accepts("text/event-stream")
            self.refuse(error)
        }
    }

    private func route(_ head: RequestHead) throws(HTTPFailure) {
        self.keepsAlive = self.http.keepsAlive(after: head)
        self.omitsBody = head.method == .head
        self.crossOriginHeaders = self.port.origins.headers(for: head)
        let refusedOrigin = self.refusedOrigin(head)
        if let refusedOrigin {
            self.loop.metrics.refusedOrigins += 1
            self.port.refusedOrigins.report(refusedOrigin)
        }
        // Before any refusal: after a refused preflight the browser does not send the request, and its page cannot see the reason.
        if head.method == .options, SubscribeRequest.transport(of: head.path) != nil || head.path == "/healthz" { return self.answerPreflight(head) }
        if self.loop.isStopping { throw .unavailable("this node stops; connect again") }
        if head.path == "/healthz" { return try self.answerHealth(head) }
        if self.http.isOverLimit {
            throw .unavailable("this node has as many subscribers as it may; try another or later", retryAfterSeconds: 5)
        }
        guard let (transport, channels) = SubscribeRequest.transport(of: head.path) else {
            let isOfAPI = head.path == "/pub" || head.path.hasPrefix("/api/")
            let port = self.port.addresses.apiPort
            throw .notFound(head.path, SubscribeRequest.paths, hint: isOfAPI ? "this is the subscriber port, and that is on the API port, \(port)" : nil)
        }
        guard head.method == .get else { throw .methodNotAllowed("GET, OPTIONS") }
        let request = try SubscribeRequest(transport, channels: channels, head: head, limits: self.loop.limits)
        guard self.port.fanout.onLoop({ $0.hasRoom(for: request.channels) }) else {
            throw .unavailable("subscribers of this node name as many channels as they may (subscribed-channels-max); try another node or later")
        }
        if transport == .webSocket {
            if let refusedOrigin {
                throw HTTPFailure(.forbidden, "forbidden_origin", Origins.refusal(of: refusedOrigin))
            }
            self.upgradeResponse = try WebSocketHandshake.response(to: head)
        }
        // A client that has closed its side can take one response, and no stream.
        if self.http.isInputClosed, transport != .longPoll { return self.finish() }
        self.subscribe(request)
    }

    private func refusedOrigin(_ head: RequestHead) -> String? {
        guard let origin = head.field("origin"), !self.port.origins.allows(origin), !Origins.isSame(origin, as: head) else { return nil }
        return origin
    }

    func subscribe(_ request: SubscribeRequest) {
        self.phase = .opening
        self.transport = request.transport
        self.loop.metrics.opened[request.transport.rawValue] += 1
        if request.resumes { self.loop.metrics.resumed += 1 }
        let subscriber = Subscriber(framing: request.framing, context: self.context, connection: self)
        self.subscriber = subscriber
        self.port.fanout.onLoop { $0.subscribe(subscriber, to: request.channels) }
    }

    func endSubscriber() {
        guard let subscriber else { return }
        self.subscriber = nil
        self.loop.metrics.ended[self.transport.rawValue] += 1
        self.port.fanout.onLoop { $0.unsubscribe(subscriber) }
    }

    func answerHealth(_ head: RequestHead) throws(HTTPFailure) {
        guard head.method == .get || head.method == .head else { throw .methodNotAllowed("GET, HEAD, OPTIONS") }
        self.answer(.ok, content: .text, body: ByteBuffer(string: "ok\n"), omitBody: head.method == .head)
    }

    func answerPreflight(_ head: RequestHead) {
        self.crossOriginHeaders = self.port.origins.preflightHeaders(for: head, methods: "GET, OPTIONS")
        self.answer(.noContent, content: .text, body: ByteBuffer())
    }

    func answer(_ status: HTTPStatus, content: ResponseWriter.Content, body: ByteBuffer, omitBody: Bool = false) {
        var buffer = ByteBuffer()
        ResponseWriter.write(
            status, content: content, body: body, headers: "X-Accel-Buffering: no\r\n" + self.crossOriginHeaders, keepAlive: self.keepsAlive,
            omitBody: omitBody,
            into: &buffer)
        self.context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
        if !self.keepsAlive { self.closeSubscriber() }
    }

    func refuse(_ failure: HTTPFailure) {
        if failure.status.isClientError { self.loop.metrics.badRequests += 1 }
        var buffer = ByteBuffer()
        if failure.retryAfterSeconds != nil { self.loop.metrics.refusedSubscribers += 1 }
        if self.isEventSource, let seconds = failure.retryAfterSeconds {
            let body = ByteBuffer(string: "retry: \(Reconnect.retryMilliseconds(afterSeconds: seconds))\n: \(failure.message)\n\n")
            ResponseWriter.write(
                .ok, content: .eventStream, body: body, headers: "X-Accel-Buffering: no\r\n" + self.crossOriginHeaders, keepAlive: false, into: &buffer)
        } else {
            ResponseWriter.write(failure, headers: self.crossOriginHeaders, keepAlive: false, omitBody: self.omitsBody, into: &buffer)
        }
        self.context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
        self.closeSubscriber()
    }

    /// Ends the subscription, and the connection once the last words are written.
    func closeSubscriber() {
        self.endSubscriber()
        self.webSocket = nil
        self.closeGently()
    }
}
