import NIOCore
import NIOEmbedded
import NIOPosix
import PipelineTestKit
import SubscriberAPI
import TestKit
import Testing

@testable import Pipeline

/// A simulated owner with its log. The random walk controls it. Confined to the loop.
private final class World: ChannelOwner, @unchecked Sendable {
    struct Story {
        var head = Position(epoch: 1, offset: 0)
        /// The oldest stored offset of the current epoch. If none is stored, the offset after the head.
        var oldest: UInt64 = 1
        var isWanted = false
    }

    struct Reading {
        var channel: ChannelName
        var position: Position
        var limit: Int
        var continuation: CheckedContinuation<LogSlice, Never>
    }

    var stories: [ChannelName: Story] = [:]
    /// Messages on their way to the fanout, in order.
    var messages: [EdgeMessage] = []
    var readings: [Reading] = []

    func interest(_ changes: [InterestChange], edge: EdgeID) {
        for change in changes {
            if change.wanted == .close { self.stories[change.channel]!.isWanted = false }
            guard change.wanted == .open else { continue }
            self.stories[change.channel]!.isWanted = true
            self.messages.append(.opened(change.channel, head: self.stories[change.channel]!.head, ownerEpoch: 1))
        }
    }

    nonisolated func barrier(_ channel: ChannelName) async {}

    func history(of channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice {
        await withCheckedContinuation { self.readings.append(Reading(channel: channel, position: position, limit: limit, continuation: $0)) }
    }

    func publish(_ batch: PublishBatch) {}

    func complete(_ reading: Reading) {
        let story = self.stories[reading.channel]!
        let after = reading.position.epoch == story.head.epoch ? reading.position.offset : 0
        let first = max(story.oldest, after + 1)
        let events =
            first <= story.head.offset && reading.position < story.head
            ? run(reading.channel.string, story.head.epoch, first...min(story.head.offset, first + UInt64(reading.limit) - 1)) : []
        let oldest = story.oldest <= story.head.offset ? position(story.head.epoch, story.oldest) : nil
        reading.continuation.resume(returning: LogSlice(events: events, oldest: oldest))
    }
}

/// A connection whose socket accepts some bytes, and is then full or breaks.
private final class Client: ChannelDuplexHandler, SubscriberConnection, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer

    final class Inner: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
    }

    let fanout: Fanout
    let framing: Framing
    let requests: [(channel: ChannelName, start: SubscribeStart)]
    let channel = EmbeddedChannel()
    var subscriber: Subscriber!
    /// Bytes that the socket still accepts.
    var capacity = Int.max
    var breaks = false
    var wroteWhenFull = false
    var output = ByteBuffer()
    var openingCursor: String?
    var pollResponse: (elements: ByteBuffer, cursor: String)?

    init(fanout: Fanout, framing: Framing, requests: [(channel: ChannelName, start: SubscribeStart)]) throws {
        self.fanout = fanout
        self.framing = framing
        self.requests = requests
        let inner = Inner()
        try self.channel.pipeline.syncOperations.addHandlers([self, inner])
        let context = try self.channel.pipeline.syncOperations.context(handler: inner)
        self.subscriber = Subscriber(framing: framing, context: context, connection: self)
    }

    func subscribe() { self.fanout.onLoop { $0.subscribe(self.subscriber, to: self.requests) } }

    func close() { self.fanout.onLoop { $0.unsubscribe(self.subscriber) } }

    func subscriberOpened(cursor: String) { self.openingCursor = cursor }

    func pollCompleted(elements: ByteBuffer, cursor: String) { self.pollResponse = (elements, cursor) }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let bytes = Self.unwrapOutboundIn(data)
        if !self.channel.isWritable { self.wroteWhenFull = true }
        self.output.writeImmutableBuffer(bytes)
        self.capacity -= min(self.capacity, bytes.readableBytes)
        if self.capacity == 0 { self.channel.isWritable = false }
        if self.breaks { self.close() }
    }

    func flush(context: ChannelHandlerContext) {}

    func drain(capacity: Int) {
        self.capacity = capacity
        guard !self.channel.isWritable else { return }
        self.channel.isWritable = true
        self.fanout.onLoop { $0.writable(self.subscriber) }
    }
}

/// One random walk. Confined to its loop.
private final class FanoutWalk: @unchecked Sendable {
    let seed: UInt64
    var random: SplitMix
    let world = World()
    let fanout: Fanout
    var clients: [Client] = []
    var checkers: [ObjectIdentifier: [ChannelName: HistoryChecker]] = [:]
    var problems: [String] = []
    var counts = (events: 0, gaps: 0, polls: 0, blocked: 0, readings: 0)
    var clientsMax = 14
    static let channels = (0..<4).map { channel("c\($0)") }

