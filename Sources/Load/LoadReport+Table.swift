import Histogram

extension LoadReport {
    /// The report for people.
    var table: String { self.table(width: nil) }

    /// - Parameter width: the width of the terminal. Nil is no limit.
    func table(width: Int?) -> String {
        var lines: [(String, String)] = [("target", "\(self.settings.transport.rawValue)  \(self.target)")]
        lines.append(("connections", self.connectionsSentence))
        if self.settings.plan.publishers > 0 {
            lines.append(("publishing", self.publishingSentence))
            if self.tally.backlog > 0 || self.tally.backlogMax > 1 { lines.append(("backlog", self.backlogSentence)) }
            lines.append(("deliveries", self.deliveriesSentence))
            lines.append(("sequence", self.sequenceSentence))
        }
        if self.hasProcesses { lines.append(("server", self.serverSentence)) }
        if !self.tally.errors.isEmpty { lines.append(("errors", self.errorsSentence)) }
        lines.append(("load tool", self.generatorSentence))
        let head = lines.map { $0.0.padded(12) + "  " + $0.1.wrapped(to: width.map { $0 - 14 }).joined(separator: "\n" + String(repeating: " ", count: 14)) }
        let verdict = self.isInterrupted ? "interrupted; until then: \(self.verdict)" : self.verdict
        return (head + [""] + self.latencyLines + self.secondsLines + [""] + verdict.wrapped(to: width)).joined(separator: "\n")
    }

    private var connectionsSentence: String {
        let channels = self.isChurn ? "" : ", \(UInt64(self.settings.plan.channels).counted("channel"))"
        let what = self.isChurn ? "connects and disconnects" : "connected"
        return "\(self.tally.connected.grouped) of \(UInt64(self.attempted).grouped) \(what)\(channels), "
            + "\(self.connectsPerSecond.rate) connects/s, \(self.tally.connectFailed.grouped) failed, \(self.tally.disconnected.grouped) ended early"
    }

    private var publishingSentence: String {
        let requested =
            switch self.settings.plan.rate {
            case .perSecond(let rate): "\(rate.rate)/s requested"
            case .maximum: "maximum rate"
            case .none: "no events requested"
            }
        return "\(self.tally.published.counted("event")), \(self.publishedPerSecond.rate) acks/s (\(requested)), "
            + "\(UInt64(self.settings.plan.publishers).counted("publisher")), \(self.settings.payloadBytes) B, \(self.tally.publishFailed.grouped) failed"
    }

    private var backlogSentence: String {
        "\(self.tally.backlogMax.counted("event")) at most, \(self.tally.backlog.grouped) never sent"
            + (self.tally.backlog > 1 && self.tally.publishFailed == 0 ? ": responses were too slow for this rate; more --publishers may help" : "")
    }

    private var deliveriesSentence: String {
        "\(self.tally.receivedInWindow.grouped) of \(self.tally.expectedInWindow.grouped) expected in \(self.windowSeconds.fixed(1)) s, "
            + "\(self.deliveriesPerSecond.rate)/s, \((self.bytesPerSecond / 1e6).fixed(1)) MB/s, \(self.deliveriesPerRead.fixed(1)) deliveries per read"
    }

    private var sequenceSentence: String {
        "\(self.tally.lost.grouped) lost, \(self.tally.repeated.grouped) repeated, \(self.tally.reordered.grouped) reordered, "
            + "\(self.tally.misdelivered.grouped) misdelivered (whole run: \(self.tally.received.grouped) of \(self.tally.expected.grouped))"
    }

    private var serverSentence: String {
        var parts: [String] = []
        if let cpu = self.cpuPercent { parts.append("CPU \(cpu.fixed(1)) %") }
        if let each = self.cpuMicrosecondsPerDelivery { parts.append("\(each.fixed(2)) µs per delivery") }
        let resident = [self.samples.before, self.samples.connected, self.samples.after].compactMap { $0?.residentBytes.mebibytes }
        parts.append("resident \(resident.joined(separator: " → ")) MiB (before, connected, end)")
        if let each = self.bytesPerSubscriber { parts.append("\((each / 1024).fixed(2)) KiB per subscriber") }
        return parts.joined(separator: ", ")
    }

    private var generatorSentence: String {
        let load = self.tally.windowNanoseconds > 0 ? "CPU \(self.cpuShare.percent), waiting for a CPU \(self.runDelayShare.percent)" : "no measurement"
        return self.bottlenecks.isEmpty ? "ok (\(load))" : "was the bottleneck (\(self.bottlenecks.joined(separator: "; ")))"
    }

    private var latencyLines: [String] {
        let columns = ["p50", "p90", "p99", "p99.9", "max"]
        var lines = ["".padded(12) + columns.map { $0.padded(12, left: true) }.joined()]
        for (name, histogram) in self.distributions where histogram.totalCount > 0 {
            let values = [50, 90, 99, 99.9].map { histogram.valueAtPercentile($0).asTime } + [histogram.max.asTime]
            lines.append(name.padded(12) + values.map { $0.padded(12, left: true) }.joined())
        }
        return lines
    }

    private var secondsLines: [String] {
        guard let p99 = self.p99BySecond, self.seconds.count > 1 else { return [] }
        return ["", "p99 latency of each second: median \(p99.median.asTime), worst \(p99.worst.asTime)"]
    }

    var distributions: [(String, Histogram<UInt64>)] {
        [
            ("connect", self.tally.connect), ("acknowledge", self.tally.acknowledge), ("delivery", self.tally.delivery),
            ("lateness", self.tally.lateness), ("reading", self.tally.reading),
        ]
    }
}
