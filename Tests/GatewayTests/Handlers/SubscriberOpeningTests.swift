import NIOCore
import PipelineTestKit
import Testing

@testable import Gateway
@testable import Pipeline

/// Subscribers of a channel whose head does not become known in time.
@Suite(.timeLimit(.minutes(1))) struct SubscriberOpeningTests {
    private func bench(events: Int = 0, _ change: (inout Limits) -> Void = { _ in }) async throws -> Bench {
        let bench = try await Bench(change)
        let channel = ChannelName("c")!
        try await bench.run { [events] in
            bench.log.known = [channel: ChannelHead(head: Position(epoch: 1, offset: UInt64(events)))]
            bench.log.headFaults = [.wait]
        }
        return bench
    }

    @Test func anEventStreamBeginsWithoutACursor() async throws {
        let bench = try await self.bench(events: 2)
        let client = try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")
        await bench.pass(seconds: 1)
        #expect(try await client.text == "")
        await bench.pass(seconds: 1)
        #expect(try await client.statuses == [200])
        let opening = String(decoding: try await client.body, as: UTF8.self)
        #expect(opening.hasPrefix("retry: ") && opening.hasSuffix("\n\n") && !opening.contains("id:"))
        await bench.log.release()
        #expect(String(decoding: try await client.body, as: UTF8.self) == opening + "id: \(cursor("c", 1, 2))\n\n")
        try await bench.publish("c", "7")
        #expect(String(decoding: try await client.body, as: UTF8.self).hasSuffix("id: \(cursor("c", 1, 3))\ndata: 7\n\n"))
        #expect(try await client.statuses == [200])
    }

    @Test func heartbeatsFlowBeforeTheHeadIsKnown() async throws {
        let bench = try await self.bench { $0.heartbeatSeconds = 4 }
        let client = try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")
        await bench.pass(seconds: 10)
        let body = String(decoding: try await client.body, as: UTF8.self)
        #expect(body.hasSuffix("\n\n:\n\n:\n\n"))
        try await client.disappear()
        await bench.log.release()
        #expect(try await bench.counts() == .init())
    }

    /// A browser that reconnects now sends the `id` of this stream.
    @Test func anEventStreamThatResumesRepeatsItsCursorAndThenContinues() async throws {
        let bench = try await Bench()
        try await bench.publish("c", "1", "2")
        // The channel is opened again, at a sequencer that does not know it.
        let other = try await self.bench(events: 2)
        let id = cursor("c", 1, 1)
        let client = try await other.subscribe("GET /ev/c HTTP/1.0\r\nLast-Event-ID: \(id)\r\n\r\n")
        await other.pass(seconds: 2)
        let opening = String(decoding: try await client.body, as: UTF8.self)
        #expect(opening.hasSuffix("\nid: \(id)\n\n"))
        await other.log.release()
        // The opening cursor, and then the gap: this log has no events.
        #expect(String(decoding: try await client.body, as: UTF8.self).hasPrefix(opening + "id: \(id)\n\n"))
    }

    @Test func aLineStreamBeginsAndGetsItsCursorLater() async throws {
        let bench = try await self.bench()
        let client = try await bench.subscribe("GET /sub/c HTTP/1.0\r\n\r\n")
        await bench.pass(seconds: 2)
        #expect(try await client.statuses == [200])
        #expect(try await client.body == [])
        await bench.log.release()
        #expect(try await client.body == Array("{\"cursor\":\"\(cursor("c", 1, 0))\"}\n".utf8))
    }

    @Test func aWebSocketBeginsAndGetsItsCursorLater() async throws {
        let bench = try await self.bench()
        let client = try await bench.subscribe(
            "GET /ws/c HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await bench.pass(seconds: 2)
        #expect(try await client.statuses == [101])
        #expect(try await client.body == [])
        await bench.log.release()
        let opening = Array("{\"cursor\":\"\(cursor("c", 1, 0))\"}".utf8)
        #expect(try await client.body == [0x81, UInt8(opening.count)] + opening)
    }

    @Test func aPollEndsWithTheCursorThatItCameWith() async throws {
        let bench = try await self.bench(events: 5) { $0.heartbeatSeconds = 4 }
        let client = try await bench.subscribe("GET /lp/c?since=\(cursor("c", 1, 3)) HTTP/1.1\r\nHost: h\r\n\r\n")
        await bench.pass(seconds: 3)
        #expect(try await client.text == "")
        await bench.pass(seconds: 1)
        #expect(try await client.text.hasSuffix("\r\n\r\n{\"events\":[],\"cursor\":\"\(cursor("c", 1, 3))\"}"))
        #expect(try await !client.isOutputClosed)
        await bench.log.release()
        #expect(try await client.statuses == [200])
    }

    @Test func aPollWithoutACursorIsRefusedAtItsEnd() async throws {
        let bench = try await self.bench(events: 5) { $0.heartbeatSeconds = 4 }
        let client = try await bench.subscribe("GET /lp/c HTTP/1.1\r\nHost: h\r\n\r\n")
        await bench.pass(seconds: 4)
        #expect(try await client.statuses == [503])
        #expect(try await client.text.contains("Retry-After: 1\r\n"))
        await bench.log.release()
        #expect(try await client.statuses == [503])
    }

    @Test func aHeadThatIsKnownLateDoesNotLengthenAPoll() async throws {
        let bench = try await self.bench(events: 5) { $0.heartbeatSeconds = 4 }
        let client = try await bench.subscribe("GET /lp/c HTTP/1.1\r\nHost: h\r\n\r\n")
        await bench.pass(seconds: 3)
        await bench.log.release()
        #expect(try await client.text == "")
        await bench.pass(seconds: 1)
        #expect(try await client.text.hasSuffix("{\"events\":[],\"cursor\":\"\(cursor("c", 1, 5))\"}"))
    }

    @Test func aStoppingNodeEndsAStreamWithoutACursor() async throws {
        let bench = try await self.bench()
        let client = try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")
        await bench.pass(seconds: 2)
        try await bench.stop()
        #expect(try await client.isOutputClosed)
        await bench.log.release()
        #expect(try await bench.counts().subscribers == 0)
    }
}
