import Foundation
import NIOCore

@testable import Pipeline

/// A frame as a client reads it.
enum Decoded: Equatable {
    case event(cursor: String, channel: String?, type: String?, data: [UInt8])
    case gap(cursor: String, channel: String, from: String, to: String, reason: String)
    case opening(cursor: String)
}

/// Reads frames as a client does, but more strictly. The decoder shares no code with the encoder.
enum FrameDecoder {
    struct Malformed: Error { var what: String }

    static func decode(_ buffer: ByteBuffer, _ framing: Framing) throws -> [Decoded] {
        let bytes = Array(buffer.readableBytesView)
        switch framing {
        case .sse: return try self.sse(bytes, envelope: false)
        case .sseEnvelope: return try self.sse(bytes, envelope: true)
        case .sseChunked: return try self.chunks(bytes).flatMap { try self.one(self.sse($0, envelope: false)) }
        case .sseEnvelopeChunked: return try self.chunks(bytes).flatMap { try self.one(self.sse($0, envelope: true)) }
        case .webSocket: return try self.webSocketFrames(bytes).map(self.object)
        case .line: return try self.lines(bytes)
        case .lineChunked: return try self.chunks(bytes).flatMap { try self.one(self.lines($0)) }
        case .element:
            if bytes.isEmpty { return [] }
            guard bytes.last == UInt8(ascii: ",") else { throw Malformed(what: "an element does not end in a comma") }
            let array = try JSONSerialization.jsonObject(with: Data([0x5B] + bytes.dropLast() + [0x5D]))
            return try (array as? [[String: Any]] ?? []).map(self.object)
        }
    }

    /// A chunk holds one frame.
    private static func one(_ decoded: [Decoded]) throws -> [Decoded] {
        guard decoded.count == 1 else { throw Malformed(what: "\(decoded.count) frames in a chunk") }
        return decoded
    }

