import NIOCore
import PipelineTestKit
import Testing

@testable import Gateway
@testable import Pipeline

@Suite(.timeLimit(.minutes(1))) struct APIPipeliningTests {
    private static let publish = "POST /pub?id=c HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
    private static let health = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"

    /// A connection whose first request, a publish, waits for the log.
    private func waiting(then requests: String = "", _ change: (inout Limits) -> Void = { _ in }) async throws -> Client {
        let bench = try await Bench(change)
        try await bench.run { bench.log.appendFaults = [.wait] }
        return try await bench.api(Self.publish + requests)
    }

    // MARK: - Order

    @Test func responsesWaitForASlowFirstResponse() async throws {
        let client = try await self.waiting(then: Self.health + "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(try await client.text == "")
        await client.bench.log.release()
        #expect(try await client.statuses == [200, 200, 404])
        #expect(try await client.text.contains("\",\"subscribers\":0}HTTP/1.1 200 OK"))
    }

    @Test func responsesOfOneTurnAreSentInOneWrite() async throws {
        let client = try await self.waiting(then: Self.health + Self.health)
        await client.bench.log.release()
        #expect(try await client.statuses.count == 3)
        #expect(try await client.writes == 1)
    }

    @Test func aResponseBeforeASlowResponseIsSentImmediately() async throws {
        let bench = try await Bench()
        try await bench.run { bench.log.appendFaults = [.wait] }
        let client = try await bench.api(Self.health + Self.publish)
        #expect(try await client.statuses == [200])
    }

    @Test func theRefusalOfAnInvalidRequestKeepsTheOrder() async throws {
        let client = try await self.waiting(then: "NO SENSE\r\n\r\n" + Self.health)
        #expect(try await client.text == "")
        await client.bench.log.release()
        #expect(try await client.statuses == [200, 400])
        #expect(try await client.isOutputClosed)
    }

    @Test func eachResponseAllowsTheOriginOfItsRequest() async throws {
        let bench = try await Bench(corsOrigins: ["http://a", "http://b"])
        try await bench.run { bench.log.appendFaults = [.wait] }
        let client = try await bench.api(
            "POST /pub?id=c HTTP/1.1\r\nHost: h\r\nOrigin: http://a\r\nContent-Length: 1\r\n\r\nx"
                + "GET /healthz HTTP/1.1\r\nHost: h\r\nOrigin: http://b\r\n\r\n" + Self.health)
        await client.bench.log.release()
        let origins = try await client.text.split(separator: "\r\n").filter { $0.hasPrefix("Access-Control-Allow-Origin") }
        #expect(origins == ["Access-Control-Allow-Origin: http://a", "Access-Control-Allow-Origin: http://b"])
    }

    // MARK: - Splits

    @Test func requestsMayBeSplitAtAnyByte() async throws {
        let bytes = Array((Self.publish + Self.health).utf8)
        for split in 1..<bytes.count {
            let client = try await Bench().api()
            try await client.send(bytes: Array(bytes[..<split]))
            try await client.send(bytes: Array(bytes[split...]))
            #expect(try await client.statuses == [200, 200], "split at \(split)")
        }
    }

    @Test func aRequestMayArriveByteByByte() async throws {
        let client = try await Bench().api()
        for byte in Self.publish.utf8 { try await client.send(bytes: [byte]) }
        #expect(try await client.text.hasSuffix("\"id\":\"1-1\",\"cursor\":\"\(cursor("c", 1, 1))\",\"subscribers\":0}"))
    }

    @Test func expectContinueGets100Continue() async throws {
        let client = try await Bench().api("POST /pub?id=c HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
        #expect(try await client.text == "HTTP/1.1 100 Continue\r\n\r\n")
        try await client.send("x")
        #expect(try await client.statuses == [100, 200])
    }

    // MARK: - Bounds

    @Test func readingPausesWhileTooManyResponsesArePending() async throws {
        let client = try await self.waiting(then: String(repeating: Self.health, count: 5)) { $0.pipelinedRequestsMax = 2 }
        #expect(try await client.bench.metrics.apiRequests == 2)
        #expect(!client.isRead)
        await client.bench.log.release()
        #expect(try await client.statuses == Array(repeating: 200, count: 6))
        #expect(client.isRead)
    }

    @Test func requestsOfAClientThatDoesNotReadWait() async throws {
        let client = try await Bench().api(Self.health)
        try await client.stall()
        try await client.send(Self.health + Self.health)
        #expect(try await client.bench.metrics.apiRequests == 1)
        try await client.drain()
        #expect(try await client.statuses == [200, 200, 200])
    }

    // MARK: - After the client has disconnected

    @Test func aResponseAfterTheClientDisconnectedIsDiscarded() async throws {
        let client = try await self.waiting(then: Self.health)
        try await client.disappear()
        #expect(try await client.bench.counts() == .init())
        await client.bench.log.release()
        #expect(try await client.text == "")
        #expect(try await client.bench.stored("c") == ["x"])
    }

    @Test func aBroadcastResponseAfterTheClientDisconnectedIsDiscarded() async throws {
        let bench = try await Bench()
        try await bench.run { bench.log.appendFaults = [.wait] }
        let client = try await bench.api("POST /pub?id=c/d HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
        try await client.disappear()
        await client.bench.log.release()
        #expect(try await client.text == "")
        #expect(try await bench.counts() == .init())
    }
}
