import AdminAPI
import JSON

/// Whether the node's counters agree: everything that came in went out or is still there.
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

    /// The doctor's own subscribers are no longer counted: none remains after its connection has ended.
    private func idle() async -> Check {
        let name = "left behind"
        do {
            let query = writtenJSON { $0.object { $0.field("channel", self.probe.channel) } }
            var subscribers = -1
            for _ in 0..<20 {
                let answer = try await self.probe.node.post("/api/presence_stats", Array(query.utf8))
                var fields = JSONObject(try self.probe.node.expectOK(answer, for: "/api/presence_stats").body)
                var result = fields?.take("result")?.fields
                subscribers = result?.take("subscribers")?.integer ?? -1
                if subscribers == 0 { return .ok(name, "the doctor's connections have ended on the node too") }
                try await Task.sleep(for: .milliseconds(100))
            }
            return .fail(
                name, "\(subscribers) subscribers are left of connections that have ended",
                do: "If a proxy leads to --url, let it close with its clients; else report this.")
        } catch {
            return .fail(name, "\(error)", do: "See the node's log.")
        }
    }

    static func conservation(_ transport: Transport, _ metrics: PrometheusText) -> Check {
        let name = "books \(transport.rawValue)"
        let labels = ["transport": transport.metric]
        guard let opened = metrics.value("realertime_connections_opened_total", labels),
            let closed = metrics.value("realertime_connections_closed_total", labels),
            let now = metrics.value("realertime_connections", labels)
        else {
            return .fail(name, "/metrics does not say how many connections there are", do: "Check that --api is a node of this version.")
        }
        let words = "\(Readable.count(opened)) opened, \(Readable.count(closed)) closed, \(Readable.count(now)) there"
        return opened - closed == now ? .ok(name, words) : .fail(name, "\(words): they do not add up", do: "Report this with the node's /metrics.")
    }

    /// The doctor's own actions must appear in the counters.
    static func growth(from before: PrometheusText, to after: PrometheusText) -> Check {
        let name = "counters"
        let least = [("realertime_published_total", 21), ("realertime_delivered_total", 28), ("realertime_duplicates_total", 1)]
        for (metric, count) in least {
            guard let old = before.value(metric), let new = after.value(metric) else {
                return .fail(name, "/metrics has no \(metric)", do: "Check that --api is a node of this version.")
            }
            if new - old < count {
                return .fail(
                    name, "\(metric) grew by \(new - old), but the doctor alone did \(count)",
                    do: "If --api and --url lead to several nodes, name one node's own ports; else report this.")
            }
        }
        return .ok(name, "what the doctor did is counted")
    }

    static func log(_ metrics: PrometheusText) -> Check {
        let failures = metrics.value("realertime_log_failures_total") ?? 0
        guard failures > 0 else { return .ok("log", "no commit has failed") }
        return .warn("log", "\(Readable.count(failures)) commits have failed since the node started", do: "See the node's log, and the disk it writes to.")
    }

    private static func metrics(_ probe: Probe) async throws -> PrometheusText {
        PrometheusText(try probe.node.expectOK(await probe.node.get("/metrics"), for: "/metrics").text)
    }
}