    static func chunks(_ bytes: [UInt8]) throws -> [[UInt8]] {
        var chunks: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            guard let end = rest.firstIndex(of: 0x0D), rest.dropFirst(end - rest.startIndex + 1).first == 0x0A else { throw Malformed(what: "no size line") }
            let text = String(decoding: rest[..<end], as: UTF8.self)
            guard let size = Int(text, radix: 16), text == String(size, radix: 16), rest.endIndex - end >= size + 4 else {
                throw Malformed(what: "an invalid chunk size: \(text)")
            }
            let data = rest[(end + 2)..<(end + 2 + size)]
            guard Array(rest[(end + 2 + size)..<(end + 4 + size)]) == [0x0D, 0x0A] else { throw Malformed(what: "the size of a chunk is wrong") }
            if size > 0 { chunks.append(Array(data)) }
            rest = rest[(end + 4 + size)...]
        }
        return chunks
    }

    static func webSocketFrames(_ bytes: [UInt8]) throws -> [[UInt8]] {
        var frames: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            guard rest.count >= 2, rest[rest.startIndex] == 0x81 else { throw Malformed(what: "not a whole text frame") }
            let short = Int(rest[rest.startIndex + 1])
            var header = 2
            var length = short
            if short >= 126 {
                header = short == 126 ? 4 : 10
                guard short <= 127, rest.count >= header else { throw Malformed(what: "a frame is masked or truncated") }
                length = rest.dropFirst(2).prefix(header - 2).reduce(0) { $0 << 8 | Int($1) }
                guard short == 126 ? length >= 126 : length >= 65_536 else { throw Malformed(what: "a length that is not minimal") }
            }
            guard rest.count >= header + length else { throw Malformed(what: "cut") }
            frames.append(Array(rest.dropFirst(header).prefix(length)))
            rest = rest.dropFirst(header + length)
        }
        return frames
    }

    private static func lines(_ bytes: [UInt8]) throws -> [Decoded] {
        guard bytes.isEmpty || bytes.last == 0x0A else { throw Malformed(what: "a line does not end") }
        return try bytes.split(separator: 0x0A, omittingEmptySubsequences: false).dropLast().map { try self.object(Array($0)) }
    }

    private static func object(_ bytes: [UInt8]) throws -> Decoded {
        guard !bytes.contains(0x0A), !bytes.contains(0x0D) else { throw Malformed(what: "a raw line break") }
        guard let object = try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any] else { throw Malformed(what: "not a JSON object") }
        return try self.object(object)
    }

    private static func object(_ object: [String: Any]) throws -> Decoded {
        if let cursor = object["cursor"] as? String { return .opening(cursor: cursor) }
        guard let cursor = object["id"] as? String else { throw Malformed(what: "no id") }
        if let gap = object["gap"] as? [String: Any] { return try self.gap(gap, cursor) }
        var data: [UInt8]
        if let base64 = object["data_base64"] as? String {
            guard let decoded = Data(base64Encoded: base64) else { throw Malformed(what: "base64") }
            data = Array(decoded)
        } else if let text = object["data"] as? String {
            data = Array(text.utf8)
        } else {
            guard let value = object["data"] else { throw Malformed(what: "no data") }
            data = Array(try JSONSerialization.data(withJSONObject: value, options: [.fragmentsAllowed, .sortedKeys, .withoutEscapingSlashes]))
        }
        return .event(cursor: cursor, channel: object["channel"] as? String, type: object["type"] as? String, data: data)
    }

    private static func gap(_ gap: [String: Any], _ cursor: String) throws -> Decoded {
        guard let channel = gap["channel"] as? String, let from = gap["from"] as? String, let to = gap["to"] as? String,
            let reason = gap["reason"] as? String, gap.count == 4
        else { throw Malformed(what: "a gap with a missing or unknown field: \(gap)") }
        return .gap(cursor: cursor, channel: channel, from: from, to: to, reason: reason)
    }

    /// The HTML Living Standard's parser, for whole events.
    private static func sse(_ bytes: [UInt8], envelope: Bool) throws -> [Decoded] {
        var lines: [[UInt8]] = [[]]
        var index = 0
        while index < bytes.count {
            if bytes[index] == 0x0D || bytes[index] == 0x0A {
                index += bytes[index] == 0x0D && index + 1 < bytes.count && bytes[index + 1] == 0x0A ? 2 : 1
                lines.append([])
            } else {
                lines[lines.count - 1].append(bytes[index])
                index += 1
            }
        }
        guard lines.removeLast().isEmpty else { throw Malformed(what: "a line does not end") }
        var events: [Decoded] = []
        var id: String?
        var type: String?
        var data: [[UInt8]] = []
        var isInside = false
        for line in lines {
            if line.isEmpty {
                guard let cursor = id else { throw Malformed(what: "an event without an id") }
                events.append(try self.sseEvent(cursor, type, data, envelope))
                (id, type, data, isInside) = (nil, nil, [], false)
                continue
            }
            isInside = true
            let text = String(decoding: line, as: UTF8.self)
            if line.starts(with: "data: ".utf8) {
                data.append(Array(line.dropFirst(6)))
            } else if text.hasPrefix("id: ") {
                id = String(text.dropFirst(4))
            } else if text.hasPrefix("event: ") {
                type = String(text.dropFirst(7))
            } else if !text.hasPrefix("retry: ") {
                throw Malformed(what: "an unknown field: \(text)")
            }
        }
        guard !isInside else { throw Malformed(what: "an event does not end") }
        return events
    }

    private static func sseEvent(_ cursor: String, _ type: String?, _ data: [[UInt8]], _ envelope: Bool) throws -> Decoded {
        if data.isEmpty { return .opening(cursor: cursor) }
        let joined = Array(data.joined(separator: [0x0A]))
        if envelope {
            guard type == nil else { throw Malformed(what: "an envelope in an event with the type \(type!)") }
            let inner = try self.object(joined)
            switch inner {
            case .event(cursor, _, _, _), .gap(cursor, _, _, _, _): return inner
            default: throw Malformed(what: "the envelope is not an event or gap with the cursor of its SSE event")
            }
        }
        if type == "gap" { return try self.gap(JSONSerialization.jsonObject(with: Data(joined)) as? [String: Any] ?? [:], cursor) }
        return .event(cursor: cursor, channel: nil, type: type, data: joined)
    }
}
