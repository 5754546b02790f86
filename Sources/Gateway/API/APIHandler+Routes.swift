import NIOCore
import Pipeline

extension APIHandler {
    private static let paths =
        "/pub, /api/publish, /api/broadcast, /api/batch, /api/history, /api/channels, /api/presence_stats, /api/status, /api/zookeeper, \(ClusterCall.paths), /healthz, /readyz, /metrics and /"

    func route(_ request: Request, _ index: UInt64, _ keepAlive: Bool) throws(HTTPFailure) {
        let head = request.head
        let omitBody = head.method == .head
        if head.method == .options, head.path.hasPrefix("/api/") || head.path == "/pub" {
            // Without the headers, which only an allowed origin gets, the browser does not send what it asks about.
            if let origin = self.refusedOrigin(head) { self.originRefused(origin) }
            let headers = self.services.origins.preflightHeaders(for: head, methods: "GET, POST, PUT, OPTIONS")
            return self.preflight(index, headers, keepAlive)
        }
        switch head.path {
        case "/pub":
            try self.admit(head, methods: [.post, .put], allow: "POST, PUT")
            try self.publishRaw(request, index, keepAlive)
        case "/api/publish":
            try self.admit(head, methods: [.post], allow: "POST")
            self.publish(try PublishRequest.publish(request.body, limits: self.loop.limits), index, form: .json, keepAlive: keepAlive)
        case "/api/broadcast":
            try self.admit(head, methods: [.post], allow: "POST")
            try self.broadcast(request, index, keepAlive)
        case "/api/batch":
            try self.admit(head, methods: [.post], allow: "POST")
            try self.batch(request, index, keepAlive)
        case "/api/history":
            try self.admit(head, methods: [.post], allow: "POST")
            self.read(index, keepAlive, try HistoryQuery(request.body).run)
        case "/api/channels":
            try self.admit(head, methods: [.post], allow: "POST")
            self.read(index, keepAlive, try ChannelsQuery(request.body).run)
        case "/api/presence_stats":
            try self.admit(head, methods: [.post], allow: "POST")
            self.read(index, keepAlive, try PresenceQuery(request.body).run)
        case "/api/status":
            try self.admit(head, methods: [.get, .head], allow: "GET, HEAD")
            self.answer(index, keepAlive, omitBody: omitBody) { await $0.status() }
        case "/api/zookeeper":
            try self.admit(head, methods: [.get, .head], allow: "GET, HEAD")
            guard let zooKeeper = self.services.node.zooKeeper else { throw HTTPFailure(.notFound, "not_found", "this node is alone: it has no ZooKeeper") }
            self.answer(index, keepAlive, omitBody: omitBody) { _ in await zooKeeper() }
        case "/metrics":
            try self.admit(head, methods: [.get, .head], allow: "GET, HEAD")
            self.answer(index, keepAlive, content: .metrics, omitBody: omitBody) { await $0.metrics() }
        case "/healthz":
            try self.check(head, methods: [.get, .head], allow: "GET, HEAD")
            self.respond(index, .ok, content: .text, body: ByteBuffer(string: "ok\n"), keepAlive: keepAlive, omitBody: omitBody)
        case "/readyz":
            try self.check(head, methods: [.get, .head], allow: "GET, HEAD")
            self.answer(index, keepAlive, content: .text, omitBody: omitBody, Self.readiness)
        case "/":
            try self.check(head, methods: [.get, .head], allow: "GET, HEAD")
            self.respond(
                index, .ok, content: .html, body: self.services.page.body, headers: self.services.page.headers, keepAlive: keepAlive,
                omitBody: omitBody)
        default:
            guard let call = ClusterCall(path: head.path) else {
                let port = self.services.addresses.listenPort
                let isSubscriber = SubscribeRequest.transport(of: head.path) != nil
                throw .notFound(head.path, Self.paths, hint: isSubscriber ? "this is the API port, and that is on the subscriber port, \(port)" : nil)
            }
            try self.admit(head, methods: call.methods, allow: call.allow)
            self.administer(try call.request(request), index, keepAlive, omitBody: omitBody)
        }
    }

