import NIOCore
import Pipeline

/// `POST /api/history`.
struct HistoryQuery: Sendable {
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
            guard let position = Position(since) else { throw .badCursor("since is a position, EPOCH-OFFSET") }
            self.since = position
        } else {
            self.since = nil
        }
    }

    func run(_ inspector: NodeInspector) async throws(HTTPFailure) -> ByteBuffer {
        let head = await inspector.sequencer.head(of: self.channel)
        let start = self.since ?? Position(epoch: head.epoch, offset: head.offset - min(head.offset, UInt64(self.limit)))
        let isLost = start.epoch != head.epoch || start.offset > head.offset
        let from = isLost ? (start < head ? Position(epoch: head.epoch, offset: 0) : head) : start
        var slice = LogSlice(events: [], oldest: nil)
        if self.limit > 0, from != head {
            do throws(LogError) {
                slice = try await inspector.log.read(self.channel, after: from, limit: self.limit, bytesMax: 4 * 1024 * 1024)
            } catch {
                throw .unavailable(error.message)
            }
        }
        return self.answer(head, slice, start, isLost: isLost)
    }

    private func answer(_ head: Position, _ slice: LogSlice, _ start: Position, isLost: Bool) -> ByteBuffer {
        var body = ByteBuffer()
        body.writeStaticString("{\"result\":{\"epoch\":")
        body.writeDecimal(head.epoch)
        body.writeStaticString(",\"offset\":")
        body.writeDecimal(head.offset)
        if self.limit > 0, let gap = self.gap(head, slice, start, isLost: isLost) {
            body.writeString(",\"gap\":{\"from\":\"\(gap.from)\",\"to\":\"\(gap.to)\",\"reason\":\"\(gap.reason.rawValue)\"}")
        }
        body.writeStaticString(",\"publications\":[")
        for (number, event) in (self.isReversed ? slice.events.reversed() : slice.events).enumerated() {
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
    private func gap(_ head: Position, _ slice: LogSlice, _ start: Position, isLost: Bool) -> Gap? {
        guard self.since != nil, start != head else { return nil }
        let first = slice.events.first?.position.offset ?? head.offset + 1
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

    func run(_ inspector: NodeInspector) async throws(HTTPFailure) -> ByteBuffer {
        let found = await inspector.sequencer.channels(prefix: self.prefix, after: self.after, limit: self.limit + 1)
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

    func run(_ inspector: NodeInspector) async throws(HTTPFailure) -> ByteBuffer {
        let subscribers = await inspector.sequencer.subscribers(of: self.channel)
        return ByteBuffer(string: "{\"result\":{\"subscribers\":\(max(0, subscribers))}}")
    }
}
