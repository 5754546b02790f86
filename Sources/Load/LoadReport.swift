import Histogram

/// Samples of the server's processes between the phases of a run.
struct RunSamples: Sendable {
    var before: ProcessSample?
    var connected: ProcessSample?
    var windowStart: ProcessSample?
    var windowEnd: ProcessSample?
    var after: ProcessSample?
}

/// The result of a run, and whether the load tool itself was the bottleneck.
struct LoadReport: Sendable {
    /// Above these limits the load tool itself was the bottleneck.
    static let cpuShareMax = 0.85
    static let runDelayShareMax = 0.10
    static let latenessMax: UInt64 = 5_000_000
    static let fullWakesShareMax = 0.5
    static let busyShareMax = 0.7

    let settings: LoadSettings
    let tally: WorkerTally
    let samples: RunSamples
    let isInterrupted: Bool

    /// Where the subscribers connected.
    var target: String {
        let others = self.settings.subscribeTargets.count - 1
        return self.settings.subscribe.authority + (others > 0 ? " and \(others) more" : "")
    }

    var isChurn: Bool { self.settings.plan.churn > 0 }
    var isIdle: Bool { !self.isChurn && self.settings.plan.rate == .none }
    var attempted: Int { self.isChurn ? self.settings.plan.churn : self.settings.plan.subscribers }

    // MARK: Rates

    var windowSeconds: Double { Double(self.tally.windowNanoseconds) / 1e9 }
    var connectsPerSecond: Double { self.perSecond(self.tally.connected, Double(self.tally.connectNanoseconds) / 1e9) }
    var publishedPerSecond: Double { self.perSecond(self.tally.publishedInWindow, self.windowSeconds) }
    var deliveriesPerSecond: Double { self.perSecond(self.tally.arrivedInWindow, self.windowSeconds) }
    var bytesPerSecond: Double { self.perSecond(self.tally.bytesInWindow, self.windowSeconds) }
    var deliveriesPerRead: Double { self.tally.readsInWindow == 0 ? 0 : Double(self.tally.arrivedInWindow) / Double(self.tally.readsInWindow) }

    private func perSecond(_ count: UInt64, _ seconds: Double) -> Double { seconds > 0 ? Double(count) / seconds : 0 }

    // MARK: Seconds

    /// The delivery latencies of each second of the window, in order. Seconds without a delivery are left out.
    var seconds: [Histogram<UInt64>] { self.tally.deliveryBySecond.prefix(WorkerTally.secondsMax).filter { $0.totalCount > 0 } }

    /// The median and the maximum of the p99 latencies of all seconds. A few seconds without a CPU do not change the median. Nil without deliveries.
    var p99BySecond: (median: UInt64, worst: UInt64)? {
        let sorted = self.seconds.map { $0.valueAtPercentile(99) }.sorted()
        return sorted.last.map { (sorted[(sorted.count - 1) / 2], $0) }
    }

    // MARK: The server's processes

    var hasProcesses: Bool { !self.settings.processIDs.isEmpty }

    /// The CPU use during the window. For a run without a window: during the whole run.
    var cpuPercent: Double? {
        guard self.hasProcesses else { return nil }
        if let from = self.samples.windowStart, let to = self.samples.windowEnd { return to.cpuPercent(since: from) }
        guard let from = self.samples.before, let to = self.samples.after else { return nil }
        return to.cpuPercent(since: from)
    }

    var bytesPerSubscriber: Double? {
        guard self.hasProcesses, !self.isChurn, self.tally.connected > 0,
            let before = self.samples.before, let after = self.samples.connected
        else { return nil }
        return (Double(after.residentBytes) - Double(before.residentBytes)) / Double(self.tally.connected)
    }

    var cpuMicrosecondsPerDelivery: Double? {
        guard let cpu = self.cpuPercent, self.deliveriesPerSecond > 0 else { return nil }
        return cpu / 100 * 1e6 / self.deliveriesPerSecond
    }

    // MARK: The load tool itself

    var cpuShare: Double { Double(self.tally.cpuMillionths) / 1e6 }
    var runDelayShare: Double { Double(self.tally.runDelayMillionths) / 1e6 }
    var fullWakesShare: Double { self.tally.wakes < 100 ? 0 : Double(self.tally.fullWakes) / Double(self.tally.wakes) }

    /// The reasons why the load tool itself was the bottleneck. Empty if the load tool was not the bottleneck.
    var bottlenecks: [String] {
        var reasons: [String] = []
        if self.cpuShare > Self.cpuShareMax { reasons.append("a worker used \(self.cpuShare.percent) of a CPU") }
        if self.runDelayShare > Self.runDelayShareMax { reasons.append("a worker waited for a CPU for \(self.runDelayShare.percent) of the time") }
        let lateness = self.tally.lateness.valueAtPercentile(99)
        if self.tally.lateness.totalCount > 0, lateness > Self.latenessMax { reasons.append("publishes were sent \(lateness.asTime) too late (p99)") }
        // A burst also fills the loop. The loop was too slow only if the CPU was busy too.
        let isBusy = self.cpuShare + self.runDelayShare > Self.busyShareMax
        if self.fullWakesShare > Self.fullWakesShareMax, isBusy { reasons.append("a worker always had more data to read than it could process in one turn") }
        return reasons
    }

    // MARK: The verdict

    var errorsSentence: String {
        self.tally.errors.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.value.grouped) × \($0.key)" }.joined(separator: ", ")
    }

    /// The failures of the run. Empty if all expected events arrived once and in order.
    var failures: [String] {
        var failures: [String] = []
        let counts: [(UInt64, String)] = [
            (self.tally.connectFailed, "connects failed"), (self.tally.lost, "deliveries were lost"),
            (self.tally.repeated, "deliveries were repeated"), (self.tally.reordered, "deliveries were out of order"),
            (self.tally.misdelivered, "deliveries reached the wrong subscriber"),
        ]
        for (count, what) in counts where count > 0 { failures.append("\(count.grouped) \(what)") }
        if self.settings.plan.publishers > 0, self.tally.published == 0 { failures.append("nothing was published") }
        if self.tally.errors.keys.contains("publish: status 401") {
            failures.append("the server refused the API token, or requires a token: set REALERTIME_API_TOKEN")
        }
        if self.isIdle, self.tally.disconnected > 0 { failures.append("\(self.tally.disconnected.grouped) connections ended early") }
        if self.tally.errors.keys.contains(where: { $0.hasPrefix("worker:") }) { failures.append("a worker ended without a report") }
        return failures
    }

    var isComplete: Bool { self.failures.isEmpty }

    var verdict: String {
        if !self.isComplete { return self.failures.joined(separator: ", ") }
        if self.isChurn { return "each connection got a response" }
        return self.isIdle ? "all connections were opened and stayed open" : "all expected events arrived once and in order"
    }
}
