import NIOCore
import Testing

@testable import Gateway
@testable import Pipeline

@Suite(.timeLimit(.minutes(1))) struct SubscriberWebSocketTests {
    private static let handshake =
        "GET /ws/c HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

    private func open(_ bench: Bench, fields: String = "", then frames: [UInt8] = []) async throws -> Client {
        let client = try await bench.subscribe()
        try await client.send(bytes: Array((Self.handshake + fields + "\r\n").utf8) + frames)
        return client
    }

    private static func text(_ text: String) -> [UInt8] { [0x81, UInt8(text.utf8.count)] + Array(text.utf8) }

    private static let opening = text("{\"cursor\":\"\(cursor("c", 1, 0))\"}")

    @Test func aWebSocketOpensWithHandshakeAndCursor() async throws {
        let client = try await self.open(Bench())
        let head = String(decoding: try await client.bytes.dropLast(Self.opening.count), as: UTF8.self)
        #expect(head.hasPrefix("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"))
        #expect(head.hasSuffix("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"))
        #expect(try await client.body == Self.opening)
    }

    @Test func anEventIsOneTextFrame() async throws {
        let bench = try await Bench()
        let client = try await self.open(bench)
        try await bench.publish("c", "7")
        #expect(try await client.body == Self.opening + Self.text("{\"id\":\"\(cursor("c", 1, 1))\",\"channel\":\"c\",\"data\":7}"))
    }

    @Test(arguments: [
        ([0x03, 0xE8] as [UInt8], [0x03, 0xE8] as [UInt8]), ([], [0x03, 0xE8]), ([0x03, 0xE9, 0x62, 0x79, 0x65], [0x03, 0xE9]), ([0x03, 0xED], [0x03, 0xEA]),
    ])
    func aCloseFrameGetsACloseFrame(_ payload: [UInt8], _ answer: [UInt8]) async throws {
        let bench = try await Bench()
        let client = try await self.open(bench)
        try await client.send(bytes: WebSocketTests.frame(0x88, payload))
        #expect(try await client.body == Self.opening + [0x88, 2] + answer)
        #expect(try await client.isOutputClosed)
        #expect(try await bench.counts() == .init(connections: 1))
        try await client.endInput()
        #expect(try await bench.counts() == .init())
    }

    @Test func noFrameIsSentAfterAClose() async throws {
        let bench = try await Bench()
        let client = try await self.open(bench)
        try await client.send(bytes: WebSocketTests.frame(0x88, [0x03, 0xE8]) + WebSocketTests.frame(0x89, [1]))
        try await client.send(bytes: WebSocketTests.frame(0x88, [0x03, 0xE8]))
        try await bench.publish("c", "7")
        #expect(try await client.body == Self.opening + [0x88, 2, 0x03, 0xE8])
    }

    @Test func aClientThatDoesNotCloseAfterACloseFrameIsClosed() async throws {
        let bench = try await Bench()
        let client = try await self.open(bench)
        try await client.send(bytes: WebSocketTests.frame(0x88, []))
        await bench.pass(seconds: 2)
        #expect(try await client.isClosed)
        #expect(try await bench.counts() == .init())
    }

    @Test(arguments: [
        (WebSocketTests.frame(0x81, [1], masked: false), [0x03, 0xEA] as [UInt8]), (WebSocketTests.frame(0x81, [0xFF]), [0x03, 0xEF]),
        (WebSocketTests.frame(0x82, Array(repeating: 0, count: 101)), [0x03, 0xF1]),
    ])
    func anInvalidFrameGetsACloseCode(_ frame: [UInt8], _ code: [UInt8]) async throws {
        let bench = try await Bench { $0.clientMessageBytesMax = 100 }
        let client = try await self.open(bench)
        try await client.send(bytes: frame)
        #expect(try await client.body == Self.opening + [0x88, 2] + code)
        #expect(try await client.isOutputClosed)
    }

    @Test func aPingGetsAPongWithTheSameContent() async throws {
        let client = try await self.open(Bench())
        try await client.send(bytes: WebSocketTests.frame(0x89, [7, 8]) + WebSocketTests.frame(0x81, [0x61]))
        #expect(try await client.body == Self.opening + [0x8A, 2, 7, 8])
    }

    @Test func framesMayArriveWithTheHandshake() async throws {
        let client = try await self.open(Bench(), then: WebSocketTests.frame(0x89, [7]))
        #expect(try await client.body == Self.opening + [0x8A, 1, 7])
    }

    @Test func aClientThatDoesNotReadGetsNoPongs() async throws {
        let client = try await self.open(Bench())
        try await client.stall()
        for _ in 0..<100 { try await client.send(bytes: WebSocketTests.frame(0x89, [7])) }
        try await client.drain()
        #expect(try await client.body == Self.opening)
    }

    // MARK: - Heartbeats

    @Test func twoMissedPongsCloseTheConnection() async throws {
        let bench = try await Bench { $0.heartbeatSeconds = 3 }
        let client = try await self.open(bench)
        await bench.pass(seconds: 6)
        #expect(try await client.body == Self.opening + [0x89, 0, 0x89, 0])
        await bench.pass(seconds: 3)
        #expect(try await client.body == Self.opening + [0x89, 0, 0x89, 0, 0x88, 2, 0x03, 0xE9])
        #expect(try await client.isOutputClosed)
    }

    @Test func pongsKeepTheConnectionOpen() async throws {
        let bench = try await Bench { $0.heartbeatSeconds = 3 }
        let client = try await self.open(bench)
        for _ in 0..<10 {
            await bench.pass(seconds: 3)
            try await client.send(bytes: WebSocketTests.frame(0x8A, []))
        }
        #expect(try await client.body == Self.opening + Array(repeating: [0x89, 0], count: 10).flatMap { $0 })
    }

    // MARK: - The end

    @Test func aStoppingNodeSendsCloseCode1012() async throws {
        let bench = try await Bench()
        let client = try await self.open(bench)
        try await bench.stop()
        #expect(try await client.body == Self.opening + [0x88, 2, 0x03, 0xF4])
        #expect(try await client.isOutputClosed)
    }

    @Test func aPageOfAnotherOriginIsRefused() async throws {
        let bench = try await Bench()
        let client = try await self.open(bench, fields: "Origin: http://elsewhere\r\n")
        #expect(try await client.statuses == [403])
        #expect(try await self.open(bench, fields: "Origin: https://h\r\n").statuses == [101])
    }
}
