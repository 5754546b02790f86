import NIOCore
import Pipeline
import SubscriberAPI

/// Routes requests by path and method.
extension APIHandler {
    private static let paths =
        "/pub, /api/publish, /api/broadcast, /api/batch, /api/history, /api/channels, /api/presence_stats, /api/status, /api/zookeeper, \(ClusterCall.paths), /healthz, /readyz, /metrics and /"

    func route(_ request: Request, _ index: UInt64, _ keepAlive: Bool) throws(HTTPError) {
        let head = request.head
        let omitBody = head.method == .head
        if head.method == .options, head.path.hasPrefix("/api/") || head.path == "/pub" {
            // Only an allowed origin gets the CORS headers. Without these headers the browser does not send the actual request.
            if let origin = self.refusedOrigin(head) { self.originRefused(origin) }
            let headers = self.services.origins.preflightHeaders(for: head, methods: "GET, POST, PUT, OPTIONS")
            return self.respondToPreflight(index, headers, keepAlive)
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
            self.respond(index, keepAlive, omitBody: omitBody) { await $0.status() }
        case "/api/zookeeper":
            try self.admit(head, methods: [.get, .head], allow: "GET, HEAD")
            guard let zooKeeper = self.services.node.zooKeeper else { throw HTTPError(.notFound, "not_found", "this node runs without ZooKeeper") }
            self.respond(index, keepAlive, omitBody: omitBody) { _ in await zooKeeper() }
        case "/metrics":
            try self.admit(head, methods: [.get, .head], allow: "GET, HEAD")
            self.respond(index, keepAlive, content: .metrics, omitBody: omitBody) { await $0.metrics() }
        case "/healthz":
            try self.check(head, methods: [.get, .head], allow: "GET, HEAD")
            self.respond(index, .ok, content: .text, body: ByteBuffer(string: "ok\n"), keepAlive: keepAlive, omitBody: omitBody)
        case "/readyz":
            try self.check(head, methods: [.get, .head], allow: "GET, HEAD")
            self.respond(index, keepAlive, content: .text, omitBody: omitBody, Self.readiness)
        case "/":
            try self.check(head, methods: [.get, .head], allow: "GET, HEAD")
            self.respond(
                index, .ok, content: .html, body: self.services.page.body, headers: self.services.page.headers, keepAlive: keepAlive,
                omitBody: omitBody)
        default:
            guard let call = ClusterCall(path: head.path) else {
                let port = self.services.addresses.listenPort
                let isSubscriber = SubscribeRequest.transport(of: head.path) != nil
                throw .notFound(
                    head.path, Self.paths, hint: isSubscriber ? "this is the API port; subscribers connect to the subscriber port, \(port)" : nil)
            }
            try self.admit(head, methods: call.methods, allow: call.allow)
            self.administer(try call.request(request), index, keepAlive, omitBody: omitBody)
        }
    }

    private func read(_ index: UInt64, _ keepAlive: Bool, _ query: @escaping @Sendable (any ChannelDirectory) async throws(HTTPError) -> ByteBuffer) {
        let channels = self.services.channels
        self.respond(index, keepAlive) { _ throws(HTTPError) in try await query(channels) }
    }

    private static let readiness: @Sendable (any NodeFacade) async throws(HTTPError) -> ByteBuffer = { node throws(HTTPError) in
        if let reason = await node.reasonNotReady() { throw .unavailable(reason) }
        return ByteBuffer(string: "ready\n")
    }
}
