import JSON

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// An item that a subscription delivers. All transports deliver the same items.
enum Delivery: Equatable, Sendable {
    /// The node has accepted the subscription.
    case connected
    /// A cursor to resume from, without an event.
    case cursor(String)
    case event(Envelope)
    case gap(Gap)
    /// The minimum wait before the next connection.
    case retry(Duration)
    case heartbeat

    /// Nil for an unknown object, because a newer node may send other objects.
    init?(json line: some Collection<UInt8>) {
        guard var fields = JSONObject(line) else { return nil }
        let id = fields.text("id")
        if let gap = fields.take("gap") {
            guard let gap = Gap(json: gap, cursor: id) else { return nil }
            self = .gap(gap)
        } else if let channel = fields.text("channel") {
            guard let id, let data = Envelope.Payload(&fields) else { return nil }
            self = .event(Envelope(cursor: id, channel: channel, type: fields.text("type"), data: data, line: Array(line)))
        } else if let cursor = fields.text("cursor") {
            self = .cursor(cursor)
        } else {
            return nil
        }
    }
}

struct Envelope: Equatable, Sendable {
    enum Payload: Equatable, Sendable {
        /// JSON text, as received.
        case json([UInt8])
        /// A payload that is not UTF-8.
        case bytes([UInt8])

        init?(_ fields: inout JSONObject) {
            if let data = fields.take("data") {
                self = .json(data.utf8)
            } else if let text = fields.text("data_base64"), let data = Data(base64Encoded: text) {
                self = .bytes(Array(data))
            } else {
                return nil
            }
        }
    }

    /// The cursor after this event.
    var cursor: String
    var channel: String
    var type: String?
    var data: Payload
    /// The envelope, as received.
    var line: [UInt8]

    /// The payload as printed: a JSON string without quotes and escapes, any other payload as received.
    var text: [UInt8] {
        switch self.data {
        case .bytes(let bytes): bytes
        case .json(let json): JSONValue(json)?.string.map { Array($0.utf8) } ?? json
        }
    }
}

struct Gap: Equatable, Sendable {
    /// The cursor after the gap.
    var cursor: String?
    var channel: String
    var from: String
    var to: String
    var reason: String
    /// The value of the field `gap`, as received.
    var inner: String

    init?(json inner: JSONValue, cursor: String?) {
        guard var fields = inner.fields, let channel = fields.take("channel") else { return nil }
        self.cursor = cursor
        self.channel = channel.string ?? "?"
        self.from = fields.text("from") ?? "?"
        self.to = fields.text("to") ?? "?"
        self.reason = fields.text("reason") ?? "?"
        self.inner = inner.text
    }

    /// The gap as JSON. The form is the same for all transports.
    var line: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.name("gap")
            writer.raw(self.inner)
            if let cursor { writer.field("id", cursor) }
        }
        return writer.bytes
    }
}
