import JSON
import NIOCore
import Pipeline
import SubscriberAPI

/// `POST /api/history`.
struct HistoryQuery: Sendable {
    private let channel: ChannelName
    private let limit: Int
    private let since: Position?
    private let isReversed: Bool

    init(_ body: ByteBuffer) throws(HTTPError) {
        let fields = try JSONFields(body, names: ["channel", "limit", "since", "reverse"])
        self.channel = try PublishRequest.channel(try fields.required("channel", try fields.string("channel")))
        self.limit = try fields.integer("limit", in: 0...FixedLimits.historyRequestEventsMax) ?? 10
        self.isReversed = try fields.boolean("reverse") ?? false
        if let since = try fields.string("since") {
            guard let position = Position(since) ?? Cursor(since)?.position(of: self.channel) else {
                throw .badCursor("the field \"since\" must be a position (EPOCH-OFFSET) or a cursor of this channel")
            }
            self.since = position
        } else {
            self.since = nil
        }
    }

    func run(_ channels: any ChannelDirectory) async throws(HTTPError) -> ByteBuffer {
        do throws(LogError) {
            return try await self.response(try await channels.head(of: self.channel), channels)
        } catch {
            throw .unavailable(error.message)
        }
    }

    func response(_ head: Position, _ channels: any ChannelDirectory) async throws(LogError) -> ByteBuffer {
        guard self.limit > 0 else { return self.body(head, Stretch(), gap: nil) }
        guard let since else { return self.body(head, try await self.newest(head, channels), gap: nil) }
        let isLost = since.epoch != head.epoch || since.offset > head.offset
        let from = isLost ? (since < head ? Position(epoch: head.epoch, offset: 0) : head) : since
        let found = try await self.next(after: from, head, channels)
        return self.body(head, found, gap: Self.gap(head, found.events, since, isLost: isLost))
    }

    // MARK: - Reading

    /// Consecutive events, oldest first.
    private struct Stretch {
        var events: [SequencedEvent] = []
        /// More events are available, but ``FixedLimits/historyResponseBytesMax`` excluded them.
        var isTruncated = false
    }

    private func next(after position: Position, _ head: Position, _ channels: any ChannelDirectory) async throws(LogError) -> Stretch {
        guard position != head else { return Stretch() }
        let events = try await channels.history(of: self.channel, after: position, limit: self.limit, bytesMax: FixedLimits.historyResponseBytesMax).events
        return Stretch(events: events, isTruncated: events.count < self.limit && (events.last.map { $0.position < head } ?? false))
    }

