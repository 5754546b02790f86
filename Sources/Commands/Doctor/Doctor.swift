import AdminAPI
import AsyncHTTPClient
import SubscriberAPI

/// Checks a node through its ports, one check after the other, and reports each result immediately.
actor Doctor {
    private let node: NodeClient
    private let url: BaseURL?
    private let http: HTTPClient
    private let waitsForHeartbeats: Bool
    private let channel = "realertime:doctor:\(UInt64.random(in: 0 ... .max))"
    private let report: @Sendable (Check) -> Void
    private var checks: [Check] = []

    init(node: NodeClient, url: BaseURL?, http: HTTPClient, waitsForHeartbeats: Bool, report: @escaping @Sendable (Check) -> Void) {
        self.node = node
        self.url = url
        self.http = http
        self.waitsForHeartbeats = waitsForHeartbeats
        self.report = report
    }

    func examine() async throws -> Diagnosis {
        do {
            try await self.examineAll()
        } catch let failure as CommandError {
            self.add(.fail("responses", failure.message, do: "See the node's log. The node responded to earlier requests."))
        }
        return Diagnosis(self.checks, wasReached: self.checks.first?.outcome == .ok)
    }

    private func examineAll() async throws {
        guard let status = try await self.examineAPI() else { return }
        self.add(StatusChecks.health(status))
        self.add(StatusChecks.clock(status))
        self.add(StatusChecks.connections(status))
        if let check = StatusChecks.dataConnections(status) { self.add(check) }
        let isLocal = LocalChecks.isLocal(self.node.base, status)
        self.add(isLocal ? LocalChecks.descriptors(status) : .skip("descriptors", "the node is on another machine"))
        self.add(isLocal ? LocalChecks.disk(status) : .skip("disk", "the node is on another machine"))
        for check in await ClusterChecks.run(at: self.node) { self.add(check) }
        guard let subscriber = self.subscriberURL(status) else { return }
        if await self.examinePort(subscriber) { try await self.examineEvents(subscriber) }
        // The last check, because its connections change the counters of this node.
        if let check = await ClusterDelivery.run(at: self.node, http: self.http, channel: "\(self.channel):nodes") { self.add(check) }
    }

    // MARK: the API port

    private func examineAPI() async throws -> NodeStatus? {
        let start = ContinuousClock.now
        do {
            let response = try await self.node.get("/healthz")
            guard response.status == 200 else {
                self.add(.fail("api", "\(self.node.base)/healthz returned \(response.statusText)", do: "Check that --api is the API port of a node."))
                return nil
            }
        } catch let failure as CommandError {
            self.add(.fail("api", failure.message, do: "Start the node, or set --api to the node's API port."))
            return nil
        }
        self.add(.ok("api", "\(self.node.base) responded in \(Readable.milliseconds(ContinuousClock.now - start))"))
        let ready = try await self.node.get("/readyz")
        if ready.status == 200 {
            self.add(.ok("ready", "the node accepts clients"))
        } else if let reason = ready.errorMessage, reason.contains("drained") {
            // An operator requested the drain, and the node still serves connected subscribers. So this is not a failure.
            self.add(.warn("ready", reason, do: "If the drain is intended, do nothing. Load balancers send no new clients to this node."))
        } else {
            self.add(
                .fail("ready", "the node is not ready: \(ready.errorMessage ?? ready.text)", do: "If the node is starting, wait. Otherwise see the node's log.")
            )
        }
        do {
            return try NodeStatus(json: await self.node.expect(NodeStatus.path).body)
        } catch let failure as CommandError {
            self.add(.fail("status", failure.message, do: "Set the API token, or set --api to the API port of a node of this version."))
            return nil
        }
    }

    /// Returns --url, or without --url the node's listen address. If the node listens on all addresses, the host is the host of --api.
    private func subscriberURL(_ status: NodeStatus) -> BaseURL? {
        if let url { return url }
        guard var listen = try? BaseURL(named: "listen", "http://\(status.listen)") else {
            self.add(
                .fail(
                    "subscriber port", "the listen address \"\(status.listen)\" in the node's status is not valid",
                    do: "Set --url to the node's subscriber port."))
            return nil
        }
        if listen.host == "0.0.0.0" || listen.host == "::" { listen.host = self.node.base.host }
        return listen
    }

    // MARK: the subscriber port

    /// Returns false if the port is unreachable.
    private func examinePort(_ subscriber: BaseURL) async -> Bool {
        let port = PortChecks(
            client: NodeClient(base: subscriber, token: nil, http: self.http, timeout: self.node.timeout), api: self.node.base, channel: self.channel)
        let start = ContinuousClock.now
        do {
            let response = try await port.client.get("/healthz")
            guard response.status == 200 else {
                let advice = response.status == 503 ? "Raise the node's connections-max." : "Set --url to the node's subscriber port."
                self.add(.fail("subscriber port", "\(subscriber)/healthz returned \(response.statusText)", do: advice))
                return false
            }
        } catch {
            self.add(
                .fail(
                    "subscriber port", "\(error)",
                    do: "If clients use a proxy or another address, set --url to that address. Otherwise check the node's listen address and the firewall."))
            return false
        }
        self.add(.ok("subscriber port", "\(subscriber) responded in \(Readable.milliseconds(ContinuousClock.now - start))"))
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
        self.report(check)
    }
}
