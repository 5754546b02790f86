import Glibc
import Histogram

extension LoadWorker {
    /// After this number of consecutive failures the worker stops connecting. The server is down or full, and further attempts would only add load.
    static let consecutiveFailuresMax: UInt64 = 1000

    /// The time of the next connect. Nil if no connect is possible now.
    var connectDue: UInt64? {
        guard self.connectsStarted < self.connectsTotal, self.inFlight.count < self.connectsInFlightMax else { return nil }
        guard self.plan.churn == 0 || !self.freeIndexes.isEmpty else { return nil }
        guard self.settings.connectRate > 0 else { return 0 }
        let perWorker = self.settings.connectRate / Double(self.plan.processes)
        return self.connectStart + UInt64(Double(self.connectsStarted) / perWorker * 1e9)
    }

    private var connectsInFlightMax: Int { max(1, self.settings.connectsInFlight / self.plan.processes) }

    mutating func startConnects(_ now: UInt64) {
        while let due = self.connectDue, due <= now {
            let place = self.plan.churn > 0 ? self.freeIndexes.removeLast() : self.connectsStarted
            self.connectsStarted += 1
            self.connect(place, now: Clock.now())
            if self.consecutiveFailures >= Self.consecutiveFailuresMax {
                let left = UInt64(self.connectsTotal - self.connectsStarted)
                self.tally.connectFailed += left
                if left > 0 { self.tally.errors["connect: stopped after \(Self.consecutiveFailuresMax) failures in a row", default: 0] += left }
                self.connectsStarted = self.connectsTotal
            }
        }
        if self.inFlight.isEmpty, self.connectsStarted >= self.connectsTotal { self.connectsAreDone(now) }
    }

    private mutating func connectsAreDone(_ now: UInt64) {
        self.phase = .waiting
        self.tally.connectNanoseconds = now - self.connectStart
        if self.plan.churn > 0 { self.window.close(now) }
        self.sendProgress()
        self.link.put("connected \(self.tally.connected)")
        self.link.flush()
    }

    mutating func connect(_ index: Int, now: UInt64) {
        let number = self.plan.churn > 0 ? self.connectsStarted - 1 : self.firstSubscriber + index
        let source = self.sources.isEmpty ? nil : self.sources[number % self.sources.count]
        let descriptor = self.addresses[number % self.addresses.count].connect(from: source)
        self.subscribers[index].started = now
        self.inFlight.append(index)
        guard descriptor >= 0 else { return self.connectFailed(index, "connect: \(Self.text(-descriptor))") }
        self.subscribers[index].descriptor = descriptor
        self.subscribers[index].state = .connecting
        self.subscribers[index].tailCount = 0
        self.subscribers[index].firstChannel = UInt32(self.plan.firstChannel(ofSubscriber: number))
        self.heads[index] = HTTPResponseScanner()
        if self.settings.transport == .ws { self.walkers[index] = WebSocketWalker() }
        // On one machine the TCP handshake has often finished when `connect` returns. Sending now saves one pass of the loop.
        if self.sendSubscribe(index) {
            self.loop.add(descriptor, token: UInt64(index), interest: EpollLoop.readable)
        } else if errno == EAGAIN || errno == ENOTCONN {
            self.loop.add(descriptor, token: UInt64(index), interest: EpollLoop.writable)
        } else {
            self.connectFailed(index, "connect: \(Self.text(errno))")
        }
    }

    mutating func connectIsWritable(_ index: Int) {
        let descriptor = self.subscribers[index].descriptor
        let error = SocketAddress.pendingError(descriptor)
        guard error == 0 else { return self.connectFailed(index, "connect: \(Self.text(error))") }
        guard self.sendSubscribe(index) else {
            if errno != EAGAIN { self.connectFailed(index, "connect: \(Self.text(errno))") }
            return
        }
        self.loop.change(descriptor, token: UInt64(index), interest: EpollLoop.readable)
    }

