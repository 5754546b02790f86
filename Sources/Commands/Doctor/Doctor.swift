import AdminAPI
import AsyncHTTPClient

/// Checks a node from outside, one check after the other, and reports each result immediately.
actor Doctor {
    private let node: NodeClient
    private let url: BaseURL?
    private let http: HTTPClient
    private let waitsForHeartbeats: Bool
    private let channel = "realertime:doctor:\(UInt64.random(in: 0 ... .max))"
    private let tell: @Sendable (Check) -> Void
    private var checks: [Check] = []

    init(node: NodeClient, url: BaseURL?, http: HTTPClient, waitsForHeartbeats: Bool, tell: @escaping @Sendable (Check) -> Void) {
        self.node = node
        self.url = url
        self.http = http
        self.waitsForHeartbeats = waitsForHeartbeats
        self.tell = tell
    }

    func examine() async throws -> Diagnosis {
        do {
            try await self.examineAll()
        } catch let failure as Failure {
            self.add(.fail("answers", failure.message, do: "See the node's log: it answered before."))
        }
        return Diagnosis(self.checks, wasReached: self.checks.first?.outcome == .ok)
    }

    private func examineAll() async throws {
        guard let status = try await self.examineAPI() else { return }
        self.add(StatusChecks.health(status))
        self.add(StatusChecks.clock(status))
        self.add(StatusChecks.connections(status))
        let isLocal = LocalChecks.isLocal(self.node.base, status)
        self.add(isLocal ? LocalChecks.descriptors(status) : .skip("descriptors", "the node is on another machine"))
        self.add(isLocal ? LocalChecks.disk(status) : .skip("disk", "the node is on another machine"))
        for check in await ClusterChecks.look(at: self.node) { self.add(check) }
        guard let subscriber = self.subscriberURL(status) else { return }
        if await self.examinePort(subscriber) { try await self.examineEvents(subscriber) }
    }

    // MARK: the API port

    private func examineAPI() async throws -> NodeStatus? {
        let start = ContinuousClock.now
        do {
            let answer = try await self.node.get("/healthz")
            guard answer.status == 200 else {
                self.add(.fail("api", "\(self.node.base)/healthz answered \(answer.complaint)", do: "Check that --api is the API port of a node."))
                return nil
            }
        } catch let failure as Failure {
            self.add(.fail("api", failure.message, do: "Start the node, or name its API port with --api."))
            return nil
        }
        self.add(.ok("api", "\(self.node.base) answers in \(Readable.milliseconds(ContinuousClock.now - start))"))
        let ready = try await self.node.get("/readyz")
        if ready.status == 200 {
            self.add(.ok("ready", "the node serves"))
        } else if let reason = ready.errorMessage, reason.contains("drained") {
            // An operator requested it: the node still serves connected subscribers.
            self.add(.warn("ready", reason, do: "Nothing, if this is intended: load balancers send it no new clients."))
        } else {
            self.add(.fail("ready", "the node is not ready: \(ready.errorMessage ?? ready.text)", do: "If it is starting, wait; else see its log."))
        }
        do {
            return try NodeStatus(json: self.node.expectOK(await self.node.get("/api/status"), for: "/api/status").body)
        } catch let failure as Failure {
            self.add(.fail("status", failure.message, do: "Set the token, or name the API port of a node of this version with --api."))
            return nil
        }
    }

    /// The node's own listen address, as reachable from here.
    private func subscriberURL(_ status: NodeStatus) -> BaseURL? {
        if let url { return url }
        guard var listen = try? BaseURL(named: "listen", "http://\(status.listen)") else {
            self.add(.fail("subscriber port", "the node says it listens on \"\(status.listen)\"", do: "Name the subscriber port with --url."))
            return nil
        }
        if listen.host == "0.0.0.0" || listen.host == "::" { listen.host = self.node.base.host }
        return listen
    }

    // MARK: the subscriber port

    /// Whether it can be reached.
    private func examinePort(_ subscriber: BaseURL) async -> Bool {
        let port = PortChecks(
            client: NodeClient(base: subscriber, token: nil, http: self.http, timeout: self.node.timeout), api: self.node.base, channel: self.channel)
        let start = ContinuousClock.now
        do {
            let answer = try await port.client.get("/healthz")
            guard answer.status == 200 else {
                let advice = answer.status == 503 ? "Let the node have room for more connections." : "Name the subscriber port with --url."
                self.add(.fail("subscriber port", "\(subscriber)/healthz answered \(answer.complaint)", do: advice))
                return false
            }
        } catch {
            self.add(
                .fail(
                    "subscriber port", "\(error)",
                    do: "If a proxy or another address leads to it, name that with --url; else check the node's listen and the firewall."))
            return false
        }
        self.add(.ok("subscriber port", "\(subscriber) answers in \(Readable.milliseconds(ContinuousClock.now - start))"))
        for check in await port.all() { self.add(check) }
        return true
    }

    // MARK: events

    private func examineEvents(_ subscriber: BaseURL) async throws {
        let probe = Probe(node: self.node, subscriber: subscriber, http: self.http, channel: self.channel, timeout: self.node.timeout)
        let counters = try await CounterChecks(probe: probe)
        let events = EventChecks(probe: probe)
        for transport in Transport.allCases { self.add(await events.roundTrip(transport)) }
        for transport in Transport.allCases { self.add(await events.resume(transport)) }
        self.add(await events.badCursor())
        self.add(await events.duplicates())
        if self.waitsForHeartbeats { for check in await events.heartbeats() { self.add(check) } }
        for check in try await counters.all() { self.add(check) }
    }

    private func add(_ check: Check) {
        self.checks.append(check)
        self.tell(check)
    }
}
