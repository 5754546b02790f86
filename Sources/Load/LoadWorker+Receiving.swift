import Glibc
import Histogram

extension LoadWorker {
    /// The maximum size of a response that arrives in pieces.
    static let responseBytesMax = 16 << 20

    /// Handles one epoll event of a subscriber. Returns the current time, so that the caller does not have to read the clock again.
    @inline(__always)
    mutating func subscriberIsReady(_ index: Int) -> UInt64 {
        switch self.subscribers[index].state {
        case .streaming: return self.readStream(index)
        case .closed: return 0
        case .connecting: self.connectIsWritable(index)
        case .head: self.readHead(index)
        case .polling: self.readPoll(index)
        }
        return Clock.now()
    }

    // MARK: The hot path

    @inline(__always)
    private mutating func readStream(_ index: Int) -> UInt64 {
        let fresh = self.buffer + Self.headroom
        let count = recv(self.subscribers[index].descriptor, fresh, Self.readBytes, 0)
        let now = Clock.now()
        guard count > 0 else {
            self.readFailed(index, count)
            return now
        }
        if self.settings.transport == .ws { self.walk(index, fresh, count) }
        self.deliver(index, fresh, count, now)
        return now
    }

    /// Finds and counts the events in the bytes that were read. Allocates memory only if the server loses or reorders events.
    @inline(__always)
    private mutating func deliver(_ index: Int, _ fresh: UnsafeMutablePointer<UInt8>, _ count: Int, _ now: UInt64) {
        let tail = self.tails + index &* Self.headroom
        let tailCount = Int(self.subscribers[index].tailCount)
        if tailCount > 0 { (fresh - tailCount).update(from: tail, count: tailCount) }
        var position = UnsafePointer(fresh - tailCount)
        let end = UnsafePointer(fresh + count)

        let first = Int(self.subscribers[index].firstChannel)
        let channels = self.plan.channels
        let own = self.plan.channelsPerSubscriber
        let lanes = self.plan.lanes
        let base = index &* own &* lanes
        let from = self.measureFrom
        let width = self.measureTo &- from
        var received: UInt64 = 0
        var receivedInWindow: UInt64 = 0
        while let marker = self.scanner.next(&position, end) {
            var place = Int(marker.channel) &- first
            if place < 0 { place &+= channels }
            guard UInt(bitPattern: place) < UInt(own), Int(marker.lane) < lanes else {
                self.tally.misdelivered += 1
                continue
            }
            guard self.tracker.note(marker.sequence, slot: base &+ place &* lanes &+ Int(marker.lane)) != .repeated else { continue }
            received &+= 1
            let sent = marker.sentNanoseconds &- from
            if sent < width {
                receivedInWindow &+= 1
                self.tally.recordDelivery(sent: sent, latency: now &- min(now, marker.sentNanoseconds))
            }
        }
        self.tally.received &+= received
        self.tally.receivedInWindow &+= receivedInWindow
        if now &- from < width {
            self.tally.arrivedInWindow &+= received
            self.tally.readsInWindow &+= 1
            self.tally.bytesInWindow &+= UInt64(count)
        }
        let rest = end - position
        if rest > 0 { tail.update(from: position, count: rest) }
        self.subscribers[index].tailCount = UInt8(truncatingIfNeeded: rest)
    }

    private mutating func readFailed(_ index: Int, _ count: Int) {
        if count < 0, errno == EAGAIN || errno == EINTR { return }
        self.tally.disconnected += 1
        self.tally.count(error: count == 0 ? "subscriber: closed by the server" : "subscriber: \(Self.text(errno))")
        self.closeSubscriber(index)
    }

    // MARK: Head

    private mutating func readHead(_ index: Int) {
        let fresh = self.buffer + Self.headroom
        let count = recv(self.subscribers[index].descriptor, fresh, Self.readBytes, 0)
        let now = Clock.now()
        guard count > 0 else {
            if count < 0, errno == EAGAIN || errno == EINTR { return }
            let reason = count == 0 ? "closed by the server before a response" : Self.text(errno)
            return self.connectFailed(index, "subscribe: \(reason)")
        }
        let (used, progress) = self.heads[index].consume(fresh, count: count)
        guard progress == .head else { return }
        let status = self.heads[index].status
        guard status == (self.settings.transport == .ws ? 101 : 200) || (self.plan.churn > 0 && status == 200) else {
            return self.connectFailed(index, "subscribe: status \(status)")
        }
        // A temporary refusal of an EventSource has status 200 and a length. A stream of events has no length.
        guard self.settings.transport != .sse || !self.heads[index].hasLength else {
            return self.connectFailed(index, "subscribe: refused temporarily")
        }
        self.subscribers[index].state = .streaming
        self.isConnected(index, now: now)
        guard used < count, self.subscribers[index].state == .streaming else { return }
        if self.settings.transport == .ws { self.walk(index, fresh + used, count - used) }
        self.deliver(index, fresh + used, count - used, now)
    }

