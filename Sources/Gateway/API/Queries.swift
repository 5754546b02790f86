import JSON
import NIOCore
import Pipeline

/// `POST /api/history`.
struct HistoryQuery: Sendable {
    /// Payload bytes of one answer, if that is more than one event.
    private static let bytesMax = 4 * 1024 * 1024

    private let channel: ChannelName
    private let limit: Int
    private let since: Position?
    private let isReversed: Bool

    init(_ body: ByteBuffer) throws(HTTPFailure) {
        let fields = try JSONFields(body, names: ["channel", "limit", "since", "reverse"])
        self.channel = try PublishRequest.channel(try fields.required("channel", try fields.string("channel")))
        self.limit = try fields.integer("limit", in: 0...1_000_000) ?? 10
        self.isReversed = try fields.boolean("reverse") ?? false
        if let since = try fields.string("since") {
            guard let position = Position(since) ?? Cursor(since)?.position(of: self.channel) else {
                throw .badCursor("since is a position, EPOCH-OFFSET, or a cursor of this channel")
            }
            self.since = position
        } else {
            self.since = nil
        }
    }

    func run(_ channels: ChannelReader) async throws(HTTPFailure) -> ByteBuffer {
        do throws(LogError) {
            return try await self.answer(try await channels.sequencers.head(of: self.channel), channels.log)
        } catch {
            throw .unavailable(error.message)
        }
    }

    func answer(_ head: Position, _ log: any Log) async throws(LogError) -> ByteBuffer {
        guard self.limit > 0 else { return self.body(head, Stretch(), gap: nil) }
        guard let since else { return self.body(head, try await self.newest(head, log), gap: nil) }
        let isLost = since.epoch != head.epoch || since.offset > head.offset
        let from = isLost ? (since < head ? Position(epoch: head.epoch, offset: 0) : head) : since
        let found = try await self.next(after: from, head, log)
        return self.body(head, found, gap: Self.gap(head, found.events, since, isLost: isLost))
    }

    // MARK: - Reading

    /// Events that follow each other, oldest first.
    private struct Stretch {
        var events: [SequencedEvent] = []
        /// ``bytesMax`` ended it.
        var isTruncated = false
    }

    private func next(after position: Position, _ head: Position, _ log: any Log) async throws(LogError) -> Stretch {
        guard position != head else { return Stretch() }
        let events = try await log.read(self.channel, after: position, limit: self.limit, bytesMax: Self.bytesMax).events
        return Stretch(events: events, isTruncated: events.count < self.limit && (events.last.map { $0.position < head } ?? false))
    }

    /// A log reads forwards and what it leaves out is the newest, so this goes backwards from the head in slices, each of which fits whole.
    private func newest(_ head: Position, _ log: any Log) async throws(LogError) -> Stretch {
        let end = head.offset - min(head.offset, UInt64(self.limit))
        var slices: [[SequencedEvent]] = []
        var bytesLeft = Self.bytesMax
        var upper = head.offset
        var count: UInt64 = 1024
        var isShrinking = false
        while upper > end {
            let lower = upper - min(upper - end, count)
            let found = try await log.read(
                self.channel, after: Position(epoch: head.epoch, offset: lower), limit: Int(upper - lower), bytesMax: bytesLeft)
            // While this reads, history's end expires and its head grows.
            let events = found.events.prefix { $0.position.epoch == head.epoch && $0.position.offset <= upper }
            guard let first = events.first?.position.offset, let last = events.last?.position.offset else { break }
            let bytes = events.reduce(0) { $0 + $1.event.payload.readableBytes }
            guard last == upper, bytes <= bytesLeft || (slices.isEmpty && events.count == 1) else {
                if upper - lower == 1 { return Stretch(events: Array(slices.reversed().joined()), isTruncated: true) }
                // Halves, so that the last event that fits is found in a few reads whatever the sizes are.
                count = (upper - lower) / 2
                isShrinking = true
                continue
            }
            slices.append(Array(events))
            bytesLeft = max(0, bytesLeft - bytes)
            upper = first - 1
            if first > lower + 1 { break }
            if !isShrinking { count *= 2 }
        }
        return Stretch(events: Array(slices.reversed().joined()))
    }

