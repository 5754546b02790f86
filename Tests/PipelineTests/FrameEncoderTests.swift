import Foundation
import NIOCore
import PipelineTestKit
import SubscriberAPI
import TestKit
import Testing

@testable import Pipeline

@Suite struct FrameEncoderTests {
    private func encode(_ framing: Framing, _ event: SequencedEvent, cursor: String) -> ByteBuffer {
        var body = ByteBuffer()
        FrameEncoder.writeBody(framing.body, of: event, into: &body)
        var frame = ByteBuffer()
        FrameEncoder.writeFrame(framing, cursor: ByteBuffer(string: cursor).readableBytesView, body: body.readableBytesView, into: &frame)
        return frame
    }

    /// The payload in the form that the protocol defines for each transport.
    private func expected(_ framing: Framing, _ payload: [UInt8]) -> [UInt8] {
        if framing == .sse || framing == .sseChunked {
            return payload.normalizedLines
        }
        guard let text = String(validating: payload, as: UTF8.self) else { return payload }
        guard !text.hasPrefix("\u{FEFF}"), let value = try? JSONSerialization.jsonObject(with: Data(payload), options: [.fragmentsAllowed]) else {
            return payload
        }
        if let string = value as? String { return Array(string.utf8) }
        return Array((try? JSONSerialization.data(withJSONObject: value, options: [.fragmentsAllowed, .sortedKeys, .withoutEscapingSlashes])) ?? Data())
    }

    static let payloads: [[UInt8]] =
        [
            "{\"a\":1}", "text", "two\nlines", "two\r\nlines", "two\rlines", "\n", "\r", "\r\n", "\n\r", "a\r\r\nb", "end\n", "[1,\n 2,\r\n\t3]", "\"string\"",
            "1", " x",
            "data: x", "\u{0}\u{1}\u{1F}\u{7F}", "\"\\", "é😀", ":", "null", "{\"a\":\"\\n\"}", "x\n\nid: y\n\n",
        ].map { Array($0.utf8) } + [[0xFF], [0x61, 0xC3], [0, 1, 2, 0xFE, 0x0A, 0x41]]

    @Test(arguments: Framing.allCases)
    func everyPayloadIsDecodedUnchanged(_ framing: Framing) throws {
        for payload in Self.payloads {
            for type in [nil, "comment", "a \"b\" é"] {
                let frame = self.encode(framing, sequenced("room:1", position(1, 1), payload, type: type), cursor: "Cursor")
                let decoded = try FrameDecoder.decode(frame, framing)
                let channel = framing == .sse || framing == .sseChunked ? nil : "room:1"
                #expect(decoded == [.event(cursor: "Cursor", channel: channel, type: type, data: self.expected(framing, payload))], "\(payload)")
            }
        }
    }

    @Test(arguments: [1, 2] as [UInt64])
    func randomPayloadsInARowAreDecodedUnchanged(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        for framing in Framing.allCases {
            var buffer = ByteBuffer()
            var expected: [Decoded] = []
            for number in 0..<200 {
                let payload =
                    random.chance(50) ? random.bytes(upTo: 40) + [0x78] : random.mutate(Array(JSONTests.corpus[0].utf8), with: JSONTests.tokens) + [0x21]
                let event = sequenced("c", position(1, UInt64(number + 1)), payload)
                buffer.writeImmutableBuffer(self.encode(framing, event, cursor: "c\(number)"))
                let channel = framing == .sse || framing == .sseChunked ? nil : "c"
                expected.append(.event(cursor: "c\(number)", channel: channel, type: nil, data: self.expected(framing, payload)))
            }
            #expect(try FrameDecoder.decode(buffer, framing) == expected, "seed \(seed), \(framing)")
        }
    }

    /// Payloads with lengths around each length at which a header grows.
    @Test(arguments: Framing.allCases)
    func lengthsAroundTheSizesOfHeaders(_ framing: Framing) throws {
        for length in Array(60...130) + Array(65_440...65_540) where length < 140 || length % 3 == 0 || length > 65_525 {
            let payload = [UInt8](repeating: UInt8(ascii: "x"), count: length)
            let decoded = try FrameDecoder.decode(self.encode(framing, sequenced("c", position(1, 1), payload, type: "t"), cursor: "C"), framing)
            #expect(decoded.count == 1, "\(framing) \(length)")
        }
    }

