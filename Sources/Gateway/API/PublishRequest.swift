import JSON
import NIOCore
import Pipeline

/// Reads the events that a back end publishes from its request. Pure.
enum PublishRequest {
    /// The type of gap notices on SSE. Events must not have this type, because a subscriber could not distinguish them from gap notices.
    static let gapType = "gap"

    /// `POST /pub?id=CHANNEL[/CHANNEL…]`: the body is the payload.
    static func raw(_ request: Request, limits: Limits) throws(HTTPError) -> [Event] {
        guard let list = try PercentEncoding.value("id", in: request.head.query), !list.isEmpty else {
            throw .badChannel("add the channel to the query: /pub?id=CHANNEL, or /pub?id=CHANNEL/CHANNEL for several")
        }
        guard request.body.readableBytes > 0 else { throw .badBody("the body is empty; send the payload as the body") }
        let type = try Self.type(try Self.header("event-type", request.head))
        let messageID = try Self.messageID(try Self.header("message-id", request.head))
        try Self.checkSize(request.body, limits)
        let payload = Self.copy(request.body)
        guard list.utf8.contains(UInt8(ascii: "/")) else {
            return [Event(channel: try Self.channel(list), payload: payload, type: type, messageID: messageID)]
        }
        var events: [Event] = []
        for name in list.split(separator: "/", omittingEmptySubsequences: false) {
            let channel = try Self.channel(String(name))
            guard !events.contains(where: { $0.channel == channel }) else { throw .badChannel("channel \(channel) occurs more than once; send it once") }
            events.append(Event(channel: channel, payload: payload, type: type, messageID: messageID))
        }
        try Self.checkCount(events.count, limits)
        return events
    }

    /// `{"channel","data","type"?,"idempotency_key"?}`.
    static func publish(_ body: ByteBuffer, limits: Limits) throws(HTTPError) -> Event {
        let fields = try JSONFields(body, names: ["channel", "data", "type", "idempotency_key"])
        let channel = try Self.channel(try fields.required("channel", try fields.string("channel")))
        let (payload, type, messageID) = try Self.content(fields, limits)
        return Event(channel: channel, payload: payload, type: type, messageID: messageID)
    }

    /// `{"channels":[…],"data",…}`.
    static func broadcast(_ body: ByteBuffer, limits: Limits) throws(HTTPError) -> [Event] {
        let fields = try JSONFields(body, names: ["channels", "data", "type", "idempotency_key"])
        let names = try fields.required("channels", try fields.array("channels"))
        guard !names.isEmpty else { throw .badChannel("the field \"channels\" is empty; add at least one channel") }
        try Self.checkCount(names.count, limits)
        let (payload, type, messageID) = try Self.content(fields, limits)
        var events: [Event] = []
        for raw in names {
            let name = raw.withUnsafeReadableBytes { bytes -> String? in
                var scanner = JSONScanner(bytes)
                return scanner.string()
            }
            guard let name else { throw .badBody("the field \"channels\" must be an array of strings") }
            let channel = try Self.channel(name)
            guard !events.contains(where: { $0.channel == channel }) else { throw .badChannel("channel \(channel) occurs more than once; send it once") }
            events.append(Event(channel: channel, payload: payload, type: type, messageID: messageID))
        }
        return events
    }

    private static func content(_ fields: JSONFields, _ limits: Limits) throws(HTTPError) -> (ByteBuffer, String?, String?) {
        let data = try fields.required("data", fields.raw("data"))
        try Self.checkSize(data, limits)
        return (Self.copy(data), try Self.type(try fields.string("type")), try Self.messageID(try fields.string("idempotency_key")))
    }

    // MARK: - Checks

    static func channel(_ name: String) throws(HTTPError) -> ChannelName {
        guard let channel = ChannelName(name) else {
            throw .badChannel(
                "\(name.prefix(40).debugDescription) is not a channel name; use 1 to \(ChannelName.bytesMax) characters of A-Z a-z 0-9 _ . : - ; the name must not end in .b followed by digits"
            )
        }
        return channel
    }

    private static func header(_ name: StaticString, _ head: RequestHead) throws(HTTPError) -> String? {
        guard head.count(name) > 0 else { return nil }
        guard let value = head.utf8Field(name) else { throw .badBody("the header \(name) is not UTF-8") }
        return value
    }

    private static func type(_ type: String?) throws(HTTPError) -> String? {
        guard let type, !type.isEmpty else { return nil }
        guard type.utf8.count <= FixedLimits.eventTypeBytesMax, type.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }), type != Self.gapType else {
            throw .badBody(
                "an event type must be at most \(FixedLimits.eventTypeBytesMax) bytes of UTF-8, without control characters, and must not be \(Self.gapType)")
        }
        return type
    }

    private static func messageID(_ id: String?) throws(HTTPError) -> String? {
        guard let id, !id.isEmpty else { return nil }
        guard id.utf8.count <= FixedLimits.messageIDBytesMax, id.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw .badBody("a message id must have at most \(FixedLimits.messageIDBytesMax) bytes of UTF-8 and no control characters")
        }
        return id
    }

    private static func checkSize(_ payload: ByteBuffer, _ limits: Limits) throws(HTTPError) {
        guard payload.readableBytes <= limits.eventBytesMax else {
            throw .tooLarge("the payload is \(payload.readableBytes) bytes; event-bytes-max is \(limits.eventBytesMax)")
        }
    }

    private static func checkCount(_ count: Int, _ limits: Limits) throws(HTTPError) {
        guard count <= limits.channelsPerConnectionMax else {
            throw .badChannel("more than \(limits.channelsPerConnectionMax) channels (channels-per-connection-max); send several requests")
        }
    }

    /// Copies the payload. A slice would keep the socket's whole read buffer in memory for as long as the event.
    private static func copy(_ bytes: ByteBuffer) -> ByteBuffer {
        var copy = ByteBufferAllocator().buffer(capacity: bytes.readableBytes)
        copy.writeImmutableBuffer(bytes)
        return copy
    }
}