    // MARK: - Answer

    private func body(_ head: Position, _ found: Stretch, gap: Gap?) -> ByteBuffer {
        var body = ByteBuffer()
        body.writeStaticString("{\"result\":{\"epoch\":")
        body.writeDecimal(head.epoch)
        body.writeStaticString(",\"offset\":")
        body.writeDecimal(head.offset)
        body.writeStaticString(",\"cursor\":\"")
        // After the newest event listed, not after the head: a subscription from it must also get what the limit left out.
        Cursor.write(self.channel, found.events.last?.position ?? head, into: &body)
        body.writeStaticString("\"")
        if let gap {
            body.writeString(",\"gap\":{\"from\":\"\(gap.from)\",\"to\":\"\(gap.to)\",\"reason\":\"\(gap.reason.rawValue)\"}")
        }
        if found.isTruncated { body.writeStaticString(",\"truncated\":true") }
        body.writeStaticString(",\"publications\":[")
        for (number, event) in (self.isReversed ? found.events.reversed() : found.events).enumerated() {
            body.writeStaticString(number > 0 ? ",{\"id\":\"" : "{\"id\":\"")
            body.writePosition(event.position)
            body.writeStaticString("\",\"offset\":")
            body.writeDecimal(event.position.offset)
            if let type = event.event.type {
                body.writeStaticString(",\"type\":")
                body.writeJSONString(type)
            }
            FrameEncoder.writePayload(event.event.payload, into: &body)
            body.writeStaticString("}")
        }
        body.writeStaticString("]}}")
        return body
    }

    /// Only one who asked from a position can miss something.
    private static func gap(_ head: Position, _ events: [SequencedEvent], _ start: Position, isLost: Bool) -> Gap? {
        guard start != head else { return nil }
        let first = events.first?.position.offset ?? head.offset + 1
        if isLost { return Gap(from: start.next, to: Position(epoch: head.epoch, offset: start < head ? first - 1 : head.offset), reason: .reset) }
        guard first > start.offset + 1 else { return nil }
        return Gap(from: start.next, to: Position(epoch: head.epoch, offset: first - 1), reason: .expired)
    }
}

/// `POST /api/channels`.
struct ChannelsQuery: Sendable {
    private let prefix: String
    private let after: String?
    private let limit: Int

    init(_ body: ByteBuffer) throws(HTTPFailure) {
        let fields = try JSONFields(body.readableBytes == 0 ? ByteBuffer(string: "{}") : body, names: ["prefix", "after", "limit"])
        self.prefix = try fields.string("prefix") ?? ""
        self.after = try fields.string("after")
        self.limit = try fields.integer("limit", in: 1...10_000) ?? 1000
    }

    func run(_ channels: ChannelReader) async throws(HTTPFailure) -> ByteBuffer {
        let found = await channels.sequencers.channels(prefix: self.prefix, after: self.after, limit: self.limit + 1)
        var body = ByteBuffer()
        body.writeStaticString("{\"result\":{\"channels\":{")
        for (number, entry) in found.prefix(self.limit).enumerated() {
            body.writeString(
                "\(number > 0 ? "," : "")\"\(entry.channel)\":{\"subscribers\":\(max(0, entry.subscribers)),\"epoch\":\(entry.head.epoch),\"offset\":\(entry.head.offset)}"
            )
        }
        body.writeStaticString("}")
        if found.count > self.limit { body.writeString(",\"next\":\"\(found[self.limit - 1].channel)\"") }
        body.writeStaticString("}}")
        return body
    }
}

/// `POST /api/presence_stats`.
struct PresenceQuery: Sendable {
    private let channel: ChannelName

    init(_ body: ByteBuffer) throws(HTTPFailure) {
        let fields = try JSONFields(body, names: ["channel"])
        self.channel = try PublishRequest.channel(try fields.required("channel", try fields.string("channel")))
    }

    func run(_ channels: ChannelReader) async throws(HTTPFailure) -> ByteBuffer {
        let subscribers = await channels.sequencers.subscribers(of: self.channel)
        return ByteBuffer(string: "{\"result\":{\"subscribers\":\(max(0, subscribers))}}")
    }
}
