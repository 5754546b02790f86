import Histogram
import JSON

extension LoadReport {
    /// The report for programs. Latencies are in microseconds, sizes in bytes.
    var json: String {
        var writer = JSONWriter()
        writer.object(self.writeFields)
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    private func writeFields(to writer: inout JSONWriter<[UInt8]>) {
        writer.field("run", self.writeRun)
        writer.field("connections", self.writeConnections)
        if self.settings.plan.publishers > 0 {
            writer.field("publishing", self.writePublishing)
            writer.field("deliveries", self.writeDeliveries)
        }
        writer.field("latency_us", self.writeLatencies)
        if self.hasProcesses { writer.field("server", self.writeServer) }
        writer.field("errors") { for (name, count) in self.tally.errors.sorted(by: { $0.key < $1.key }) { $0.field(name, count) } }
        writer.field("generator", self.writeGenerator)
        writer.field("complete", self.isComplete)
        writer.field("interrupted", self.isInterrupted)
        writer.field("verdict", self.verdict)
    }

    private func writeLatencies(to writer: inout JSONWriter<[UInt8]>) {
        for (name, histogram) in self.distributions where histogram.totalCount > 0 {
            writer.field(name) { Self.write(histogram, to: &$0) }
        }
        guard let p99 = self.p99BySecond else { return }
        writer.field("delivery_by_second") { writer in
            writer.rounded("p99_median", Double(p99.median) / 1000)
            writer.rounded("p99_worst", Double(p99.worst) / 1000)
            writer.name("seconds")
            writer.array { writer in for second in self.seconds { writer.object { Self.write(second, to: &$0) } } }
        }
    }

    private func writeRun(to writer: inout JSONWriter<[UInt8]>) {
        writer.field("transport", self.settings.transport.rawValue)
        writer.field("target", self.target)
        writer.field("subscribers", self.settings.plan.subscribers)
        writer.field("channels", self.settings.plan.channels)
        writer.field("channels_per_subscriber", self.settings.plan.channelsPerSubscriber)
        writer.field("publishers", self.settings.plan.publishers)
        switch self.settings.plan.rate {
        case .none: writer.field("rate", 0)
        case .perSecond(let rate): writer.rounded("rate", rate)
        case .maximum: writer.field("rate", "max")
        }
        writer.field("hot", self.settings.plan.isHot)
        writer.field("payload_bytes", self.settings.payloadBytes)
        writer.rounded("window_seconds", self.windowSeconds)
        writer.field("processes", self.settings.plan.processes)
        writer.field("source_addresses", self.settings.sourceAddresses)
    }

    private func writeConnections(to writer: inout JSONWriter<[UInt8]>) {
        writer.field("attempted", self.attempted)
        writer.field("connected", self.tally.connected)
        writer.field("failed", self.tally.connectFailed)
        writer.field("ended_early", self.tally.disconnected)
        writer.rounded("per_second", self.connectsPerSecond)
        writer.rounded("seconds", Double(self.tally.connectNanoseconds) / 1e9)
        if self.isChurn { writer.field("cycles", self.tally.churned) }
    }

    private func writePublishing(to writer: inout JSONWriter<[UInt8]>) {
        writer.field("acknowledged", self.tally.published)
        writer.field("acknowledged_in_window", self.tally.publishedInWindow)
        writer.rounded("per_second", self.publishedPerSecond)
        writer.field("failed", self.tally.publishFailed)
        writer.field("backlog_max", self.tally.backlogMax)
        writer.field("never_sent", self.tally.backlog)
    }

    private func writeDeliveries(to writer: inout JSONWriter<[UInt8]>) {
        writer.field("expected_in_window", self.tally.expectedInWindow)
        writer.field("received_in_window", self.tally.receivedInWindow)
        writer.field("expected", self.tally.expected)
        writer.field("received", self.tally.received)
        writer.field("lost", self.tally.lost)
        writer.field("repeated", self.tally.repeated)
        writer.field("reordered", self.tally.reordered)
        writer.field("misdelivered", self.tally.misdelivered)
        writer.rounded("per_second", self.deliveriesPerSecond)
        writer.rounded("bytes_per_second", self.bytesPerSecond)
        writer.rounded("per_read", self.deliveriesPerRead)
    }

    private func writeServer(to writer: inout JSONWriter<[UInt8]>) {
        if let cpu = self.cpuPercent { writer.rounded("cpu_percent", cpu) }
        if let each = self.cpuMicrosecondsPerDelivery { writer.rounded("cpu_us_per_delivery", each) }
        if let sample = self.samples.before { writer.field("resident_before", sample.residentBytes) }
        if let sample = self.samples.connected { writer.field("resident_connected", sample.residentBytes) }
        if let sample = self.samples.windowEnd { writer.field("resident_window_end", sample.residentBytes) }
        if let sample = self.samples.after { writer.field("resident_end", sample.residentBytes) }
        if let each = self.bytesPerSubscriber { writer.rounded("bytes_per_subscriber", each) }
        writer.name("processes")
        writer.array { writer in
            for usage in self.samples.after?.processes ?? [] {
                writer.object { writer in
                    writer.field("pid", usage.pid)
                    writer.rounded("cpu_seconds", usage.cpuSeconds)
                    writer.field("resident", usage.residentBytes)
                }
            }
        }
    }

    private func writeGenerator(to writer: inout JSONWriter<[UInt8]>) {
        writer.field("ok", self.bottlenecks.isEmpty)
        writer.field("bottlenecks", self.bottlenecks)
        writer.rounded("cpu_share", self.cpuShare)
        writer.rounded("run_delay_share", self.runDelayShare)
        writer.rounded("full_wakes_share", self.fullWakesShare)
    }

    private static func write(_ histogram: Histogram<UInt64>, to writer: inout JSONWriter<[UInt8]>) {
        for (name, percentile) in [("p50", 50), ("p90", 90), ("p99", 99), ("p999", 99.9)] {
            writer.rounded(name, Double(histogram.valueAtPercentile(percentile)) / 1000)
        }
        writer.rounded("max", Double(histogram.max) / 1000)
        writer.rounded("mean", histogram.mean / 1000)
        writer.field("count", histogram.totalCount)
    }
}

extension JSONWriter {
    fileprivate mutating func field(_ name: String, _ fields: (inout JSONWriter) -> Void) {
        self.name(name)
        self.object(fields)
    }

    /// A number with at most three decimals. Further digits are below the precision of the measurement.
    fileprivate mutating func rounded(_ name: String, _ value: Double) { self.field(name, (value * 1000).rounded() / 1000) }
}