    // MARK: - Admission

    private func check(_ head: RequestHead, methods: [RequestHead.Method], allow: String) throws(HTTPFailure) {
        guard methods.contains(head.method) else { throw .methodNotAllowed(allow) }
    }

    /// Method, origin, token, and a body as it is.
    private func admit(_ head: RequestHead, methods: [RequestHead.Method], allow: String) throws(HTTPFailure) {
        try self.check(head, methods: methods, allow: allow)
        // A browser sends an Origin with every request that another page makes: without this check any page that someone on this machine
        // looks at could publish through their browser.
        if let origin = self.refusedOrigin(head) {
            self.originRefused(origin)
            throw HTTPFailure(.forbidden, "forbidden_origin", Origins.refusal(of: origin))
        }
        try self.checkToken(head)
        if methods.contains(.post) { try Self.checkCoding(head) }
    }

    private func originRefused(_ origin: String) {
        self.loop.metrics.refusedOrigins += 1
        self.services.refusedOrigins.report(origin)
    }

    private func refusedOrigin(_ head: RequestHead) -> String? {
        guard let origin = head.field("origin"), !self.services.origins.allows(origin), !Self.isOwn(origin, head) else { return nil }
        return origin
    }

    /// A payload is delivered as it came, and no subscriber would know that it is compressed.
    private static func checkCoding(_ head: RequestHead) throws(HTTPFailure) {
        guard let codings = head.list("content-encoding") else { return }
        guard codings.split(separator: ",").allSatisfy({ $0.trimmingSpaces().asciiLowercased() == "identity" }) else {
            throw HTTPFailure(
                .unsupportedMediaType, "unsupported_encoding", "bodies are taken as they are: send this one without Content-Encoding: \(codings.prefix(100))",
                header: "Accept-Encoding: identity\r\n")
        }
    }

    private func checkToken(_ head: RequestHead) throws(HTTPFailure) {
        guard let token = self.services.token else { return }
        let bearer = head.field("authorization").flatMap { $0.lowercased().hasPrefix("bearer ") ? String($0.dropFirst(7).trimmingSpaces()) : nil }
        guard let given = bearer ?? head.field("x-api-key"), Self.isEqual(given, token) else {
            throw HTTPFailure(
                .unauthorized, "unauthorized", "send the API token as Authorization: Bearer TOKEN or X-API-Key: TOKEN",
                header: "WWW-Authenticate: Bearer\r\n")
        }
    }

    /// A page served by this very port, under whatever loopback name it was opened.
    private static func isOwn(_ origin: String, _ head: RequestHead) -> Bool {
        guard let host = head.field("host")?.lowercased() else { return false }
        // The colons of an IPv6 address are in brackets.
        let name = host.hasSuffix("]") ? host[...] : host.lastIndex(of: ":").map { host[..<$0] } ?? host[...]
        // Only names that cannot be pointed here by somebody else's DNS.
        guard ["127.0.0.1", "localhost", "[::1]"].contains(name) else { return false }
        return Origins.normalized(origin) == Origins.normalized("http://\(host)")
    }

    /// Takes the same time wherever the first difference is.
    private static func isEqual(_ left: String, _ right: String) -> Bool {
        let left = Array(left.utf8)
        let right = Array(right.utf8)
        var difference = UInt8(left.count == right.count ? 0 : 1)
        for index in right.indices { difference |= right[index] ^ (index < left.count ? left[index] : 0) }
        return difference == 0
    }

    // MARK: - Publishing

