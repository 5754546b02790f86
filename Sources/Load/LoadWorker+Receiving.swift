import Glibc
import Histogram

extension LoadWorker {
    /// An answer that comes in pieces is kept up to this size.
    static let answerBytesMax = 16 << 20

    /// Handles one event of a subscriber and returns the time it read the clock for that.
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

    // MARK: The hot way

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

    /// Finds and counts the events in what was read. No call in here allocates, unless the server loses or repeats.
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
        var news: UInt64 = 0
        var newsInWindow: UInt64 = 0
        while let marker = self.scanner.next(&position, end) {
            var place = Int(marker.channel) &- first
            if place < 0 { place &+= channels }
            guard UInt(bitPattern: place) < UInt(own), Int(marker.lane) < lanes else {
                self.tally.misdelivered += 1
                continue
            }
            guard self.tracker.note(marker.sequence, slot: base &+ place &* lanes &+ Int(marker.lane)) != .repeated else { continue }
            news &+= 1
            if marker.sentNanoseconds &- from < width {
                newsInWindow &+= 1
                _ = self.tally.delivery.record(min(now &- min(now, marker.sentNanoseconds), WorkerTally.nanosecondsMax))
            }
        }
        self.tally.received &+= news
        self.tally.receivedInWindow &+= newsInWindow
        if now &- from < width {
            self.tally.arrivedInWindow &+= news
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
        self.tally.note(error: count == 0 ? "subscriber: closed by the server" : "subscriber: \(Self.sentence(errno))")
        self.closeSubscriber(index)
    }

    // MARK: Head

    private mutating func readHead(_ index: Int) {
        let fresh = self.buffer + Self.headroom
        let count = recv(self.subscribers[index].descriptor, fresh, Self.readBytes, 0)
        let now = Clock.now()
        guard count > 0 else {
            if count < 0, errno == EAGAIN || errno == EINTR { return }
            let why = count == 0 ? "closed by the server before an answer" : Self.sentence(errno)
            return self.connectFailed(index, "subscribe: \(why)")
        }
        let (used, progress) = self.heads[index].consume(fresh, count: count)
        guard progress == .head else { return }
        let status = self.heads[index].status
        guard status == (self.settings.transport == .ws ? 101 : 200) || (self.plan.churn > 0 && status == 200) else {
            return self.connectFailed(index, "subscribe: status \(status)")
        }
        // A refusal that keeps an EventSource alive: a stream has no length.
        guard self.settings.transport != .sse || !self.heads[index].hasLength else {
            return self.connectFailed(index, "subscribe: asked to come back later")
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
            self.tally.note(error: "websocket: close \(code)")
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
            return self.pollAnswered(index, UnsafeMutableBufferPointer(start: fresh, count: total), now)
        }
        self.pieces[index, default: []].append(contentsOf: UnsafeBufferPointer(start: fresh, count: total))
        if last == .complete { return self.pollAnsweredInPieces(index, now) }
        guard self.pieces[index]!.count <= Self.answerBytesMax else {
            return self.connectFailed(index, "long-poll: an answer over \(Self.answerBytesMax) bytes")
        }
    }

    private mutating func pollAnsweredInPieces(_ index: Int, _ now: UInt64) {
        guard var answer = self.pieces.removeValue(forKey: index) else { return }
        answer.withUnsafeMutableBufferPointer { self.pollAnswered(index, $0, now) }
    }

    private mutating func pollAnswered(_ index: Int, _ answer: UnsafeMutableBufferPointer<UInt8>, _ now: UInt64) {
        let status = self.heads[index].status
        guard [200, 204, 304, 408, 504].contains(status) else { return self.connectFailed(index, "subscribe: status \(status)") }
        if status == 200 {
            self.deliverAnswer(index, answer, now)
        }
        let closes = self.heads[index].closes
        self.heads[index] = HTTPResponseScanner()
        guard !closes else { return self.setAside(index) }
        self.writeSubscribeRequest(index)
        let descriptor = self.subscribers[index].descriptor
        let sent = Socket.send(self.request, to: descriptor)
        if sent != self.request.count { self.setAside(index) }
    }

    private mutating func deliverAnswer(_ index: Int, _ answer: UnsafeMutableBufferPointer<UInt8>, _ now: UInt64) {
        self.deliver(index, answer.baseAddress!, answer.count, now)
        // An answer is whole: what might look like the beginning of a marker at its end is none.
        self.subscribers[index].tailCount = 0
        if let position = PollPosition(answer: UnsafeBufferPointer(answer)) { self.pollPositions[index] = position }
    }

    /// The server closed. Between two answers it may; an answer without a length ends that way.
    private mutating func pollEnded(_ index: Int, _ now: UInt64) {
        if self.heads[index].endsWithConnection, var answer = self.pieces.removeValue(forKey: index) {
            answer.withUnsafeMutableBufferPointer { self.deliverAnswer(index, $0, now) }
        } else if !self.heads[index].isAtStart {
            self.tally.note(error: "long-poll: closed in the midst of an answer")
        }
        self.setAside(index)
    }

    private mutating func setAside(_ index: Int) {
        self.closeSubscriber(index)
        if self.phase != .finished { self.reconnects.append(index) }
    }
}