    init(loop: any EventLoop, seed: UInt64) {
        self.seed = seed
        self.random = SplitMix(seed: seed)
        var limits = Limits()
        limits.feedBytesMax = 8000
        limits.replayEventsMax = 5
        limits.subscriberBufferedBytesMax = 2048
        limits.passSubscribersMax = 3
        limits.feedSecondsMax = 2
        self.fanout = Fanout(loop: loop, id: .loop(0), router: Router([self.world]), limits: limits)
        for name in Self.channels { self.world.stories[name] = World.Story() }
    }

    func step() {
        switch self.random.below(20) {
        case 0..<3: self.attach()
        case 3: if let client = self.clients.randomElement(using: &self.random) { self.drop(client) }
        case 4..<9: self.publish()
        case 9..<13: self.deliver()
        case 13..<16: self.answerReading()
        case 16..<18:
            guard let client = self.clients.randomElement(using: &self.random) else { break }
            client.drain(capacity: self.random.chance(40) ? .max : 1 + self.random.below(600))
        case 18: self.expire()
        default: if self.random.chance(30) { self.fanout.onLoop { $0.tick() } }
        }
        self.check()
    }

    private func attach() {
        guard self.clients.count < self.clientsMax else { return }
        let names = Self.channels.shuffled(using: &self.random).prefix(self.random.chance(50) ? 1 : 1 + self.random.below(4))
        let requests = names.map { name -> (channel: ChannelName, start: SubscribeStart) in
            let head = self.world.stories[name]!.head
            switch self.random.below(8) {
            case 0..<2: return (name, .live)
            case 2: return (name, .backlog(self.random.below(20)))
            case 3: return (name, .after(position(head.epoch, head.offset + self.random.number(bits: 3))))
            case 4: return (name, .after(position(head.epoch + UInt64(self.random.below(3)) - 1, self.random.number(bits: 6))))
            default: return (name, .after(position(head.epoch, head.offset - min(head.offset, UInt64(self.random.below(25))))))
            }
        }
        guard let client = try? Client(fanout: self.fanout, framing: Framing.allCases.randomElement(using: &self.random)!, requests: Array(requests)) else {
            return
        }
        if self.random.chance(50) { client.capacity = 1 + self.random.below(800) }
        if self.random.chance(3) { client.breaks = true }
        self.clients.append(client)
        client.subscribe()
    }

    private func drop(_ client: Client) {
        client.close()
        self.forget(client)
    }

    private func forget(_ client: Client) {
        self.clients.removeAll { $0 === client }
        self.checkers[ObjectIdentifier(client)] = nil
    }

    private func publish() {
        var events: [SequencedEvent] = []
        for _ in 0...self.random.below(4) {
            let name = Self.channels.randomElement(using: &self.random)!
            if self.random.chance(2), !events.contains(where: { $0.event.channel == name }) {
                // Between two commits, this channel loses its continuity and all of its history.
                self.world.stories[name]!.head = position(self.world.stories[name]!.head.epoch + 1, 0)
                self.world.stories[name]!.oldest = 1
            }
            let next = self.world.stories[name]!.head.next
            self.world.stories[name]!.head = next
            events += run(name.string, next.epoch, next.offset...next.offset).filter { _ in self.world.stories[name]!.isWanted }
        }
        // If this message is lost, events are missing in the feed, and the fanout must read them from the log.
        if !events.isEmpty, !self.random.chance(4) { self.world.messages.append(.events(RelayedEvents(events, under: 1))) }
    }

    private func deliver() {
        guard !self.world.messages.isEmpty else { return }
        let count = 1 + self.random.below(self.world.messages.count)
        let messages = Array(self.world.messages.prefix(count))
        self.world.messages.removeFirst(count)
        self.fanout.relay(messages)
    }

    private func answerReading() {
        guard !self.world.readings.isEmpty else { return }
        self.counts.readings += 1
        self.world.complete(self.world.readings.remove(at: self.random.below(self.world.readings.count)))
    }

    private func expire() {
        let name = Self.channels.randomElement(using: &self.random)!
        let story = self.world.stories[name]!
        self.world.stories[name]!.oldest = min(story.head.offset + 1, story.oldest + UInt64(self.random.below(12)))
    }

    // MARK: - Checking

    private func check() {
        for client in self.clients { self.check(client) }
        for client in self.clients where client.subscriber.isClosed { self.forget(client) }
    }

