import Histogram

extension LoadReport {
    /// For programs. Times are in microseconds, sizes in bytes.
    var json: String {
        var root = JSONObject()
        root.add("run", self.runObject)
        root.add("connections", self.connectionsObject)
        if self.settings.plan.publishers > 0 {
            root.add("publishing", self.publishingObject)
            root.add("deliveries", self.deliveriesObject)
        }
        var latencies = JSONObject()
        for (name, histogram) in self.distributions where histogram.totalCount > 0 { latencies.add(name, Self.object(histogram)) }
        if let p99 = self.p99BySecond {
            var seconds = JSONObject()
            seconds.add("p99_median", Double(p99.median) / 1000)
            seconds.add("p99_worst", Double(p99.worst) / 1000)
            seconds.add("seconds", self.seconds.map(Self.object))
            latencies.add("delivery_by_second", seconds)
        }
        root.add("latency_us", latencies)
        if self.hasProcesses { root.add("server", self.serverObject) }
        var errors = JSONObject()
        for (name, count) in self.tally.errors.sorted(by: { $0.key < $1.key }) { errors.add(name, count) }
        root.add("errors", errors)
        root.add("generator", self.generatorObject)
        root.add("complete", self.isComplete)
        root.add("interrupted", self.isInterrupted)
        root.add("verdict", self.verdict)
        return root.text
    }

    private var runObject: JSONObject {
        var object = JSONObject()
        object.add("transport", self.settings.transport.rawValue)
        object.add("target", self.settings.subscribe.authority)
        object.add("subscribers", UInt64(self.settings.plan.subscribers))
        object.add("channels", UInt64(self.settings.plan.channels))
        object.add("channels_per_subscriber", UInt64(self.settings.plan.channelsPerSubscriber))
        object.add("publishers", UInt64(self.settings.plan.publishers))
        switch self.settings.plan.rate {
        case .none: object.add("rate", 0 as UInt64)
        case .perSecond(let rate): object.add("rate", rate)
        case .maximum: object.add("rate", "max")
        }
        object.add("hot", self.settings.plan.isHot)
        object.add("payload_bytes", UInt64(self.settings.payloadBytes))
        object.add("window_seconds", self.windowSeconds)
        object.add("processes", UInt64(self.settings.plan.processes))
        object.add("source_addresses", UInt64(self.settings.sourceAddresses))
        return object
    }

    private var connectionsObject: JSONObject {
        var object = JSONObject()
        object.add("attempted", UInt64(self.attempted))
        object.add("connected", self.tally.connected)
        object.add("failed", self.tally.connectFailed)
        object.add("ended_early", self.tally.disconnected)
        object.add("per_second", self.connectsPerSecond)
        object.add("seconds", Double(self.tally.connectNanoseconds) / 1e9)
        if self.isChurn { object.add("cycles", self.tally.churned) }
        return object
    }

    private var publishingObject: JSONObject {
        var object = JSONObject()
        object.add("acknowledged", self.tally.published)
        object.add("acknowledged_in_window", self.tally.publishedInWindow)
        object.add("per_second", self.publishedPerSecond)
        object.add("failed", self.tally.publishFailed)
        object.add("backlog_max", self.tally.backlogMax)
        object.add("never_sent", self.tally.backlog)
        return object
    }

    private var deliveriesObject: JSONObject {
        var object = JSONObject()
        object.add("expected_in_window", self.tally.expectedInWindow)
        object.add("received_in_window", self.tally.receivedInWindow)
        object.add("expected", self.tally.expected)
        object.add("received", self.tally.received)
        object.add("lost", self.tally.lost)
        object.add("repeated", self.tally.repeated)
        object.add("reordered", self.tally.reordered)
        object.add("misdelivered", self.tally.misdelivered)
        object.add("per_second", self.deliveriesPerSecond)
        object.add("bytes_per_second", self.bytesPerSecond)
        object.add("per_read", self.deliveriesPerRead)
        return object
    }

    private var serverObject: JSONObject {
        var object = JSONObject()
        if let cpu = self.cpuPercent { object.add("cpu_percent", cpu) }
        if let each = self.cpuMicrosecondsPerDelivery { object.add("cpu_us_per_delivery", each) }
        if let sample = self.samples.before { object.add("resident_before", sample.residentBytes) }
        if let sample = self.samples.connected { object.add("resident_connected", sample.residentBytes) }
        if let sample = self.samples.windowEnd { object.add("resident_window_end", sample.residentBytes) }
        if let sample = self.samples.after { object.add("resident_end", sample.residentBytes) }
        if let each = self.bytesPerSubscriber { object.add("bytes_per_subscriber", each) }
        object.add(
            "processes",
            (self.samples.after?.processes ?? []).map { usage in
                var process = JSONObject()
                process.add("pid", UInt64(usage.pid))
                process.add("cpu_seconds", usage.cpuSeconds)
                process.add("resident", usage.residentBytes)
                return process
            })
        return object
    }

    private var generatorObject: JSONObject {
        var object = JSONObject()
        object.add("ok", self.bottlenecks.isEmpty)
        object.add("bottlenecks", self.bottlenecks)
        object.add("cpu_share", self.cpuShare)
        object.add("run_delay_share", self.runDelayShare)
        object.add("full_wakes_share", self.fullWakesShare)
        return object
    }

    private static func object(_ histogram: Histogram<UInt64>) -> JSONObject {
        var object = JSONObject()
        for (name, percentile) in [("p50", 50), ("p90", 90), ("p99", 99), ("p999", 99.9)] {
            object.add(name, Double(histogram.valueAtPercentile(percentile)) / 1000)
        }
        object.add("max", Double(histogram.max) / 1000)
        object.add("mean", histogram.mean / 1000)
        object.add("count", histogram.totalCount)
        return object
    }
}