    @Test(arguments: [(0, 2), (125, 2), (126, 4), (127, 4), (65_535, 4), (65_536, 10), (1 << 20, 10)])
    func webSocketHeaders(_ length: Int, _ header: Int) throws {
        var buffer = ByteBuffer()
        WebSocketFrame.writeHeader(.text, payloadLength: length, into: &buffer)
        #expect(buffer.readableBytes == header)
        buffer.writeBytes([UInt8](repeating: 0x78, count: length))
        #expect(try FrameDecoder.webSocketFrames(Array(buffer.readableBytesView)).map(\.count) == [length])
    }

    @Test func chunkSizes() {
        for size in [1, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 65_535, 65_536, 1 << 24, (1 << 24) - 1] {
            var buffer = ByteBuffer()
            ChunkedCoding.writeSize(size, into: &buffer)
            #expect(String(buffer: buffer) == String(size, radix: 16) + "\r\n")
        }
    }

    @Test(arguments: Framing.allCases)
    func gapsAndOpenings(_ framing: Framing) throws {
        for reason in GapReason.allCases {
            var buffer = ByteBuffer()
            FrameEncoder.writeGap(
                Gap(from: position(1, 18), to: position(2, 40), reason: reason), channel: channel("room:1"), cursor: ByteBuffer(string: "C").readableBytesView,
                framing: framing, into: &buffer)
            #expect(try FrameDecoder.decode(buffer, framing) == [.gap(cursor: "C", channel: "room:1", from: "1-18", to: "2-40", reason: reason.rawValue)])
        }
        var buffer = ByteBuffer()
        FrameEncoder.writeOpening(cursor: "C", framing: framing, retryMilliseconds: 1000, into: &buffer)
        #expect(try FrameDecoder.decode(buffer, framing) == (framing == .element ? [] : [.opening(cursor: "C")]))
    }

    @Test func sseIsAsTheProtocolDefines() {
        let event = sequenced("a", position(1, 1), Array("x\ny".utf8), type: "t")
        #expect(String(buffer: self.encode(.sse, event, cursor: "C")) == "id: C\nevent: t\ndata: x\ndata: y\n\n")
        #expect(
            String(buffer: self.encode(.sseEnvelope, event, cursor: "C"))
                == "id: C\ndata: {\"id\":\"C\",\"channel\":\"a\",\"type\":\"t\",\"data\":\"x\\ny\"}\n\n")
        #expect(String(buffer: self.encode(.line, event, cursor: "C")) == "{\"id\":\"C\",\"channel\":\"a\",\"type\":\"t\",\"data\":\"x\\ny\"}\n")
    }

    /// `onmessage` of a browser receives nothing that has an `event:` line.
    @Test(arguments: [Framing.sseEnvelope, .sseEnvelopeChunked])
    func withTheEnvelopeEveryFrameIsAMessage(_ framing: Framing) {
        var frames = self.encode(framing, sequenced("a", position(1, 1), Array("x".utf8), type: "t"), cursor: "C")
        let gap = Gap(from: position(1, 2), to: position(1, 3), reason: .expired)
        FrameEncoder.writeGap(gap, channel: channel("a"), cursor: ByteBuffer(string: "D").readableBytesView, framing: framing, into: &frames)
        let text = String(buffer: frames)
        #expect(!text.contains("event:"))
        #expect(text.contains("id: D\ndata: {\"gap\":{\"channel\":\"a\",\"from\":\"1-2\",\"to\":\"1-3\",\"reason\":\"expired\"},\"id\":\"D\"}\n\n"))
    }

    @Test(arguments: [(position(1, 10), position(1, 1)), (position(7, 1), position(1, 0)), (position(1, 2), position(1, 2)), (position(1, 2), position(2, 0))])
    func aGapNeverEndsBeforeItBegins(_ from: Position, _ to: Position) {
        let gap = Gap(from: from, to: to, reason: .reset)
        #expect(gap.to == to && gap.from == min(from, to))
    }

    @Test func payloadForms() {
        func form(_ bytes: [UInt8]) -> PayloadForm { PayloadForm(ByteBuffer(bytes: bytes)) }
        #expect(form(Array("{}".utf8)) == .json(hasLineBreaks: false))
        #expect(form(Array("[1,\n2]".utf8)) == .json(hasLineBreaks: true))
        #expect(form(Array("hello".utf8)) == .text)
        #expect(form([]) == .text)
        #expect(form([0x22, 0xC0, 0x22]) == .binary)
        #expect(form([0xED, 0xA0, 0x80]) == .binary)
    }
}

extension [UInt8] {
    /// Replaces CR and CRLF by LF.
    var normalizedLines: [UInt8] {
        var lines: [UInt8] = []
        for (index, byte) in self.enumerated() {
            if byte == 0x0A, index > 0, self[index - 1] == 0x0D { continue }
            lines.append(byte == 0x0D ? 0x0A : byte)
        }
        return lines
    }
}