    private func publishRaw(_ request: Request, _ index: UInt64, _ keepAlive: Bool) throws(HTTPFailure) {
        let events = try PublishRequest.raw(request, limits: self.loop.limits)
        if events.count == 1 { return self.publish(events[0], index, form: .raw, keepAlive: keepAlive) }
        self.publish(events) { outcomes in
            var body = ByteBuffer()
            body.writeStaticString("[")
            for (number, outcome) in outcomes.enumerated() {
                if number > 0 { body.writeStaticString(",") }
                PublishAnswer.writeRaw(outcome, channel: events[number].channel, into: &body)
            }
            body.writeStaticString("]")
            self.respond(index, Self.status(of: outcomes), content: .json, body: body, headers: Self.retryHeader(outcomes), keepAlive: keepAlive)
        }
    }

    private func broadcast(_ request: Request, _ index: UInt64, _ keepAlive: Bool) throws(HTTPFailure) {
        let events = try PublishRequest.broadcast(request.body, limits: self.loop.limits)
        self.publish(events) { outcomes in
            var body = ByteBuffer()
            body.writeStaticString("{\"result\":{\"responses\":")
            Self.writeResponses(outcomes[...], of: events[...], into: &body)
            body.writeStaticString("}}")
            self.respond(index, Self.status(of: outcomes), content: .json, body: body, headers: Self.retryHeader(outcomes), keepAlive: keepAlive)
        }
    }

    private func batch(_ request: Request, _ index: UInt64, _ keepAlive: Bool) throws(HTTPFailure) {
        let batch = try BatchRequest(request.body, limits: self.loop.limits)
        self.publish(batch.events) { outcomes in
            let body = batch.answer(outcomes)
            self.respond(index, .ok, content: .json, body: body, keepAlive: keepAlive)
        }
    }

    static func writeResponses(_ outcomes: ArraySlice<PublishOutcome>, of events: ArraySlice<Event>, into body: inout ByteBuffer) {
        body.writeStaticString("[")
        for (number, (outcome, event)) in zip(outcomes, events).enumerated() {
            if number > 0 { body.writeStaticString(",") }
            if case .refused = outcome {
                body.writeStaticString("{")
                PublishAnswer.writePosition(outcome, channel: event.channel, into: &body)
                body.writeStaticString("}")
            } else {
                body.writeStaticString("{\"result\":{")
                PublishAnswer.writePosition(outcome, channel: event.channel, into: &body)
                body.writeStaticString("}}")
            }
        }
        body.writeStaticString("]")
    }

    /// Some committed and some not is still to be repeated: the message id makes that harmless.
    private static func status(of outcomes: [PublishOutcome]) -> HTTPStatus {
        for case .refused(let refusal) in outcomes { return PublishAnswer.failure(refusal).status }
        return .ok
    }

    private static func retryHeader(_ outcomes: [PublishOutcome]) -> String {
        for case .refused(let refusal) in outcomes { return PublishAnswer.failure(refusal).header ?? "" }
        return ""
    }

    // MARK: - Questions that must leave the loop

    private func read(_ index: UInt64, _ keepAlive: Bool, _ query: @escaping @Sendable (ChannelReader) async throws(HTTPFailure) -> ByteBuffer) {
        let channels = self.services.channels
        self.answer(index, keepAlive) { _ throws(HTTPFailure) in try await query(channels) }
    }

    private func answer(
        _ index: UInt64, _ keepAlive: Bool, content: ResponseWriter.Content = .json, omitBody: Bool = false,
        _ work: @escaping @Sendable (any NodeFacade) async throws(HTTPFailure) -> ByteBuffer
    ) {
        let node = self.services.node
        self.ask {
            do throws(HTTPFailure) {
                let body = try await work(node)
                return { $0.respond(index, .ok, content: content, body: body, keepAlive: keepAlive, omitBody: omitBody) }
            } catch {
                return { $0.respond(index, error, keepAlive: keepAlive, omitBody: omitBody) }
            }
        }
    }

    private static let readiness: @Sendable (any NodeFacade) async throws(HTTPFailure) -> ByteBuffer = { node throws(HTTPFailure) in
        if let reason = await node.reasonNotReady() { throw .unavailable(reason) }
        return ByteBuffer(string: "ready\n")
    }
}
