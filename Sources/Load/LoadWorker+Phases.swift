import Glibc

/// The phases of a run. The coordinator starts them with lines over the link, and gets lines in return.
extension LoadWorker {
    /// After the last expected delivery the loop continues to read for this time, to detect repeated deliveries.
    static let repetitionWaitNanoseconds: UInt64 = 200_000_000

    // MARK: Lines from the coordinator

    mutating func handleLines() {
        for line in self.link.lines() {
            let words = line.split(separator: " ")
            switch words.first {
            case "start": if words.count > 1, let time = UInt64(words[1]) { self.begin(at: time) }
            case "final": self.takeFinal(words.dropFirst().compactMap { UInt64($0) })
            case "uncertain": self.takeUncertain(words.dropFirst().compactMap { UInt64($0) })
            case "final-end": self.finalsAreComplete()
            case "halt": self.halt()
            case "stop": self.phase = .finished
            default: break
            }
        }
    }

    private mutating func begin(at time: UInt64) {
        self.start = time
        self.measureFrom = time + Clock.nanoseconds(self.settings.warmUp)
        self.measureTo = self.measureFrom + Clock.nanoseconds(self.settings.duration)
        self.tally.prepareSeconds(self.settings.duration)
        self.drainTo = .max
        for index in 0..<self.publishersCount {
            self.publishers[index].schedule = self.plan.schedule(ofPublisher: self.publishers[index].number, start: time)
        }
        self.nextPublish = time
        self.nextServePublishers = time
        self.phase = .running
    }

    /// Ends the run early. The report contains the measurements until now.
    private mutating func halt() {
        let now = Clock.now()
        switch self.phase {
        case .running: self.measureTo = min(self.measureTo, now)
        case .draining: self.drainTo = min(self.drainTo, now)
        case .connecting, .waiting, .finished: self.phase = .finished
        }
    }

    private mutating func takeFinal(_ numbers: [UInt64]) {
        guard numbers.count == 3, numbers[0] < UInt64(self.plan.streams) else { return }
        if self.finals.isEmpty { self.finals = [FinalStream](repeating: FinalStream(), count: self.plan.streams) }
        self.finals[Int(numbers[0])] = FinalStream(last: numbers[1], inWindow: numbers[2])
    }

    private mutating func takeUncertain(_ numbers: [UInt64]) {
        guard numbers.count == 2 else { return }
        self.finalUncertain[Int(numbers[0]), default: []].append(numbers[1])
    }

    private mutating func finalsAreComplete() {
        self.finalsAreKnown = true
        guard !self.finals.isEmpty else { return }
        self.forEachSlot { worker, _, stream in
            let uncertain = worker.finalUncertain[stream].map { UInt64($0.count) } ?? 0
            worker.tally.expected += worker.finals[stream].last - min(worker.finals[stream].last, uncertain)
            worker.tally.expectedInWindow += worker.finals[stream].inWindow
        }
    }

    /// Calls `body` for each combination of subscriber, channel and publisher that should have received events.
    private mutating func forEachSlot(_ body: (inout LoadWorker, _ slot: Int, _ stream: Int) -> Void) {
        let lanes = self.plan.lanes
        for index in 0..<self.count where self.subscribers[index].wasConnected {
            for place in 0..<self.plan.channelsPerSubscriber {
                let channel = (Int(self.subscribers[index].firstChannel) + place) % self.plan.channels
                for lane in 0..<lanes {
                    body(&self, (index * self.plan.channelsPerSubscriber + place) * lanes + lane, self.plan.stream(channel: channel, lane: lane))
                }
            }
        }
    }

    // MARK: The end of publishing

    mutating func endPublishing(_ now: UInt64) {
        self.window.close(now)
        self.noteBacklog(at: min(now, self.measureTo))
        for index in 0..<self.publishersCount { self.tally.backlog += self.publishers[index].schedule.backlog(at: self.measureTo) }
        self.phase = .draining
        self.drainTo = now + Clock.nanoseconds(self.settings.drain)
        self.sendPublishedCounts(now)
    }

    private mutating func sendPublishedCounts(_ now: UInt64) {
        guard !self.publishedIsSent else { return }
        var waiting = false
        for index in 0..<self.publishersCount where self.publishers[index].state == .inFlight { waiting = true }
        guard !waiting || now >= self.drainTo else { return }
        for index in 0..<self.publishersCount where self.publishers[index].state == .inFlight {
            self.uncertain.append((self.publishers[index].stream, self.publishers[index].sequence))
            self.tally.publishFailed += 1
            self.tally.count(error: "publish: no response at the end")
        }
        self.publishedIsSent = true
        for index in 0..<self.publishersCount {
            for stream in self.plan.streams(ofPublisher: self.publishers[index].number) where self.sequences[stream] > 1 {
                self.link.put("published \(stream) \(self.sequences[stream] - 1) \(self.windowCounts[stream])")
            }
        }
        for (stream, sequence) in self.uncertain { self.link.put("uncertain \(stream) \(sequence)") }
        self.link.put("published-end")
        self.link.flush()
    }

    private mutating func noteBacklog(at time: UInt64) {
        var backlog: UInt64 = 0
        for index in 0..<self.publishersCount { backlog += self.publishers[index].schedule.backlog(at: time) }
        self.tally.backlogMax = max(self.tally.backlogMax, backlog)
    }

    // MARK: Housekeeping

    mutating func housekeep(_ now: UInt64) {
        if !self.inFlight.isEmpty { self.failSlowConnects(now) }
        if !self.reconnects.isEmpty { self.reconnectScheduled() }
        self.failSlowResponses(now)
        if self.phase == .running { self.noteBacklog(at: now) }
        if self.phase == .draining {
            self.sendPublishedCounts(now)
            self.finishWhenComplete(now)
        }
        if now >= self.nextProgress {
            self.nextProgress = now + Self.progressNanoseconds
            self.sendProgress()
        }
    }

    private mutating func finishWhenComplete(_ now: UInt64) {
        guard self.finalsAreKnown else {
            // The other workers have the same time limits. After these limits, no further counts can arrive.
            if now >= self.drainTo &+ 15_000_000_000 { self.phase = .finished }
            return
        }
        if self.tally.received >= self.tally.expected {
            if self.completeSince == 0 { self.completeSince = now }
            if now >= self.completeSince + Self.repetitionWaitNanoseconds { self.phase = .finished }
        }
        if now >= self.drainTo { self.phase = .finished }
    }

    mutating func sendProgress() {
        self.link.put("progress \(self.tally.connected) \(self.tally.connectFailed) \(self.tally.published) \(self.tally.received)")
        self.link.flush()
    }

    // MARK: The report

    mutating func report() {
        self.window.close(Clock.now())
        if self.window.isClosed {
            let span = Double(self.window.nanoseconds)
            self.tally.windowNanoseconds = self.window.nanoseconds
            self.tally.cpuMillionths = UInt64(Double(self.window.cpu) / span * 1e6)
            self.tally.runDelayMillionths = UInt64(Double(self.window.runDelay) / span * 1e6)
        }
        if self.tally.connectNanoseconds == 0 { self.tally.connectNanoseconds = Clock.now() - self.connectStart }
        if !self.finals.isEmpty {
            self.forEachSlot { worker, slot, stream in
                worker.tally.lost += worker.tracker.lost(
                    slot: slot, last: worker.finals[stream].last, unless: worker.finalUncertain[stream] ?? []
                )
            }
        }
        self.tally.repeated = self.tracker.repeated
        self.tally.reordered = self.tracker.reordered
        for line in self.tally.lines { self.link.put(line) }
        self.link.put("end")
        self.link.flush()
    }
}
