import Glibc
import Histogram

extension LoadWorker {
    /// After a refusal or a failed connect a publisher waits for this time, so that it does not overload the server.
    static let retryPauseNanoseconds: UInt64 = 50_000_000
    static let uncertainMax = 1_000_000

    // MARK: Sending

    /// Reads the responses that have arrived, and sends the events that are due.
    mutating func servePublishers(_ now: UInt64) {
        let ready = self.publisherLoop.wait(nanoseconds: 0)
        for event in 0..<ready { self.publisherIsReady(Int(self.publisherLoop.token(event))) }
        if self.phase == .running { self.sendDue(ready > 0 ? Clock.now() : now) }
    }

    private mutating func sendDue(_ now: UInt64) {
        var next = UInt64.max
        for index in 0..<self.publishersCount {
            if self.publishers[index].state == .closed, now >= self.publishers[index].notBefore { self.connectPublisher(index, now: now) }
            if self.publishers[index].state == .idle { self.sendIfDue(index, now) }
            next = min(next, self.nextAction(index, now))
        }
        self.nextPublish = next
        self.nextServePublishers = min(next, now + Self.servePublishersNanoseconds)
    }

    /// The next time when this publisher has something to do. `.max` if it waits for the server.
    private func nextAction(_ index: Int, _ now: UInt64) -> UInt64 {
        switch self.publishers[index].state {
        case .idle: max(self.publishers[index].schedule.next ?? now, self.publishers[index].notBefore)
        case .closed: self.publishers[index].notBefore
        case .connecting, .inFlight: .max
        }
    }

    private mutating func sendIfDue(_ index: Int, _ now: UInt64) {
        guard self.phase == .running, now < self.measureTo, now >= self.publishers[index].notBefore,
            let intended = self.publishers[index].schedule.due(at: now), intended < self.measureTo
        else { return }
        self.publish(index, intended: intended, now: now)
    }

    // MARK: Connections

    mutating func connectPublisher(_ index: Int, now: UInt64) {
        let descriptor = self.publishAddress.connect(from: nil)
        self.publishers[index].scanner = HTTPResponseScanner()
        self.publishers[index].sent = now
        guard descriptor >= 0 else { return self.publisherFailed(index, "connect: \(Self.text(-descriptor))") }
        self.publishers[index].descriptor = descriptor
        self.publishers[index].state = .connecting
        self.publisherLoop.add(descriptor, token: UInt64(index), interest: EpollLoop.writable)
    }

    private mutating func publisherIsReady(_ index: Int) {
        switch self.publishers[index].state {
        case .closed:
            break
        case .connecting:
            let error = SocketAddress.pendingError(self.publishers[index].descriptor)
            guard error == 0 else { return self.publisherFailed(index, "connect: \(Self.text(error))") }
            self.publishers[index].state = .idle
            self.publishers[index].idleSince = Clock.now()
            self.publisherLoop.change(self.publishers[index].descriptor, token: UInt64(index), interest: EpollLoop.readable)
        case .idle, .inFlight:
            if self.unsent[index] != nil { self.sendUnsent(index) }
            self.readResponse(index)
        }
    }

    private mutating func closePublisher(_ index: Int, notBefore: UInt64) {
        if self.publishers[index].descriptor >= 0 { close(self.publishers[index].descriptor) }
        self.publishers[index].descriptor = -1
        self.publishers[index].state = .closed
        self.publishers[index].notBefore = notBefore
        self.unsent[index] = nil
    }

    /// The connection has failed. It is unknown whether a request in flight was published.
    private mutating func publisherFailed(_ index: Int, _ why: String) {
        if self.publishers[index].state == .inFlight { self.markUncertain(index) }
        self.tally.count(error: "publish: \(why)")
        self.closePublisher(index, notBefore: Clock.now() + Self.retryPauseNanoseconds)
    }

    private mutating func markUncertain(_ index: Int) {
        self.tally.publishFailed += 1
        self.uncertain.append((self.publishers[index].stream, self.publishers[index].sequence))
        if self.uncertain.count >= Self.uncertainMax { self.measureTo = min(self.measureTo, Clock.now()) }
    }

    // MARK: Requests