    // MARK: WebSocket

    @inline(__always)
    private mutating func walk(_ index: Int, _ bytes: UnsafePointer<UInt8>, _ count: Int) {
        var walker = self.walkers[index]
        walker.walk(bytes, count: count) { opcode, piece, ends in self.control(index, opcode, piece, ends) }
        self.walkers[index] = walker
    }

    @inline(never)
    private mutating func control(_ index: Int, _ opcode: UInt8, _ piece: UnsafeBufferPointer<UInt8>, _ ends: Bool) {
        self.pieces[index, default: []].append(contentsOf: piece)
        guard ends, let payload = self.pieces.removeValue(forKey: index) else { return }
        switch opcode {
        case WebSocketWalker.Opcode.ping where payload.count < 126:
            let frame = WebSocketWalker.maskedFrame(opcode: WebSocketWalker.Opcode.pong, payload: payload)
            let descriptor = self.subscribers[index].descriptor
            _ = Socket.send(frame, to: descriptor)
        case WebSocketWalker.Opcode.close:
            let code = payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : 1005
            self.tally.count(error: "websocket: close \(code)")
        default:
            break
        }
    }

    // MARK: Long-poll

    private mutating func readPoll(_ index: Int) {
        let fresh = self.buffer + Self.headroom
        let count = recv(self.subscribers[index].descriptor, fresh, Self.readBytes, 0)
        let now = Clock.now()
        guard count > 0 else {
            if count < 0, errno == EAGAIN || errno == EINTR { return }
            return self.pollEnded(index, now)
        }
        let (used, progress) = self.heads[index].consume(fresh, count: count)
        var total = used
        var last = progress
        if last == .head {
            if self.heads[index].endsAtHead() {
                last = .complete
            } else {
                let (more, next) = self.heads[index].consume(fresh + used, count: count - used)
                total += more
                last = next
            }
        }
        if last == .complete, self.pieces[index] == nil {
            return self.pollDidRespond(index, UnsafeMutableBufferPointer(start: fresh, count: total), now)
        }
        self.pieces[index, default: []].append(contentsOf: UnsafeBufferPointer(start: fresh, count: total))
        if last == .complete { return self.pollDidRespondInPieces(index, now) }
        guard self.pieces[index]!.count <= Self.responseBytesMax else {
            return self.connectFailed(index, "long-poll: a response has more than \(Self.responseBytesMax) bytes")
        }
    }

    private mutating func pollDidRespondInPieces(_ index: Int, _ now: UInt64) {
        guard var response = self.pieces.removeValue(forKey: index) else { return }
        response.withUnsafeMutableBufferPointer { self.pollDidRespond(index, $0, now) }
    }

    private mutating func pollDidRespond(_ index: Int, _ response: UnsafeMutableBufferPointer<UInt8>, _ now: UInt64) {
        let status = self.heads[index].status
        guard [200, 204, 304, 408, 504].contains(status) else { return self.connectFailed(index, "subscribe: status \(status)") }
        if status == 200 {
            self.deliverResponse(index, response, now)
        }
        let closes = self.heads[index].closes
        self.heads[index] = HTTPResponseScanner()
        guard !closes else { return self.scheduleReconnect(index) }
        self.writeSubscribeRequest(index)
        let descriptor = self.subscribers[index].descriptor
        let sent = Socket.send(self.request, to: descriptor)
        if sent != self.request.count { self.scheduleReconnect(index) }
    }

    private mutating func deliverResponse(_ index: Int, _ response: UnsafeMutableBufferPointer<UInt8>, _ now: UInt64) {
        self.deliver(index, response.baseAddress!, response.count, now)
        // The response is complete, so its last bytes are not the beginning of a split marker.
        self.subscribers[index].tailCount = 0
        if let position = PollPosition(response: UnsafeBufferPointer(response)) { self.pollPositions[index] = position }
    }

    /// The server closed the connection: between two responses, at the end of a response without a length, or too early.
    private mutating func pollEnded(_ index: Int, _ now: UInt64) {
        if self.heads[index].endsWithConnection, var response = self.pieces.removeValue(forKey: index) {
            response.withUnsafeMutableBufferPointer { self.deliverResponse(index, $0, now) }
        } else if !self.heads[index].isAtStart {
            self.tally.count(error: "long-poll: closed in the middle of a response")
        }
        self.scheduleReconnect(index)
    }

    private mutating func scheduleReconnect(_ index: Int) {
        self.closeSubscriber(index)
        if self.phase != .finished { self.reconnects.append(index) }
    }
}
