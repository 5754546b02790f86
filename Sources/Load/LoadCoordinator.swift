import Glibc

/// Runs a measurement: checks the settings, starts the workers, starts and ends each phase, samples the server's processes, and merges the workers' counts.
struct LoadCoordinator: ~Copyable {
    private var settings: LoadSettings
    private let limits: LocalLimits
    private let sampler: ProcessSampler
    private let showsProgress: Bool
    private var workers: [WorkerEnd] = []
    private var samples = RunSamples()
    private var isInterrupted = false

    init(settings: LoadSettings, limits: LocalLimits, showsProgress: Bool) {
        self.settings = settings
        self.limits = limits
        self.sampler = ProcessSampler(processIDs: settings.processIDs, measuresChildren: settings.measuresChildren)
        self.showsProgress = showsProgress
    }

    mutating func run() throws(LoadError) -> LoadReport {
        try self.check()
        self.samples.before = self.sampler.sample()
        try self.startWorkers()
        self.wait(for: "connecting", until: .max) { $0.allSatisfy { $0.isConnected || $0.link.isClosed } }
        let plan = self.settings.plan
        if !self.isInterrupted, plan.churn > 0 || self.workers.contains(where: { $0.connected > 0 }) || plan.subscribers == 0 {
            self.pause(self.settings.settle, "settling")
            self.samples.connected = self.sampler.sample()
            if plan.churn == 0, plan.rate != .none { self.publish() } else if plan.churn == 0 { self.hold() }
        }
        self.finish()
        self.showProgress("")
        let report = LoadReport(settings: self.settings, tally: self.mergedTally(), samples: self.samples, isInterrupted: self.isInterrupted)
        guard report.tally.connected > 0 || (plan.subscribers == 0 && plan.churn == 0) || self.isInterrupted else {
            throw .unreachable("no subscriber could connect: \(report.errorsSentence)")
        }
        return report
    }

    // MARK: Before the run

    private mutating func check() throws(LoadError) {
        // The capacity is checked before the probes, because a probe is also a connection to the node.
        try self.checkCapacity()
        for target in self.settings.subscribeTargets {
            try Self.probe(SocketAddress(host: target.host, port: target.port), target, "--url or --subscribe-url")
        }
        if self.settings.plan.publishers > 0 {
            let publish = self.settings.publish
            try Self.probe(SocketAddress(host: publish.host, port: publish.port), publish, "--api or --publish-url")
        }
        for pid in self.settings.processIDs where ProcessSampler.usage(pid) == nil {
            throw .usage("there is no process with the id \(pid): check --pid")
        }
        try self.settings.chooseSourceAddresses(limits: self.limits)
    }

    /// Refuses to start if the node reports that it would refuse some of the connections. Does not check several nodes, another server, or a node that does
    /// not respond.
    private func checkCapacity() throws(LoadError) {
        let plan = self.settings.plan
        let requested = plan.churn > 0 ? min(self.settings.churnAtOnce, plan.churn) : plan.subscribers
        guard requested > 0, self.settings.subscribeTargets.count == 1, let status = self.settings.status,
            let capacity = NodeCapacity.of(status, headers: self.settings.publishHeaders),
            capacity.describes(self.settings.subscribe, status: status)
        else { return }
        guard requested <= capacity.free else {
            throw .usage(
                "the node at \(status.authority) accepts only \(capacity.free) more subscribers (connections-max \(capacity.max), \(capacity.used) are connected), "
                    + "but this run needs \(requested): lower --subscribers, or raise the node's connections-max and descriptor limit")
        }
    }

    private static func probe(_ address: SocketAddress, _ template: RequestTemplate, _ option: String) throws(LoadError) {
        let error = address.probe(milliseconds: 3000)
        guard error == 0 else {
            throw .unreachable("cannot connect to \(template.authority): \(LoadWorker.text(error)). Start the server, or set \(option)")
        }
    }

    private mutating func startWorkers() throws(LoadError) {
        for index in 0..<self.settings.plan.processes {
            let (own, other) = try LineLink.pair()
            if self.settings.plan.processes == 1 {
                try WorkerLauncher.startThread(self.settings, link: other)
                self.workers.append(WorkerEnd(link: LineLink(descriptor: own), pid: 0))
            } else {
                let pid = try WorkerLauncher.startProcess(index: index, run: self.settings.run, link: other)
                close(other)
                self.workers.append(WorkerEnd(link: LineLink(descriptor: own), pid: pid))
            }
        }
    }

    // MARK: The run

