import NIOCore
import Pipeline
import SubscriberAPI

extension SubscriberHandler {
    var takesRequests: Bool { self.phase == .requests }

    /// A request is handled only after the response to the previous one.
    var canTakeRequest: Bool { true }
    var canResume: Bool { true }

    /// Does nothing: the body of a GET has no meaning, and a client does not wait long for `100 Continue`.
    func sendContinue() {}

    func finish() { self.closeSubscriber() }

    func handle(_ request: Request) {
        let head = request.head
        do throws(HTTPError) {
            try self.route(head)
        } catch {
            // Only a refusal needs `isEventSource`, so it is not computed for every subscriber.
            self.isEventSource = head.method == .get && head.path.hasPrefix("/ev/") && head.accepts("text/event-stream")
            self.refuse(error)
        }
    }

    private func route(_ head: RequestHead) throws(HTTPError) {
        self.keepsAlive = self.http.keepsAlive(after: head)
        self.omitsBody = head.method == .head
        self.crossOriginHeaders = self.port.origins.headers(for: head)
        let refusedOrigin = self.refusedOrigin(head)
        if let refusedOrigin {
            self.loop.metrics.refusedOrigins += 1
            self.port.refusedOrigins.report(refusedOrigin)
        }
        // A preflight gets no refusal here. After a refused preflight the browser would not send the request, and the page could not read the reason.
        if head.method == .options, SubscribeRequest.transport(of: head.path) != nil || head.path == "/healthz" { return self.respondToPreflight(head) }
        if self.loop.isStopping { throw .unavailable("node is stopping; connect again") }
        if head.path == "/healthz" { return try self.respondToHealth(head) }
        if self.http.isOverLimit {
            throw .unavailable(
                "subscriber limit reached (\(self.port.subscribersMax)); connect to another node, retry later, or raise connections-max and the descriptor limit",
                retryAfterSeconds: 5)
        }
        guard let (transport, channels) = SubscribeRequest.transport(of: head.path) else {
            let isOfAPI = head.path == "/pub" || head.path.hasPrefix("/api/")
            let port = self.port.addresses.apiPort
            throw .notFound(head.path, SubscribeRequest.paths, hint: isOfAPI ? "this is the subscriber port; back ends use the API port, \(port)" : nil)
        }
        guard head.method == .get else { throw .methodNotAllowed("GET, OPTIONS") }
        let request = try SubscribeRequest(transport, channels: channels, head: head, limits: self.loop.limits)
        guard self.port.fanout.onLoop({ $0.hasRoom(for: request.channels) }) else {
            throw .unavailable(
                "subscribed channel limit reached (\(self.loop.limits.subscribedChannelsMax) for each loop); connect to another node, retry later, or raise subscribed-channels-max"
            )
        }
        if transport == .webSocket {
            if let refusedOrigin {
                throw HTTPError(.forbidden, "forbidden_origin", Origins.refusal(of: refusedOrigin))
            }
            self.upgradeResponse = try WebSocketHandshake.response(to: head)
        }
        // A client that has closed its side gets the response to a long-poll, but no stream.
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
        self.loop.metrics.opened[request.transport] += 1
        if request.resumes { self.loop.metrics.resumed += 1 }
        let subscriber = Subscriber(framing: request.framing, context: self.context, connection: self)
        self.subscriber = subscriber
        // A poll ends at this time, also if the heads of its channels become known late or never.
        if request.transport == .longPoll { self.loop.setPollEnd(of: self) }
        self.port.fanout.onLoop { $0.subscribe(subscriber, to: request.channels) }
        // The phase has changed if all heads were known.
        if self.phase == .opening, request.transport != .longPoll { self.loop.setDeadline(of: self, in: FixedLimits.openingSecondsMax) }
    }

    func endSubscriber() {
        guard let subscriber else { return }
        self.subscriber = nil
        self.loop.metrics.ended[self.transport] += 1
        self.port.fanout.onLoop { $0.unsubscribe(subscriber) }
    }

    func respondToHealth(_ head: RequestHead) throws(HTTPError) {
        guard head.method == .get || head.method == .head else { throw .methodNotAllowed("GET, HEAD, OPTIONS") }
        self.respond(.ok, content: .text, body: ByteBuffer(string: "ok\n"), omitBody: head.method == .head)
    }

    func respondToPreflight(_ head: RequestHead) {
        self.crossOriginHeaders = self.port.origins.preflightHeaders(for: head, methods: "GET, OPTIONS")
        self.respond(.noContent, content: .text, body: ByteBuffer())
    }

    func respond(_ status: HTTPStatus, content: ResponseWriter.Content, body: ByteBuffer, omitBody: Bool = false) {
        var buffer = ByteBuffer()
        ResponseWriter.write(
            status, content: content, body: body, headers: "X-Accel-Buffering: no\r\n" + self.crossOriginHeaders, keepAlive: self.keepsAlive,
            omitBody: omitBody,
            into: &buffer)
        self.context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
        if !self.keepsAlive { self.closeSubscriber() }
    }

    func refuse(_ failure: HTTPError) {
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

    /// Ends the subscription, and closes the connection after the last bytes have been written.
    func closeSubscriber() {
        self.endSubscriber()
        self.webSocket = nil
        self.closeGently()
    }
}