    private func check(_ client: Client) {
        let id = ObjectIdentifier(client)
        if client.wroteWhenFull { self.problem("wrote into a full socket", client) }
        if !client.channel.isWritable { self.counts.blocked += 1 }
        if let cursor = client.openingCursor {
            client.openingCursor = nil
            self.opened(client, cursor)
        }
        if let response = client.pollResponse {
            client.output = response.elements
            self.counts.polls += 1
        }
        guard self.checkers[id] != nil else {
            if client.output.readableBytes > 0 { self.problem("wrote before it was open", client) }
            return
        }
        do {
            for item in try FrameDecoder.decode(client.output, client.framing) { self.take(item, client) }
        } catch {
            self.problem("\(error)", client)
        }
        client.output.clear()
        if let response = client.pollResponse { self.checkCursor(response.cursor, client) }
        for (name, checker) in self.checkers[id] ?? [:] where !checker.problems.isEmpty {
            self.problem("\(name): \(checker.problems), \(self.world.stories[name]!)", client)
        }
    }

    private func opened(_ client: Client, _ text: String) {
        guard let cursor = Cursor(text) else { return self.problem("the opening is not a cursor: \(text)", client) }
        for (name, start) in client.requests {
            guard let begin = cursor.position(of: name) else { return self.problem("\(name) is not in the cursor", client) }
            if case .after(let requested) = start, requested != begin { self.problem("the opening cursor is \(begin), but \(requested) was requested", client) }
            if case .live = start, begin > self.world.stories[name]!.head { self.problem("the opening cursor is after the head", client) }
            self.checkers[ObjectIdentifier(client), default: [:]][name] = HistoryChecker(start: begin)
        }
    }

    private func take(_ item: Decoded, _ client: Client) {
        let id = ObjectIdentifier(client)
        let name: ChannelName
        let next: HistoryChecker.Item
        let cursor: String
        switch item {
        case .opening: return self.problem("a second opening", client)
        case .event(let text, let named, _, let data):
            // The data has this form: `{"at":"c0 1-7"}`.
            let parts = String(decoding: data, as: UTF8.self).dropFirst(7).dropLast(2).split(separator: " ")
            guard parts.count == 2, let found = ChannelName(String(parts[0])), let at = Position(parts[1]), named ?? found.string == found.string else {
                return self.problem("unexpected data: \(data)", client)
            }
            (name, next, cursor) = (found, .event(at), text)
            self.counts.events += 1
        case .gap(let text, let named, let from, let to, let reason):
            guard let found = ChannelName(named), let from = Position(from), let to = Position(to), let reason = GapReason(rawValue: reason) else {
                return self.problem("\(item)", client)
            }
            (name, next, cursor) = (found, .gap(from: from, to: to, reason), text)
            self.counts.gaps += 1
        }
        guard self.checkers[id]?[name] != nil else { return self.problem("\(name) was not requested", client) }
        let story = self.world.stories[name]!
        self.checkers[id]![name]!.take(next, head: story.head, oldest: story.oldest)
        self.checkCursor(cursor, client)
    }

    /// A cursor has exactly the delivered position of every channel.
    private func checkCursor(_ text: String, _ client: Client) {
        guard let cursor = Cursor(text) else { return self.problem("not a cursor: \(text)", client) }
        for (name, checker) in self.checkers[ObjectIdentifier(client)] ?? [:] where cursor.position(of: name) != checker.position {
            self.problem("the cursor has \(name) at \(cursor.position(of: name) as Position?), but \(checker.position) was delivered", client)
        }
    }

    private func problem(_ text: String, _ client: Client) {
        if self.problems.count < 10 { self.problems.append("\(text) [\(client.framing), \(client.requests)]") }
    }

    // MARK: - The end

    /// Delivers everything. Returns true when all subscriptions are at their heads.
    func settle() -> Bool {
        if !self.world.messages.isEmpty { self.deliver() }
        while !self.world.readings.isEmpty { self.answerReading() }
        for client in self.clients {
            client.breaks = false
            client.drain(capacity: .max)
        }
        self.check()
        return self.world.messages.isEmpty
            && self.clients.allSatisfy { client in
                self.checkers[ObjectIdentifier(client)] != nil
                    && (client.framing == .element
                        || self.checkers[ObjectIdentifier(client)]!.allSatisfy { name, checker in
                            checker.position == self.world.stories[name]!.head
                        })
            }
    }

    func joinDuringAPass() {
        self.clientsMax += 3
        while !self.world.messages.isEmpty { self.deliver() }
        self.publishEverywhere()
        while !self.world.messages.isEmpty { self.deliver() }
        for _ in 0..<self.random.below(4) { self.attach() }
        self.check()
    }