    /// Returns false if the request was not sent. A request is small and the socket's buffer is empty, so it is never sent partially.
    private mutating func sendSubscribe(_ index: Int) -> Bool {
        self.writeSubscribeRequest(index)
        let descriptor = self.subscribers[index].descriptor
        let sent = Socket.send(self.request, to: descriptor)
        guard sent == self.request.count else {
            if sent >= 0 { errno = EMSGSIZE }
            return false
        }
        if self.settings.transport == .lp, self.plan.churn == 0 {
            self.subscribers[index].state = .polling
            self.isConnected(index, now: Clock.now())
        } else {
            self.subscribers[index].state = .head
        }
        return true
    }

    mutating func writeSubscribeRequest(_ index: Int) {
        self.request.removeAll(keepingCapacity: true)
        self.request.append(contentsOf: "GET ".utf8)
        let first = Int(self.subscribers[index].firstChannel)
        let channels = self.plan.channels
        let names = (0..<self.plan.channelsPerSubscriber).lazy.map { (first + $0) % channels }
        self.settings.subscribe.appendPath(channels: names, namePrefix: self.settings.channelPrefix, to: &self.request)
        switch self.pollPositions[index] {
        case .cursor(let cursor):
            self.request.append(self.request.contains(UInt8(ascii: "?")) ? UInt8(ascii: "&") : UInt8(ascii: "?"))
            self.request.append(contentsOf: "since=".utf8)
            self.request.append(contentsOf: cursor)
            self.request.append(contentsOf: self.subscribeHead)
        case .validators(let modified, let etag):
            self.request.append(contentsOf: self.subscribeHead)
            self.request.append(contentsOf: "If-Modified-Since: ".utf8)
            self.request.append(contentsOf: modified)
            self.request.append(contentsOf: "\r\nIf-None-Match: ".utf8)
            self.request.append(contentsOf: etag)
            self.request.append(contentsOf: "\r\n".utf8)
        case .start, nil:
            self.request.append(contentsOf: self.subscribeHead)
        }
        self.request.append(contentsOf: "\r\n".utf8)
    }

    // MARK: Outcomes

    /// Call when the head of the response has arrived, or for a long-poll when the request was sent.
    mutating func isConnected(_ index: Int, now: UInt64) {
        self.inFlight.removeAll { $0 == index }
        guard !self.subscribers[index].wasConnected else { return }
        self.tally.connected += 1
        self.consecutiveFailures = 0
        _ = self.tally.connect.record(min(now - self.subscribers[index].started, WorkerTally.nanosecondsMax))
        if self.plan.churn > 0 {
            self.tally.churned += 1
            self.closeSubscriber(index)
            self.freeIndexes.append(index)
        } else {
            self.subscribers[index].wasConnected = true
        }
    }

    mutating func connectFailed(_ index: Int, _ reason: String) {
        self.tally.count(error: reason)
        self.inFlight.removeAll { $0 == index }
        self.closeSubscriber(index)
        if self.subscribers[index].wasConnected {
            self.tally.disconnected += 1
        } else {
            self.tally.connectFailed += 1
            self.consecutiveFailures += 1
            if self.plan.churn > 0 { self.freeIndexes.append(index) }
        }
    }

    mutating func closeSubscriber(_ index: Int) {
        let descriptor = self.subscribers[index].descriptor
        guard descriptor >= 0 else { return }
        if self.settings.churnResets, self.plan.churn > 0 {
            var reset = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, socklen_t(MemoryLayout<linger>.size))
        }
        close(descriptor)
        self.subscribers[index].descriptor = -1
        self.subscribers[index].state = .closed
        self.pieces[index] = nil
    }

    /// For long-poll: reconnects outside the handling of events, so that a refused connection does not recurse.
    mutating func reconnectScheduled() {
        let again = self.reconnects
        self.reconnects.removeAll(keepingCapacity: true)
        for index in again { self.connect(index, now: Clock.now()) }
    }

    mutating func failSlowConnects(_ now: UInt64) {
        let timeout = Clock.nanoseconds(self.settings.timeout)
        for index in self.inFlight where now > self.subscribers[index].started + timeout {
            self.connectFailed(index, "connect: no response in time")
        }
    }

    static func text(_ error: Int32) -> String {
        let text = String(cString: strerror(error)).lowercased()
        switch error {
        case EADDRNOTAVAIL: return text + " (no free local port: raise --source-addresses)"
        case EMFILE, ENFILE: return text + " (raise --processes or the descriptor limit)"
        default: return text
        }
    }
}
