import AdminAPI
import JSON
import SubscriberAPI

/// Checks whether the node's counters are consistent with each other and with the doctor's actions.
struct CounterChecks: Sendable {
    private let probe: Probe
    private let before: PrometheusText

    init(probe: Probe) async throws {
        self.probe = probe
        self.before = try await CounterChecks.metrics(probe)
    }

    func all() async throws -> [Check] {
        let idle = await self.idle()
        let after = try await CounterChecks.metrics(self.probe)
        return [idle] + Transport.allCases.map { CounterChecks.conservation($0, after) } + [
            CounterChecks.growth(from: self.before, to: after), CounterChecks.log(after),
        ]
    }

    /// Checks that the node counts no subscriber of the doctor's channel after the doctor has closed its connections.
    private func idle() async -> Check {
        let name = "cleanup"
        return await Check.catching(name) {
            let query = writtenJSON { $0.object { $0.field("channel", self.probe.channel) } }
            var subscribers = -1
            for _ in 0..<20 {
                let response = try await self.probe.node.post("/api/presence_stats", Array(query.utf8))
                var fields = JSONObject(try self.probe.node.expectOK(response, for: "/api/presence_stats").body)
                var result = fields?.take("result")?.fields
                subscribers = result?.take("subscribers")?.integer ?? -1
                if subscribers == 0 { return .ok(name, "the node has removed the doctor's subscribers") }
                try await Task.sleep(for: .milliseconds(100))
            }
            return .fail(
                name, "the node still counts \(Readable.count(subscribers, "subscriber")) after the doctor closed its connections",
                do:
                    "If --url leads to a proxy, configure the proxy to close its connection to the node when the client disconnects. Without a proxy, report this as a bug."
            )
        }
    }

    static func conservation(_ transport: Transport, _ metrics: PrometheusText) -> Check {
        let name = "counts \(transport.rawValue)"
        let labels = ["transport": transport.name]
        guard let opened = metrics.value("realertime_connections_opened_total", labels),
            let closed = metrics.value("realertime_connections_closed_total", labels),
            let now = metrics.value("realertime_connections", labels)
        else {
            return .fail(name, "/metrics has no counters of connections", do: "Check that --api is the API port of a node of this version.")
        }
        let text = "\(Readable.count(opened)) opened, \(Readable.count(closed)) closed, \(Readable.count(now)) open"
        return opened - closed == now
            ? .ok(name, text) : .fail(name, "\(text): the numbers do not add up", do: "Report this as a bug, with the node's /metrics.")
    }

    /// The counters must have grown by at least the doctor's own events. In a cluster, the owner of the doctor's channel counts its publishes, and that may be
    /// another node.
    static func growth(from before: PrometheusText, to after: PrometheusText) -> Check {
        let name = "counters"
        let delivered = [("realertime_delivered_total", 28)]
        let isMember = after.value("realertime_relay_parked") != nil
        let minima = isMember ? delivered : [("realertime_published_total", 21)] + delivered + [("realertime_duplicates_total", 1)]
        for (metric, count) in minima {
            guard let old = before.value(metric), let new = after.value(metric) else {
                return .fail(name, "/metrics has no \(metric)", do: "Check that --api is the API port of a node of this version.")
            }
            if new - old < count {
                return .fail(
                    name, "\(metric) grew by \(new - old), but the doctor alone caused \(count)",
                    do: "If --api or --url leads to several nodes, use the ports of one node. Otherwise report this as a bug.")
            }
        }
        return .ok(name, "the counters include the doctor's events")
    }

    static func log(_ metrics: PrometheusText) -> Check {
        let failures = metrics.value("realertime_log_failures_total") ?? 0
        guard failures > 0 else { return .ok("log", "no commit has failed") }
        return .warn("log", "failed commits since the node started: \(Readable.count(failures))", do: "See the node's log, and check the node's disk.")
    }

    private static func metrics(_ probe: Probe) async throws -> PrometheusText {
        PrometheusText(try await probe.node.expect("/metrics").text)
    }
}