    /// Publishes one more event to every channel, so that a feed that missed a lost message detects it.
    func publishEverywhere() {
        for name in Self.channels {
            let next = self.world.stories[name]!.head.next
            self.world.stories[name]!.head = next
            if self.world.stories[name]!.isWanted {
                self.world.messages.append(.events(RelayedEvents(run(name.string, next.epoch, next.offset...next.offset), under: 1)))
            }
        }
    }

    func finish() {
        for client in self.clients {
            for (name, checker) in self.checkers[ObjectIdentifier(client)] ?? [:] where client.framing != .element {
                var checker = checker
                checker.finish(head: self.world.stories[name]!.head)
                if !checker.problems.isEmpty { self.problem("\(name): \(checker.problems)", client) }
            }
        }
        for client in self.clients { client.close() }
        let metrics = self.fanout.onLoop { $0.currentMetrics }
        if metrics.subscribersOpened != metrics.subscribersClosed || metrics.subscriptionsOpened != metrics.subscriptionsClosed {
            self.problems.append("\(metrics)")
        }
        while let reading = self.world.readings.popLast() { self.world.complete(reading) }
    }
}

@Suite struct FanoutTests {
    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func walk(seed: UInt64) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let walk = try await loop.submit { FanoutWalk(loop: loop, seed: seed) }.get()
        for step in 0..<2500 {
            let problems = try await loop.submit {
                walk.step()
                return walk.problems
            }.get()
            guard problems.isEmpty else {
                Issue.record("seed \(seed), step \(step): \(problems.joined(separator: "\n"))")
                break
            }
        }
        try await loop.submit { walk.publishEverywhere() }.get()
        // New subscribers join while passes over the last events are running. No later event would repair a delivery that such a pass misses.
        for _ in 0..<20 {
            try await loop.submit { walk.joinDuringAPass() }.get()
        }
        var isSettled = false
        for _ in 0..<3000 where !isSettled {
            isSettled = try await loop.submit { walk.settle() }.get()
            // A pass continues after a short delay, a read continues in its own task.
            if !isSettled { try await Task.sleep(for: .microseconds(300)) }
        }
        let (problems, counts) = try await loop.submit {
            walk.finish()
            return (walk.problems, walk.counts)
        }.get()
        #expect(problems.isEmpty, "seed \(seed): \(problems.joined(separator: "\n"))")
        #expect(counts.events > 500 && counts.gaps > 5 && counts.polls > 5 && counts.blocked > 20 && counts.readings > 20, "seed \(seed): \(counts)")
    }

    // MARK: - The checker

    private static let good: [HistoryChecker.Item] = [
        .event(position(1, 4)), .event(position(1, 5)), .gap(from: position(1, 6), to: position(1, 8), .expired), .event(position(1, 9)),
        .event(position(1, 10)),
    ]

    private func problems(_ items: [HistoryChecker.Item]) -> [String] {
        var checker = HistoryChecker(start: position(1, 3))
        for item in items { checker.take(item, head: position(1, 10), oldest: 9) }
        checker.finish(head: position(1, 10))
        return checker.problems
    }

    @Test func theCheckerAcceptsCorrectDeliveries() {
        #expect(self.problems(Self.good) == [])
        var reset = HistoryChecker(start: position(1, 3))
        reset.take(.gap(from: position(1, 4), to: position(2, 4), .reset), head: position(2, 6), oldest: 5)
        reset.take(.event(position(2, 5)), head: position(2, 6), oldest: 5)
        #expect(reset.problems == [])
    }

    @Test func theCheckerFindsEveryViolation() {
        for index in Self.good.indices {
            var lost = Self.good
            lost.remove(at: index)
            #expect(!self.problems(lost).isEmpty, "lost \(index)")
            var repeated = Self.good
            repeated.insert(repeated[index], at: index)
            #expect(!self.problems(repeated).isEmpty, "repeated \(index)")
            guard index > 0 else { continue }
            var swapped = Self.good
            swapped.swapAt(index, index - 1)
            #expect(!self.problems(swapped).isEmpty, "swapped \(index)")
        }
        for gap in [
            HistoryChecker.Item.gap(from: position(1, 6), to: position(1, 7), .expired), .gap(from: position(1, 6), to: position(1, 9), .expired),
            .gap(from: position(1, 7), to: position(1, 8), .expired), .gap(from: position(1, 5), to: position(1, 8), .overflow),
            .gap(from: position(1, 6), to: position(1, 8), .reset),
        ] {
            var wrong = Self.good
            wrong[2] = gap
            #expect(!self.problems(wrong).isEmpty, "\(gap)")
        }
    }
}
