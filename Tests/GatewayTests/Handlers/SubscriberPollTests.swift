import NIOCore
import NIOEmbedded
import PipelineTestKit
import Testing

@testable import Gateway
@testable import Pipeline

@Suite(.timeLimit(.minutes(1))) struct SubscriberPollTests {
    private func request(after offset: UInt64? = nil, version: String = "1.1") -> String {
        "GET /lp/c\(offset.map { "?since=\(cursor("c", 1, $0))" } ?? "") HTTP/\(version)\r\nHost: h\r\n\r\n"
    }

    private func answer(_ payloads: [(offset: UInt64, data: String)], at offset: UInt64) -> String {
        let elements = payloads.map { "{\"id\":\"\(cursor("c", 1, $0.offset))\",\"channel\":\"c\",\"data\":\($0.data)}" }
        return "{\"events\":[\(elements.joined(separator: ","))],\"cursor\":\"\(cursor("c", 1, offset))\"}"
    }

    @Test func anEventCompletesThePoll() async throws {
        let bench = try await Bench()
        let client = try await bench.subscribe(self.request())
        #expect(try await client.text == "")
        try await bench.publish("c", "7")
        #expect(try await client.statuses == [200])
        #expect(try await client.text.hasSuffix("\r\n\r\n" + self.answer([(1, "7")], at: 1)))
        #expect(try await bench.counts() == .init(connections: 1))
    }

    @Test func missedEventsCompleteThePollImmediately() async throws {
        let bench = try await Bench()
        try await bench.publish("c", "1", "2", "3")
        let client = try await bench.subscribe(self.request(after: 1))
        #expect(try await client.text.hasSuffix(self.answer([(2, "2"), (3, "3")], at: 3)))
    }

    @Test func theDeadlineCompletesThePoll() async throws {
        let bench = try await Bench { $0.heartbeatSeconds = 4 }
        try await bench.publish("c", "1")
        let client = try await bench.subscribe(self.request())
        await bench.pass(seconds: 3)
        #expect(try await client.text == "")
        await bench.pass(seconds: 1)
        #expect(try await client.text.hasSuffix("\r\n\r\n" + self.answer([], at: 1)))
        #expect(try await !client.isOutputClosed)
    }

    @Test func aStoppingNodeCompletesThePollAndCloses() async throws {
        let bench = try await Bench()
        let client = try await bench.subscribe(self.request())
        try await bench.stop()
        #expect(try await client.text.contains("Connection: close\r\n"))
        #expect(try await client.text.hasSuffix(self.answer([], at: 0)))
        #expect(try await client.isOutputClosed)
    }

    @Test func aStoppingNodeRespondsWithCollectedEvents() async throws {
        let bench = try await Bench()
        _ = try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")
        try await bench.publish("c", "1")
        let client = try await bench.subscribe()
        let request = self.request(after: 0)
        // The event is collected immediately. Without the stop, the response would be sent at the end of the turn.
        try await bench.run {
            client.channel.pipeline.syncOperations.fireChannelRead(NIOAny(ByteBuffer(string: request)))
            bench.context.stop(completed: bench.loop.makePromise())
        }
        #expect(try await client.text.hasSuffix(self.answer([(1, "1")], at: 1)))
    }

    @Test func consecutivePollsMissNoEvent() async throws {
        let bench = try await Bench()
        let client = try await bench.subscribe(self.request())
        try await bench.publish("c", "1", "2")
        #expect(try await client.text.hasSuffix(self.answer([(1, "1")], at: 1)))
        try await client.send(self.request(after: 1))
        #expect(try await client.text.hasSuffix(self.answer([(2, "2")], at: 2)))
        try await client.send(self.request(after: 2))
        try await bench.publish("c", "3")
        #expect(try await client.text.hasSuffix(self.answer([(3, "3")], at: 3)))
    }

    @Test func aPipelinedPollWaitsForTheFirstPoll() async throws {
        let bench = try await Bench()
        let client = try await bench.subscribe(self.request() + self.request(after: 0))
        #expect(try await client.text == "")
        try await bench.publish("c", "1")
        #expect(try await client.statuses == [200, 200])
        #expect(try await client.text.hasSuffix(self.answer([(1, "1")], at: 1)))
    }

    @Test func pipelinedBytesAreBounded() async throws {
        let bench = try await Bench { $0.headerBytesMax = 1000 }
        let client = try await bench.subscribe(self.request())
        try await client.send(String(repeating: "x", count: 1000))
        #expect(try await !client.isClosed)
        try await client.send("x")
        #expect(try await client.isClosed)
        #expect(try await bench.counts() == .init())
    }

    @Test func anHTTP10ClientGetsAResponseAndIsClosed() async throws {
        let bench = try await Bench()
        let client = try await bench.subscribe(self.request(version: "1.0"))
        try await bench.publish("c", "1")
        #expect(try await client.text.hasSuffix(self.answer([(1, "1")], at: 1)))
        #expect(try await client.isOutputClosed)
    }

    @Test func anEventAfterTheClientDisconnectedIsIgnored() async throws {
        let bench = try await Bench()
        let client = try await bench.subscribe(self.request())
        try await client.disappear()
        try await bench.publish("c", "1")
        #expect(try await client.text == "")
        #expect(try await bench.counts() == .init())
    }

    @Test func aReadThatEndsAfterTheClientDisconnectedIsIgnored() async throws {
        let bench = try await Bench()
        try await bench.publish("c", "1")
        try await bench.run { bench.log.readFaults = [.wait] }
        let client = try await bench.subscribe(self.request(after: 0))
        try await client.disappear()
        await bench.log.release()
        #expect(try await client.text == "")
        #expect(try await bench.counts() == .init())
    }

    @Test func theDeadlineMayExpireDuringAReadOfHistory() async throws {
        let bench = try await Bench { $0.heartbeatSeconds = 2 }
        try await bench.publish("c", "1")
        try await bench.run { bench.log.readFaults = [.wait] }
        let client = try await bench.subscribe(self.request(after: 0))
        await bench.pass(seconds: 2)
        #expect(try await client.text.hasSuffix(self.answer([], at: 0)))
        await bench.log.release()
        #expect(try await client.statuses == [200])
        try await client.send(self.request(after: 0))
        #expect(try await client.text.hasSuffix(self.answer([(1, "1")], at: 1)))
    }

    @Test func aPollAfterExpiredEventsReportsAGap() async throws {
        let bench = try await Bench()
        try await bench.publish("c", "1", "2")
        try await bench.run { bench.log.expire(ChannelName("c")!, upTo: 1) }
        let client = try await bench.subscribe(self.request(after: 0))
        let gap = "{\"gap\":{\"channel\":\"c\",\"from\":\"1-1\",\"to\":\"1-1\",\"reason\":\"expired\"},\"id\":\"\(cursor("c", 1, 1))\"}"
        let event = "{\"id\":\"\(cursor("c", 1, 2))\",\"channel\":\"c\",\"data\":2}"
        #expect(try await client.text.hasSuffix("{\"events\":[\(gap),\(event)],\"cursor\":\"\(cursor("c", 1, 2))\"}"))
    }
}