    private mutating func publish(_ index: Int, intended: UInt64, now: UInt64) {
        let stream = self.plan.stream(ofPublisher: self.publishers[index].number, event: self.publishers[index].eventsSent)
        let sequence = self.sequences[stream]
        let channel = stream / self.plan.lanes
        self.payload.set(
            Marker(
                channel: UInt32(channel), lane: UInt16(stream % self.plan.lanes), sequence: sequence, sentNanoseconds: intended
            ))
        self.writePublishRequest(channel)
        let descriptor = self.publishers[index].descriptor
        let sent = Socket.send(self.publishing, to: descriptor)
        guard sent >= 0 || errno == EAGAIN else {
            // The server closed the idle connection. Nothing was sent, so the next connection uses the same sequence number.
            return self.closePublisher(index, notBefore: now)
        }
        self.sequences[stream] = sequence + 1
        self.publishers[index].eventsSent += 1
        self.publishers[index].schedule.advance()
        self.publishers[index].stream = stream
        self.publishers[index].sequence = sequence
        self.publishers[index].sent = now
        self.publishers[index].state = .inFlight
        self.publishers[index].isInWindow = intended >= self.measureFrom && intended < self.measureTo
        if self.publishers[index].isInWindow {
            let possible = max(intended, self.publishers[index].idleSince, self.publishers[index].notBefore)
            _ = self.tally.lateness.record(min(now - min(now, possible), WorkerTally.nanosecondsMax))
        }
        if sent < self.publishing.count {
            self.unsent[index] = Array(self.publishing[max(0, sent)...])
            self.publisherLoop.change(descriptor, token: UInt64(index), interest: EpollLoop.readable | EpollLoop.writable)
        }
    }

    private mutating func writePublishRequest(_ channel: Int) {
        if self.publishHeads[channel] == nil { self.publishHeads[channel] = self.settings.publishHead(channel: channel) }
        self.publishing.removeAll(keepingCapacity: true)
        self.publishing.append(contentsOf: self.publishHeads[channel]!)
        self.publishing.append(contentsOf: self.payload.bytes)
        if !self.settings.bodySuffix.isEmpty { self.publishing.append(contentsOf: self.settings.publishTail(channel: channel)) }
    }

    private mutating func sendUnsent(_ index: Int) {
        guard let rest = self.unsent[index] else { return }
        let descriptor = self.publishers[index].descriptor
        let sent = Socket.send(rest, to: descriptor)
        guard sent > 0 else { return }
        self.unsent[index] = sent == rest.count ? nil : Array(rest[sent...])
        if sent == rest.count { self.publisherLoop.change(descriptor, token: UInt64(index), interest: EpollLoop.readable) }
    }

    // MARK: Responses

    private mutating func readResponse(_ index: Int) {
        let descriptor = self.publishers[index].descriptor
        guard descriptor >= 0 else { return }
        let count = recv(descriptor, self.buffer, Self.readBytes, 0)
        let now = Clock.now()
        guard count > 0 else {
            if count < 0, errno == EAGAIN || errno == EINTR { return }
            guard self.publishers[index].state == .inFlight else { return self.closePublisher(index, notBefore: now) }
            return self.publisherFailed(index, "connection lost")
        }
        var used = 0
        while used < count || self.publishers[index].state == .inFlight {
            let (taken, progress) = self.publishers[index].scanner.consume(self.buffer + used, count: count - used)
            used += taken
            let ended = progress == .complete || (progress == .head && self.publishers[index].scanner.endsAtHead())
            if ended, self.publishers[index].state == .inFlight { return self.didReceiveResponse(index, now) }
            if progress == .more || ended { return }
        }
    }

    private mutating func didReceiveResponse(_ index: Int, _ now: UInt64) {
        let status = self.publishers[index].scanner.status
        let stream = self.publishers[index].stream
        self.publishers[index].state = .idle
        self.publishers[index].idleSince = now
        switch status {
        case 200..<300:
            self.tally.published += 1
            if self.publishers[index].isInWindow {
                self.tally.publishedInWindow += 1
                self.windowCounts[stream] += 1
                _ = self.tally.acknowledge.record(min(now - self.publishers[index].sent, WorkerTally.nanosecondsMax))
            }
        case 400..<500:
            // The server refused the event. So the next event uses the same sequence number. This is safe, because no other publisher uses this stream.
            self.sequences[stream] -= 1
            self.tally.publishFailed += 1
            self.tally.count(error: "publish: status \(status)")
            self.publishers[index].notBefore = now + Self.retryPauseNanoseconds
        default:
            self.markUncertain(index)
            self.tally.count(error: "publish: status \(status)")
            self.publishers[index].notBefore = now + Self.retryPauseNanoseconds
        }
        let closes = self.publishers[index].scanner.closes
        self.publishers[index].scanner = HTTPResponseScanner()
        if closes { self.closePublisher(index, notBefore: max(now, self.publishers[index].notBefore)) }
        guard self.phase == .running else { return }
        if self.publishers[index].state == .idle { self.sendIfDue(index, now) }
        self.nextPublish = min(self.nextPublish, self.nextAction(index, now))
        self.nextServePublishers = min(self.nextServePublishers, self.nextPublish)
    }

    mutating func failSlowResponses(_ now: UInt64) {
        let timeout = Clock.nanoseconds(self.settings.timeout)
        for index in 0..<self.publishersCount where now > self.publishers[index].sent + timeout {
            switch self.publishers[index].state {
            case .inFlight: self.publisherFailed(index, "no response in time")
            case .connecting: self.publisherFailed(index, "connect: no response in time")
            case .closed, .idle: break
            }
        }
    }
}
