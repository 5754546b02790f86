import NIOCore
import PipelineTestKit
import Testing

@testable import Gateway
@testable import Pipeline

@Suite(.timeLimit(.minutes(1))) struct APIClosingTests {
    private static let publish = "POST /pub?id=c HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
    private static let lastPublish = "POST /pub?id=c HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
    private static let health = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"

    /// A connection with one publish that waits for the log.
    private func waiting(_ publish: String = publish, then requests: String = "", _ change: (inout Limits) -> Void = { _ in }) async throws -> Client {
        let bench = try await Bench(change)
        try await bench.run { bench.log.appendFaults = [.wait] }
        return try await bench.api(publish + requests)
    }

    // MARK: - Keep-alive

    @Test(arguments: [
        ("1.1", "", true), ("1.1", "Connection: keep-alive\r\n", true), ("1.1", "Connection: close\r\n", false), ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
    ])
    func keepAliveDependsOnVersionAndHeader(_ version: String, _ field: String, _ expected: Bool) async throws {
        let client = try await Bench().api("GET /healthz HTTP/\(version)\r\nHost: h\r\n\(field)\r\n")
        #expect(try await client.statuses == [200])
        #expect(try await client.text.contains("Connection: close\r\n") != expected)
        #expect(try await client.isOutputClosed != expected)
        try await client.send(Self.health)
        #expect(try await client.statuses.count == (expected ? 2 : 1))
    }

    @Test func aRequestAfterConnectionCloseGetsNoResponse() async throws {
        let client = try await Bench().api("GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + Self.health)
        #expect(try await client.statuses == [200])
        #expect(try await client.bench.metrics.apiRequests == 1)
    }

    @Test func aRefusedRequestKeepsTheConnection() async throws {
        let client = try await Bench().api("POST /healthz HTTP/1.1\r\nHost: h\r\n\r\n" + Self.health)
        #expect(try await client.statuses == [405, 200])
        #expect(try await !client.isOutputClosed)
    }

    // MARK: - Half-close

    @Test func responsesAreSentAfterAHalfClose() async throws {
        let client = try await self.waiting(then: Self.health)
        try await client.endInput()
        #expect(try await client.text == "")
        await client.bench.log.release()
        #expect(try await client.statuses == [200, 200])
        #expect(try await client.isClosed)
    }

    @Test func unparsedRequestsGetResponsesAfterAHalfClose() async throws {
        let client = try await self.waiting(then: Self.health + Self.health + Self.health) { $0.pipelinedRequestsMax = 2 }
        try await client.endInput()
        await client.bench.log.release()
        #expect(try await client.statuses == [200, 200, 200, 200])
        #expect(try await client.isClosed)
    }

    @Test func aHalfCloseWithoutPendingResponsesCloses() async throws {
        let client = try await Bench().api(Self.health)
        try await client.endInput()
        #expect(try await client.isClosed)
        #expect(try await client.bench.counts() == .init())
    }

    @Test func aHalfCloseInTheMiddleOfARequestCloses() async throws {
        let client = try await Bench().api("GET /hea")
        try await client.endInput()
        #expect(try await client.text == "")
        #expect(try await client.isClosed)
    }

    @Test func theLastResponseIsWrittenBeforeTheClose() async throws {
        let client = try await self.waiting(Self.lastPublish)
        try await client.stall()
        await client.bench.log.release()
        #expect(try await !client.isOutputClosed)
        try await client.drain()
        #expect(try await client.statuses == [200])
        #expect(try await client.isOutputClosed)
    }

    // MARK: - Deadlines

    @Test func anIncompleteRequestGets408() async throws {
        let bench = try await Bench { $0.handshakeSecondsMax = 3 }
        let client = try await bench.api("GET /healthz HTTP/1.1\r\nHo")
        await bench.pass(seconds: 2)
        #expect(try await client.text == "")
        await bench.pass(seconds: 1)
        #expect(try await client.statuses == [408])
        #expect(try await client.isOutputClosed)
        #expect(try await bench.metrics.timedOut == 1)
    }

    @Test func slowBytesDoNotExtendTheDeadline() async throws {
        let bench = try await Bench { $0.handshakeSecondsMax = 3 }
        let client = try await bench.api(Self.health)
        for byte in "GET /h".utf8 {
            try await client.send(bytes: [byte])
            await bench.pass(seconds: 1)
        }
        #expect(try await client.statuses == [200, 408])
    }

    @Test func aSlowReaderIsNotClosed() async throws {
        let bench = try await Bench {
            $0.handshakeSecondsMax = 2
            $0.idleSecondsMax = 2
            $0.stalledSecondsMax = 6
        }
        let client = try await bench.api()
        try await client.hold()
        try await client.send(Self.health)
        try await client.stall()
        for _ in 0..<6 {
            await bench.pass(seconds: 4)
            #expect(try await !client.isClosed)
            try await client.take(10)
        }
        await bench.pass(seconds: 8)
        #expect(try await client.isClosed)
        #expect(try await bench.metrics.stalled == 1)
    }

    @Test func anIdleConnectionIsClosedWithoutAResponse() async throws {
        let bench = try await Bench { $0.idleSecondsMax = 5 }
        let client = try await bench.api(Self.health)
        await bench.pass(seconds: 4)
        #expect(try await !client.isClosed)
        await bench.pass(seconds: 1)
        #expect(try await client.statuses == [200])
        #expect(try await client.isClosed)
    }

    @Test func aConnectionWithAPendingResponseIsNotIdle() async throws {
        let client = try await self.waiting()
        await client.bench.pass(seconds: 200)
        #expect(try await !client.isClosed)
        await client.bench.log.release()
        #expect(try await client.statuses == [200])
    }

    @Test(arguments: [Self.publish, Self.lastPublish], [false, true])
    func aLateResponseIsStillSent(_ request: String, _ endsInput: Bool) async throws {
        let client = try await self.waiting(request)
        if endsInput { try await client.endInput() }
        await client.bench.pass(seconds: 200)
        await client.bench.log.release()
        #expect(try await client.statuses == [200])
    }

    @Test func aClientThatDoesNotCloseIsClosed() async throws {
        let client = try await Bench().api("GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        await client.bench.pass(seconds: 2)
        #expect(try await client.isClosed)
        #expect(try await client.bench.counts() == .init())
    }

    @Test func aClientThatDoesNotReadTheLastResponseIsClosed() async throws {
        let client = try await self.waiting(Self.lastPublish) { $0.stalledSecondsMax = 7 }
        try await client.stall()
        await client.bench.log.release()
        await client.bench.pass(seconds: 6)
        #expect(try await !client.isClosed)
        await client.bench.pass(seconds: 1)
        #expect(try await client.isClosed)
        #expect(try await client.bench.counts() == .init())
    }

    // MARK: - Limits and the end

    @Test func aConnectionOverTheLimitGetsOneRefusal() async throws {
        let client = try await Bench().api("GET / HTTP/1.1\r\nHost: h\r\n\r\n" + Self.health, isOverLimit: true)
        #expect(try await client.statuses == [503])
        #expect(try await client.isOutputClosed)
        #expect(try await client.text.contains("api-connections-max"))
        #expect(try await client.text.contains("Retry-After: "))
    }

    @Test func aStoppingNodeSendsPendingResponses() async throws {
        let client = try await self.waiting(then: Self.health)
        try await client.bench.stop()
        try await client.send(Self.health)
        #expect(try await client.text == "")
        await client.bench.log.release()
        #expect(try await client.statuses == [200, 200])
        #expect(try await client.isOutputClosed)
    }

    @Test func aStoppingNodeClosesIdleConnections() async throws {
        let client = try await Bench().api(Self.health)
        try await client.bench.stop()
        #expect(try await client.isClosed)
        #expect(try await client.bench.counts() == .init())
    }

    @Test func aSocketErrorClosesTheConnection() async throws {
        let client = try await self.waiting()
        try await client.fail()
        await client.bench.log.release()
        #expect(try await client.text == "")
        #expect(try await client.bench.counts() == .init())
    }
}
