import NIOCore
import Pipeline

/// How an event is stored: the metadata field of its entry in the channel's stream.
///
/// `STORED TIMESTAMP TYPE ID`, where TYPE is `-` or `LENGTH:TYPE` and ID is empty or `=MESSAGE-ID`: `1700000000001 1700000000000 7:comment=m1`. The script that
/// appends the event adds the time by the server's clock. It comes first, because the other scripts read it.
enum RedisEvent {
    /// Everything but the first time.
    static func writeMetadata(of event: SequencedEvent, into buffer: inout ByteBuffer) {
        buffer.writeString("\(event.timestamp) ")
        if let type = event.event.type {
            buffer.writeString("\(type.utf8.count):")
            buffer.writeString(type)
        } else {
            buffer.writeString("-")
        }
        if let messageID = event.event.messageID {
            buffer.writeString("=")
            buffer.writeString(messageID)
        }
    }

    struct Metadata: Equatable {
        /// By the server's clock.
        var storedAt: Int64
        /// By the owner's clock.
        var timestamp: Int64
        var type: String?
        var messageID: String?
    }

    /// Nil for anything that is not written so.
    static func metadata(_ buffer: ByteBuffer) -> Metadata? {
        let bytes = buffer.readableBytesView
        var rest = bytes[...]
        guard let storedAt = Self.time(&rest), let timestamp = Self.time(&rest) else { return nil }
        var metadata = Metadata(storedAt: storedAt, timestamp: timestamp)
        if rest.first == UInt8(ascii: "-") {
            rest = rest.dropFirst()
        } else {
            guard
                let colon = rest.firstIndex(of: UInt8(ascii: ":")), let length = Int(String(decoding: rest[..<colon], as: UTF8.self)), length >= 0,
                length <= rest.distance(from: colon, to: rest.endIndex) - 1
            else { return nil }
            rest = rest[(colon + 1)...]
            metadata.type = String(decoding: rest.prefix(length), as: UTF8.self)
            rest = rest.dropFirst(length)
        }
        if rest.first == UInt8(ascii: "=") {
            metadata.messageID = String(decoding: rest.dropFirst(), as: UTF8.self)
        } else if !rest.isEmpty {
            return nil
        }
        return metadata
    }

    private static func time(_ rest: inout ByteBufferView) -> Int64? {
        guard let space = rest.firstIndex(of: UInt8(ascii: " ")), let time = Int64(String(decoding: rest[..<space], as: UTF8.self)) else { return nil }
        rest = rest[(space + 1)...]
        return time
    }

    static func event(_ channel: ChannelName, id: ByteBuffer, metadata: ByteBuffer, payload: ByteBuffer) -> SequencedEvent? {
        guard let position = Position(String(buffer: id)), let metadata = Self.metadata(metadata) else { return nil }
        return SequencedEvent(
            event: Event(channel: channel, payload: payload, type: metadata.type, messageID: metadata.messageID), position: position,
            timestamp: metadata.timestamp)
    }
}