    /// An owner reads forwards and stops at the byte limit, so a single read could exclude the newest events. This function therefore reads slices backwards from
    /// the head, and keeps a slice only if the whole slice fits.
    private func newest(_ head: Position, _ channels: any ChannelDirectory) async throws(LogError) -> Stretch {
        let end = head.offset - min(head.offset, UInt64(self.limit))
        var slices: [[SequencedEvent]] = []
        var bytesLeft = FixedLimits.historyResponseBytesMax
        var upper = head.offset
        var count: UInt64 = 1024
        var isShrinking = false
        while upper > end {
            let lower = upper - min(upper - end, count)
            let found = try await channels.history(
                of: self.channel, after: Position(epoch: head.epoch, offset: lower), limit: Int(upper - lower), bytesMax: bytesLeft)
            // During the reads, old events may expire and new events may be published.
            let events = found.events.prefix { $0.position.epoch == head.epoch && $0.position.offset <= upper }
            guard let first = events.first?.position.offset, let last = events.last?.position.offset else { break }
            let bytes = events.reduce(0) { $0 + $1.event.payload.readableBytes }
            guard last == upper, bytes <= bytesLeft || (slices.isEmpty && events.count == 1) else {
                if upper - lower == 1 { return Stretch(events: Array(slices.reversed().joined()), isTruncated: true) }
                // Each read is half as long as the one before, so a few reads find the oldest event that the response still has space for.
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

    // MARK: - Response

    private func body(_ head: Position, _ found: Stretch, gap: Gap?) -> ByteBuffer {
        var writer = JSONWriter(ByteBuffer())
        writer.object { writer in
            writer.name("result")
            writer.object { writer in
                writer.field("epoch", head.epoch)
                writer.field("offset", head.offset)
                writer.name("cursor")
                // The cursor is the position of the newest listed event, not of the head. So a subscription from this cursor also gets the newer events
                // that the limit excluded.
                writer.plainString { Cursor.write(self.channel, found.events.last?.position ?? head, into: &$0) }
                if let gap { Self.write(gap, to: &writer) }
                if found.isTruncated { writer.field("truncated", true) }
                writer.name("publications")
                writer.array { writer in
                    for event in self.isReversed ? found.events.reversed() : found.events { Self.write(event, to: &writer) }
                }
            }
        }
        return writer.sink
    }

    private static func write(_ gap: Gap, to writer: inout JSONWriter<ByteBuffer>) {
        writer.name("gap")
        writer.object { writer in
            writer.field("from", "\(gap.from)")
            writer.field("to", "\(gap.to)")
            writer.field("reason", gap.reason.rawValue)
        }
    }

    private static func write(_ event: SequencedEvent, to writer: inout JSONWriter<ByteBuffer>) {
        writer.object { writer in
            writer.name("id")
            writer.plainString { $0.writePosition(event.position) }
            writer.field("offset", event.position.offset)
            if let type = event.event.type { writer.field("type", type) }
            let form = PayloadForm(event.event.payload)
            writer.name(form.fieldName)
            writer.value { FrameEncoder.writePayload(event.event.payload, form, into: &$0) }
        }
    }

    /// Only the response to a request with `since` can have a gap.
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

    init(_ body: ByteBuffer) throws(HTTPError) {
        let fields = try JSONFields(body.readableBytes == 0 ? ByteBuffer(string: "{}") : body, names: ["prefix", "after", "limit"])
        self.prefix = try fields.string("prefix") ?? ""
        self.after = try fields.string("after")
        self.limit = try fields.integer("limit", in: 1...FixedLimits.listedChannelsMax) ?? 1000
    }

    func run(_ channels: any ChannelDirectory) async throws(HTTPError) -> ByteBuffer {
        let found: [ListedChannel]
        do throws(LogError) {
            found = try await channels.channels(prefix: self.prefix, after: self.after, limit: self.limit + 1)
        } catch {
            throw .unavailable(error.message)
        }
        var writer = JSONWriter(ByteBuffer())
        writer.object { writer in
            writer.name("result")
            writer.object { writer in
                writer.name("channels")
                writer.object { writer in
                    for listed in found.prefix(self.limit) {
                        writer.name(listed.channel.string)
                        writer.object { writer in
                            writer.field("subscribers", max(0, listed.subscribers))
                            writer.field("epoch", listed.head.epoch)
                            writer.field("offset", listed.head.offset)
                        }
                    }
                }
                if found.count > self.limit { writer.field("next", found[self.limit - 1].channel.string) }
            }
        }
        return writer.sink
    }
}

/// `POST /api/presence_stats`.
struct PresenceQuery: Sendable {
    private let channel: ChannelName

    init(_ body: ByteBuffer) throws(HTTPError) {
        let fields = try JSONFields(body, names: ["channel"])
        self.channel = try PublishRequest.channel(try fields.required("channel", try fields.string("channel")))
    }

    func run(_ channels: any ChannelDirectory) async throws(HTTPError) -> ByteBuffer {
        let subscribers: Int
        do throws(LogError) {
            subscribers = try await channels.subscribers(of: self.channel)
        } catch {
            throw .unavailable(error.message)
        }
        var writer = JSONWriter(ByteBuffer())
        writer.object { writer in
            writer.name("result")
            writer.object { $0.field("subscribers", max(0, subscribers)) }
        }
        return writer.sink
    }
}
