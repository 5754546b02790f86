import NIOCore
import Pipeline

/// How an event is stored: the metadata field of its entry in the channel's stream.
///
/// `MILLISECONDS TYPE ID`, where TYPE is `-` or `LENGTH:TYPE` and ID is empty or `=MESSAGE-ID`: `1700000000000 7:comment=m1`. The time comes first, because the
/// scripts read it.
enum RedisEvent {
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
        var timestamp: Int64
        var type: String?
        var messageID: String?
    }

    /// Nil for anything that ``writeMetadata(of:into:)`` does not write.
    static func metadata(_ buffer: ByteBuffer) -> Metadata? {
        let bytes = buffer.readableBytesView
        guard let space = bytes.firstIndex(of: UInt8(ascii: " ")), let timestamp = Int64(String(decoding: bytes[..<space], as: UTF8.self)) else { return nil }
        var metadata = Metadata(timestamp: timestamp)
        var rest = bytes[(space + 1)...]
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

    static func event(_ channel: ChannelName, id: ByteBuffer, metadata: ByteBuffer, payload: ByteBuffer) -> SequencedEvent? {
        guard let position = Position(String(buffer: id)), let metadata = Self.metadata(metadata) else { return nil }
        return SequencedEvent(
            event: Event(channel: channel, payload: payload, type: metadata.type, messageID: metadata.messageID), position: position,
            timestamp: metadata.timestamp)
    }
}
