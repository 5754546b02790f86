import NIOCore
import TestKit
import Testing

@testable import Gateway

@Suite struct WebSocketTests {
    static func frame(_ first: UInt8, _ payload: [UInt8], masked: Bool = true, mask: [UInt8] = [1, 2, 3, 4]) -> [UInt8] {
        var bytes: [UInt8] = [first]
        let bit: UInt8 = masked ? 0x80 : 0
        switch payload.count {
        case ..<126: bytes.append(bit | UInt8(payload.count))
        case ..<65_536: bytes += [bit | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default: bytes += [bit | 127, 0, 0, 0, 0] + (0..<4).map { UInt8(truncatingIfNeeded: payload.count >> (24 - 8 * $0)) }
        }
        guard masked else { return bytes + payload }
        return bytes + mask + payload.enumerated().map { $1 ^ mask[$0 & 3] }
    }

    /// All steps until a close or the end of the bytes.
    static func steps(_ pieces: [[UInt8]], messageBytesMax: Int = 1000) -> [WebSocketParser.Step] {
        var parser = WebSocketParser(messageBytesMax: messageBytesMax)
        var steps: [WebSocketParser.Step] = []
        for piece in pieces {
            parser.feed(ByteBuffer(bytes: piece))
            while true {
                let step = parser.next()
                if step == .needMore { break }
                steps.append(step)
                if case .close = step { return steps }
            }
        }
        return steps
    }

    private func steps(_ bytes: [UInt8], messageBytesMax: Int = 1000) -> [WebSocketParser.Step] { Self.steps([bytes], messageBytesMax: messageBytesMax) }

    static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    static let streams: [([UInt8], [WebSocketParser.Step])] = [
        (frame(0x81, bytes("hi")) + frame(0x82, [0xFF]) + frame(0x8A, []), [.message, .message, .pong]),
        // The fragments split a message inside a character. A ping arrives between two fragments.
        (
            frame(0x01, [0xC3]) + frame(0x89, bytes("p")) + frame(0x00, [0xA9]) + frame(0x80, []) + frame(0x88, [0x03, 0xE8]),
            [.ping(ByteBuffer(string: "p")), .message, .close(code: 1000)]
        ),
        (
            frame(0x81, [UInt8](repeating: 0x61, count: 1000)) + frame(0x89, [UInt8](repeating: 0, count: 125)),
            [.message, .ping(ByteBuffer(repeating: 0, count: 125))]
        ),
    ]

    @Test(arguments: [1, 2, 3] as [UInt64])
    func splitFramesAreReadLikeWholeFrames(seed: UInt64) {
        var random = SplitMix(seed: seed)
        for (bytes, expected) in Self.streams {
            #expect(Self.steps([bytes]) == expected)
            #expect(Self.steps(bytes.map { [$0] }) == expected)
            for _ in 0..<100 { #expect(Self.steps(random.pieces(bytes)) == expected, "seed \(seed)") }
        }
    }

    @Test(
        arguments: [
            (frame(0x81, [0x61], masked: false), 1002), (frame(0xC1, []), 1002), (frame(0xA1, []), 1002), (frame(0x91, []), 1002), (frame(0x83, []), 1002),
            (frame(0x8B, []), 1002), (frame(0x80, []), 1002), (frame(0x00, []), 1002), (frame(0x01, []) + frame(0x81, []), 1002),
            (frame(0x09, []), 1002), (frame(0x08, []), 1002), (frame(0x89, [UInt8](repeating: 0, count: 126)), 1002), (frame(0x81, [0xFF]), 1007),
            (frame(0x81, [0xED, 0xA0, 0x80]), 1007), (frame(0x01, [0xC3]) + frame(0x80, [0x28]), 1007), (frame(0x81, [0xC3]), 1007),
            (frame(0x82, [UInt8](repeating: 0, count: 1001)), 1009),
            (frame(0x02, [UInt8](repeating: 0, count: 600)) + frame(0x80, [UInt8](repeating: 0, count: 600)), 1009),
            ([0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002), ([0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0], 1009),
            ([0x82, 0xFE, 0, 0x7D, 0, 0, 0, 0], 1002), ([0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0], 1002),
            ([0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002), ([0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], 1009),
            (frame(0x88, []), 1000), (frame(0x88, [0x03]), 1002), (frame(0x88, [0x03, 0xE9] + bytes("bye")), 1001), (frame(0x88, [0x03, 0xE8, 0xFF]), 1007),
            (frame(0x88, [0x0F, 0xA0]), 4000), (frame(0x88, [0x03, 0xED]), 1002), (frame(0x88, [0x03, 0xEE]), 1002), (frame(0x88, [0x03, 0xEC]), 1002),
            (frame(0x88, [0x03, 0xF7]), 1002), (frame(0x88, [0, 0]), 1002), (frame(0x88, [0x07, 0xD0]), 1002), (frame(0x88, [0x13, 0x88]), 1002),
        ] as [([UInt8], UInt16)])
    func invalidFramesAndCloseFramesGetACloseCode(_ bytes: [UInt8], _ code: UInt16) {
        #expect(self.steps(bytes).last == .close(code: code))
        #expect(Self.steps(bytes.map { [$0] }).last == .close(code: code))
    }

    /// No read ends at the end of a frame.
    @Test func theInputBufferStaysSmall() {
        var parser = WebSocketParser(messageBytesMax: 100_000)
        let frame = Self.frame(0x82, [UInt8](repeating: 7, count: 10_000))
        let piece = ByteBuffer(bytes: frame[5...] + frame[..<5])
        parser.feed(ByteBuffer(bytes: frame[..<5]))
        var messages = 0
        var capacity = 0
        for _ in 0..<500 {
            parser.feed(piece)
            while parser.next() == .message { messages += 1 }
            capacity = max(capacity, parser.inputCapacity)
        }
        #expect(messages == 500)
        #expect(capacity <= 128 * 1024)
    }

    /// If the fragments had a second reference, each new fragment would copy all previous fragments.
    @Test func fragmentsAreNotCopiedForEveryNewFragment() {
        let count = 20_000
        var parser = WebSocketParser(messageBytesMax: count)
        var moves = 0
        var address: UnsafeRawPointer?
        for number in 0..<count {
            parser.feed(ByteBuffer(bytes: Self.frame(number == 0 ? 0x02 : 0x00, [7])))
            #expect(parser.next() == .needMore)
            if parser.fragmentsAddress != address { moves += 1 }
            address = parser.fragmentsAddress
        }
        #expect(moves < 40)
        parser.feed(ByteBuffer(bytes: Self.frame(0x80, [])))
        #expect(parser.next() == .message)
    }

    @Test func acceptKeyOfTheRFCExample() {
        #expect(WebSocketHandshake.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    }

    @Test func aRefusedHandshakeGets426() throws {
        let head = try head("/ws/a")
        do throws(HTTPError) {
            _ = try WebSocketHandshake.response(to: head)
            Issue.record("not refused")
        } catch {
            var answer = ByteBuffer()
            ResponseWriter.write(error, keepAlive: false, into: &answer)
            let lines = String(buffer: answer).split(separator: "\r\n")
            #expect(lines[0] == "HTTP/1.1 426 Upgrade Required" && lines.contains("Upgrade: websocket"))
            #expect(lines.filter { $0.hasPrefix("Connection:") } == ["Connection: Upgrade, close"])
        }
    }

    @Test(
        arguments: [
            (["Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], nil),
            (["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], "426 upgrade_required"),
            (["Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], "426 upgrade_required"),
            (["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], "426 upgrade_required"),
            (["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"], "400 bad_request"),
            (["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short=="], "400 bad_request"),
            (["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=*"], "400 bad_request"),
        ] as [([String], String?)])
    func invalidHandshakesAreRefused(_ fields: [String], _ expected: String?) throws {
        let head = try head("/ws/a", fields)
        var response = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        #expect(failure { response = try WebSocketHandshake.response(to: head) } == expected)
        #expect(response.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
        let old = try HeadParser.parse(ByteBuffer(string: "GET /ws/a HTTP/1.0\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n"))
        #expect(failure { _ = try WebSocketHandshake.response(to: old) } == "426 upgrade_required")
    }
}
