#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What a subscription delivers, the same for every transport.
enum Delivery: Equatable, Sendable {
    /// The node has accepted the subscription.
    case connected
    /// The cursor to resume from, before any event.
    case cursor(String)
    case event(Envelope)
    case gap(Gap)
    /// How long to wait before the next connection.
    case retry(Duration)
    case heartbeat

    /// Nil for an unknown object: a newer node may send other objects.
    init?(json line: some Collection<UInt8>) {
        guard let members = RawJSON.members(line) else { return nil }
        let id = members["id"].flatMap { RawJSON.string($0) }
        if let gap = members["gap"] {
            guard let gap = Gap(json: gap, cursor: id) else { return nil }
            self = .gap(gap)
        } else if let channel = members["channel"].flatMap({ RawJSON.string($0) }) {
            guard let id, let data = Envelope.Payload(members) else { return nil }
            self = .event(Envelope(cursor: id, channel: channel, type: members["type"].flatMap { RawJSON.string($0) }, data: data, line: Array(line)))
        } else if let cursor = members["cursor"].flatMap({ RawJSON.string($0) }) {
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

        init?(_ members: [String: [UInt8]]) {
            if let data = members["data"] {
                self = .json(data)
            } else if let text = members["data_base64"].flatMap({ RawJSON.string($0) }), let data = Data(base64Encoded: text) {
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

    /// The payload for a person: a JSON string without its quotes, anything else as received.
    var text: [UInt8] {
        switch self.data {
        case .bytes(let bytes): bytes
        case .json(let json): RawJSON.string(json).map { Array($0.utf8) } ?? json
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
    /// The inner object, as received.
    var inner: [UInt8]

    init?(json inner: [UInt8], cursor: String?) {
        guard let members = RawJSON.members(inner) else { return nil }
        func word(_ name: String) -> String { members[name].flatMap { RawJSON.string($0) } ?? "?" }
        guard members["channel"] != nil else { return nil }
        self.cursor = cursor
        self.channel = word("channel")
        self.from = word("from")
        self.to = word("to")
        self.reason = word("reason")
        self.inner = inner
    }

    /// In the form of the JSON transports, whichever transport delivered it.
    var line: [UInt8] {
        Array("{\"gap\":".utf8) + self.inner + Array((self.cursor.map { ",\"id\":\(RawJSON.quoted($0))" } ?? "").utf8) + [UInt8(ascii: "}")]
    }
}