    private mutating func publish() {
        let start = Clock.now() + 20_000_000
        self.sendToWorkers("start \(start)")
        let from = start + Clock.nanoseconds(self.settings.warmUp)
        let to = from + Clock.nanoseconds(self.settings.duration)
        self.wait(for: "warming up", until: from) { _ in false }
        self.samples.windowStart = self.sampler.sample()
        self.wait(for: "measuring", until: to) { $0.allSatisfy { $0.link.isClosed } }
        self.samples.windowEnd = self.sampler.sample()
        self.exchangePublishedCounts()
    }

    /// Sends the counts of published events of all workers to each worker. A worker needs them to count its lost events.
    private mutating func exchangePublishedCounts() {
        let deadline = Clock.now() + Clock.nanoseconds(self.settings.drain) + 5_000_000_000
        self.wait(for: "draining", until: deadline, endsOnInterruption: false) { $0.allSatisfy { $0.hasPublished || $0.link.isClosed } }
        let lines = self.workers.flatMap(\.publishedLines)
        for index in self.workers.indices {
            for line in lines { self.workers[index].link.put(line) }
            self.workers[index].link.put("final-end")
            self.workers[index].link.flush()
        }
    }

    private mutating func hold() { self.pause(self.settings.hold, "holding") }

    private mutating func finish() {
        let plan = self.settings.plan
        if self.samples.connected == nil { self.samples.connected = self.sampler.sample() }
        if plan.churn > 0 || plan.rate == .none || self.samples.windowStart == nil { self.sendToWorkers("stop") }
        let deadline = Clock.now() + Clock.nanoseconds(self.settings.drain) + 30_000_000_000
        self.samples.after = self.sampler.sample()
        self.wait(for: "collecting", until: deadline, endsOnInterruption: false) { $0.allSatisfy { $0.hasEnded || $0.link.isClosed } }
        for worker in self.workers where worker.pid > 0 {
            if !worker.hasEnded { kill(worker.pid, SIGKILL) }
            var status: Int32 = 0
            waitpid(worker.pid, &status, 0)
        }
    }

    private func mergedTally() -> WorkerTally {
        var tally = WorkerTally()
        for worker in self.workers {
            tally.merge(worker.tally)
            if !worker.hasEnded { tally.count(error: "worker: ended without a report") }
        }
        tally.addUpSeconds()
        return tally
    }

    // MARK: Waiting

    private mutating func pause(_ seconds: Double, _ what: String) {
        self.wait(for: what, until: Clock.now() + Clock.nanoseconds(seconds)) { $0.allSatisfy { $0.link.isClosed } }
    }

    /// Reads the workers' lines until the deadline, or until the condition is true. An interruption ends the wait, unless the wait is for the report.
    private mutating func wait(for what: String, until deadline: UInt64, endsOnInterruption: Bool = true, _ condition: ([WorkerEnd]) -> Bool) {
        while !(self.isInterrupted && endsOnInterruption) {
            let now = Clock.now()
            if now >= deadline || condition(self.workers) { return }
            var pollers = self.workers.map { pollfd(fd: $0.link.isClosed ? -1 : $0.link.descriptor, events: Int16(POLLIN), revents: 0) }
            let milliseconds = min(200, (deadline - now + 999_999) / 1_000_000)
            _ = poll(&pollers, nfds_t(pollers.count), Int32(milliseconds))
            for index in self.workers.indices where pollers[index].revents != 0 { self.workers[index].read() }
            if Interruption.isRequested, !self.isInterrupted {
                self.isInterrupted = true
                self.sendToWorkers("halt")
            }
            self.showProgress(what)
        }
    }

    private mutating func sendToWorkers(_ line: String) {
        for index in self.workers.indices {
            self.workers[index].link.put(line)
            self.workers[index].link.flush()
        }
    }

    private func showProgress(_ what: String) {
        guard self.showsProgress else { return }
        var text = ""
        if !what.isEmpty {
            let sums = self.workers.reduce(into: [0, 0, 0, 0] as [UInt64]) { sums, worker in
                for place in 0..<4 { sums[place] += worker.progress[place] }
            }
            let all = UInt64(self.settings.plan.churn > 0 ? self.settings.plan.churn : self.settings.plan.subscribers)
            text = "\(what): \(sums[0].grouped) of \(all.grouped) connected"
            if sums[1] > 0 { text += ", \(sums[1].grouped) failed" }
            if sums[2] > 0 { text += ", \(sums[2].grouped) published, \(sums[3].grouped) received" }
        }
        let line = Array("\r\(text)\u{1B}[K".utf8)
        _ = line.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    }
}
