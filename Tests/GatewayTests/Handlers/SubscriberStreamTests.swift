import NIOCore
import PipelineTestKit
import Testing

@testable import Gateway
@testable import Pipeline

@Suite(.timeLimit(.minutes(1))) struct SubscriberStreamTests {
    /// Opens an event stream over HTTP/1.0, which has no chunks between the frames.
    private func sse(_ bench: Bench, _ target: String = "/ev/c", after offset: UInt64? = nil, epoch: UInt64 = 1) async throws -> Client {
        let id = offset.map { "Last-Event-ID: \(cursor("c", epoch, $0))\r\n" } ?? ""
        return try await bench.subscribe("GET \(target) HTTP/1.0\r\n\(id)\r\n")
    }

    // MARK: - The opening

    @Test func anEventStreamOpensWithHeadRetryAndCursor() async throws {
        let bench = try await Bench()
        try await bench.publish("c", "1", "2")
        let text = try await self.sse(bench).text
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\nConnection: close\r\n\r\n"
        #expect(text.hasPrefix(head))
        let opening = try #require(text.firstRange(of: "\r\n\r\nretry: ").map { text[$0.upperBound...] })
        let retry = try #require(Int(opening.prefix { $0.isNumber }))
        #expect((1000...2000).contains(retry))
        #expect(opening == "\(retry)\nid: \(cursor("c", 1, 2))\n\n")
    }

    @Test func aLineStreamOpensWithACursor() async throws {
        let client = try await Bench().subscribe("GET /sub/c HTTP/1.1\r\nHost: h\r\n\r\n")
        let line = "{\"cursor\":\"\(cursor("c", 1, 0))\"}\n"
        #expect(try await client.text.hasSuffix("Transfer-Encoding: chunked\r\n\r\n\(String(line.utf8.count, radix: 16))\r\n\(line)\r\n"))
    }

    @Test func aRequestMayBeSplitAtAnyByte() async throws {
        let bench = try await Bench()
        try await bench.publish("c", "1", "2")
        let bytes = Array("GET /ev/c HTTP/1.0\r\nLast-Event-ID: \(cursor("c", 1, 1))\r\n\r\n".utf8)
        for split in 1..<bytes.count {
            let client = try await bench.subscribe()
            try await client.send(bytes: Array(bytes[..<split]))
            try await client.send(bytes: Array(bytes[split...]))
            #expect(try await client.events == ["data: 2"], "split at \(split)")
        }
    }

    // MARK: - Replay and live

    @Test func noEventIsMissingBetweenReplayAndLive() async throws {
        let bench = try await Bench()
        try await bench.publish("c", "1", "2", "3")
        try await bench.run { bench.log.readFaults = [.wait] }
        let client = try await self.sse(bench, after: 1)
        // These events are committed during the read, and the read does not return them.
        try await bench.publish("c", "4", "5")
        #expect(try await client.events == [])
        await bench.log.release()
        try await bench.publish("c", "6")
        #expect(try await client.events == ["data: 2", "data: 3", "data: 4", "data: 5", "data: 6"])
    }

    @Test func aLongReplayIsReadInParts() async throws {
        let bench = try await Bench { $0.replayEventsMax = 2 }
        try await bench.publish("c", "1", "2", "3", "4", "5")
        let client = try await self.sse(bench, after: 0)
        #expect(try await client.events == (1...5).map { "data: \($0)" })
        #expect(try await bench.run { bench.log.reads.count } == 3)
    }

    @Test func oneReadServesAllWaitingSubscribers() async throws {
        let bench = try await Bench()
        try await bench.publish("c", "1", "2", "3")
        try await bench.run { bench.log.readFaults = [.wait] }
        let first = try await self.sse(bench, after: 0)
        let others = [try await self.sse(bench, after: 0), try await self.sse(bench, after: 2)]
        await bench.log.release()
        #expect(try await first.events == ["data: 1", "data: 2", "data: 3"])
        #expect(try await others[0].events == ["data: 1", "data: 2", "data: 3"])
        #expect(try await others[1].events == ["data: 3"])
        #expect(try await bench.run { bench.log.reads.count } == 1)
    }

    @Test func theBacklogIsDeliveredBeforeNewEvents() async throws {
        let bench = try await Bench()
        try await bench.publish("c", "1", "2", "3")
        let client = try await self.sse(bench, "/ev/c.b2")
        try await bench.publish("c", "4")
        #expect(try await client.events == ["data: 2", "data: 3", "data: 4"])
    }

    @Test func eventsAreDeliveredOnlyAfterTheirCommit() async throws {
        let bench = try await Bench()
        let client = try await self.sse(bench)
        try await bench.run { bench.log.appendFaults = [.wait] }
        try await bench.publish("c", "1")
        #expect(try await client.events == [])
        await bench.log.release()
        #expect(try await client.events == ["data: 1"])
    }

    @Test func refusedEventsAreNeverDelivered() async throws {
        let bench = try await Bench()
        let client = try await self.sse(bench)
        try await bench.run { bench.log.appendFaults = [.failing("full")] }
        try await bench.publish("c", "lost", "kept")
        #expect(try await client.events == ["data: kept"])
        #expect(try await client.text.hasSuffix("id: \(cursor("c", 1, 1))\ndata: kept\n\n"))
    }

    @Test func aStreamIgnoresBytesOfItsClient() async throws {
        let bench = try await Bench()
        let client = try await self.sse(bench)
        try await client.send("GET /ev/d HTTP/1.0\r\n\r\n")
        try await bench.publish("c", "1")
        #expect(try await client.statuses == [200])
        #expect(try await client.events == ["data: 1"])
    }

    // MARK: - Gaps

    @Test func expiredEventsAreReportedAsAGap() async throws {
        let bench = try await Bench()
        try await bench.publish("c", "1", "2", "3", "4")
        try await bench.run { bench.log.expire(ChannelName("c")!, upTo: 3) }
        let client = try await self.sse(bench, after: 1)
        #expect(try await client.events == ["event: gap|data: {\"channel\":\"c\",\"from\":\"1-2\",\"to\":\"1-3\",\"reason\":\"expired\"}", "data: 4"])
        #expect(try await client.text.contains("id: \(cursor("c", 1, 3))\nevent: gap\n"))
    }

    @Test func aCursorOfAnotherEpochCausesAReset() async throws {
        let bench = try await Bench()
        try await bench.publish("c", "1")
        let client = try await self.sse(bench, after: 7, epoch: 0)
        #expect(try await client.events == ["event: gap|data: {\"channel\":\"c\",\"from\":\"0-8\",\"to\":\"1-0\",\"reason\":\"reset\"}", "data: 1"])
    }

    @Test func aCursorAfterTheHeadCausesAReset() async throws {
        let bench = try await Bench()
        try await bench.publish("c", "1")
        let client = try await self.sse(bench, after: 9)
        try await bench.publish("c", "2")
        #expect(try await client.events == ["event: gap|data: {\"channel\":\"c\",\"from\":\"1-1\",\"to\":\"1-1\",\"reason\":\"reset\"}", "data: 2"])
    }

    @Test func expiredEventsOfASlowReaderAreAnOverflow() async throws {
        let bench = try await Bench { $0.feedBytesMax = 1 }
        let client = try await self.sse(bench)
        try await client.stall()
        try await bench.publish("c", "1", "2", "3")
        try await bench.run { bench.log.expire(ChannelName("c")!, upTo: 2) }
        try await client.drain()
        #expect(try await client.events == ["event: gap|data: {\"channel\":\"c\",\"from\":\"1-1\",\"to\":\"1-2\",\"reason\":\"overflow\"}", "data: 3"])
    }

    @Test func aSlowReaderGetsAllEventsInHistory() async throws {
        let bench = try await Bench { $0.feedBytesMax = 1 }
        let client = try await self.sse(bench)
        try await client.stall()
        try await bench.publish("c", "1", "2", "3")
        #expect(try await client.events == [])
        try await client.drain()
        #expect(try await client.events == ["data: 1", "data: 2", "data: 3"])
    }
    // MARK: - Preflights

    @Test(arguments: ["/ev/c", "/ws/c", "/lp/c", "/sub/c", "/healthz"])
    func everyPathAcceptsPreflights(_ target: String) async throws {
        let bench = try await Bench(corsOrigins: ["https://site.example"])
        let client = try await bench.subscribe("OPTIONS \(target) HTTP/1.1\r\nHost: h\r\nOrigin: https://site.example\r\n\r\n")
        #expect(try await client.statuses == [204])
        #expect(try await client.text.contains("Access-Control-Allow-Origin: https://site.example\r\n"))
    }
}
