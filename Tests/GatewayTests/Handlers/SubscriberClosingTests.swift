import NIOCore
import Testing

@testable import Gateway
@testable import Pipeline

@Suite(.timeLimit(.minutes(1))) struct SubscriberClosingTests {
    enum Ending: CaseIterable {
        case disappears, endsInput, fails, stops, stallsForEver
    }

    private static let requests = [
        "", "GET /ev", "GET /ev/c HTTP/1.1\r\nHost: h\r\n\r\n", "GET /ev/c HTTP/1.0\r\n\r\n", "GET /sub/c HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /lp/c HTTP/1.1\r\nHost: h\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /ws/c HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ]

    @Test(arguments: Self.requests, Ending.allCases)
    func aClosedConnectionLeavesNoState(_ request: String, _ ending: Ending) async throws {
        let bench = try await Bench {
            $0.heartbeatSeconds = 2
            $0.stalledSecondsMax = 5
            $0.idleSecondsMax = 5
            $0.handshakeSecondsMax = 5
        }
        let client = try await bench.subscribe(request)
        switch ending {
        case .disappears: try await client.disappear()
        case .endsInput: try await client.endInput()
        case .fails: try await client.fail()
        case .stops: try await bench.stop()
        case .stallsForEver: try await client.stall()
        }
        try await bench.publish("c", "1")
        await bench.pass(seconds: 30)
        #expect(try await client.isClosed)
        #expect(try await bench.counts() == .init())
        #expect(try await bench.metrics.accepted == 1)
    }

    // MARK: - Stopping

    @Test func aStoppingNodeSendsARetryDelay() async throws {
        let bench = try await Bench()
        let client = try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")
        try await bench.publish("c", "1")
        try await bench.stop()
        let last = try #require(try await client.text.split(separator: "\n\n").last)
        #expect(last.hasPrefix("retry: "))
        #expect((500...5000).contains(try #require(Int(last.dropFirst(7)))))
        #expect(try await client.isOutputClosed)
    }

    @Test(arguments: ["/ev/c", "/sub/c"])
    func aStoppingNodeSendsTheLastChunk(_ target: String) async throws {
        let bench = try await Bench()
        let client = try await bench.subscribe("GET \(target) HTTP/1.1\r\nHost: h\r\n\r\n")
        try await bench.stop()
        #expect(try await client.text.hasSuffix("\r\n0\r\n\r\n"))
        #expect(try await client.isOutputClosed)
    }

    @Test func aStoppingNodeRefusesSubscribers() async throws {
        let bench = try await Bench()
        try await bench.stop()
        let client = try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")
        #expect(try await client.statuses == [503])
        #expect(try await client.isOutputClosed)
    }

    @Test func connectionsAreEndedInSlices() async throws {
        let bench = try await Bench { $0.shutdownSliceConnections = 2 }
        var clients: [Client] = []
        for _ in 0..<5 { clients.append(try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")) }
        try await bench.run { bench.context.stop(completed: bench.loop.makePromise()) }
        var closed: [Bool] = []
        for client in clients { closed.append(try await client.isOutputClosed) }
        #expect(closed == [true, true, false, false, false])
        await bench.pass(seconds: 1)
        for client in clients { #expect(try await client.isOutputClosed) }
    }

    // MARK: - Draining

    @Test func aDrainedNodeDisconnectsItsSubscribersGradually() async throws {
        let bench = try await Bench { $0.drainSeconds = 2 }
        var clients: [Client] = []
        for _ in 0..<4 { clients.append(try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")) }
        let poll = try await bench.subscribe("GET /lp/c HTTP/1.1\r\nHost: h\r\n\r\n")
        let idle = try await bench.subscribe()
        let publisher = try await bench.api("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        try await bench.run { bench.context.setDraining(true) }
        await bench.pass(seconds: 1)
        var closed: [Bool] = []
        for client in clients { closed.append(try await client.isOutputClosed) }
        #expect(closed.contains(true) && closed.contains(false))
        await bench.pass(seconds: 1)
        for client in clients {
            #expect(try await client.text.contains("\nretry: "))
            #expect(try await client.isOutputClosed)
        }
        // A poll gets its response, and then its connection is closed.
        #expect(try await poll.statuses == [200])
        #expect(try await poll.isOutputClosed)
        #expect(try await !idle.isOutputClosed)
        #expect(try await !publisher.isOutputClosed)
        #expect(try await bench.metrics.drained == 5)
    }

    @Test func aNewSubscriberOfADrainedNodeIsServedUntilTheNextRound() async throws {
        let bench = try await Bench { $0.drainSeconds = 3 }
        try await bench.run { bench.context.setDraining(true) }
        try await bench.publish("c", "1")
        let client = try await bench.subscribe("GET /ev/c.b1 HTTP/1.0\r\n\r\n")
        #expect(try await client.statuses == [200])
        #expect(try await client.events == ["data: 1"])
        await bench.pass(seconds: 3)
        #expect(try await client.isOutputClosed)
    }

    @Test func anUndrainedNodeKeepsItsSubscribers() async throws {
        let bench = try await Bench { $0.drainSeconds = 2 }
        try await bench.run { bench.context.setDraining(true) }
        let client = try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")
        try await bench.run { bench.context.setDraining(false) }
        await bench.pass(seconds: 5)
        #expect(try await !client.isOutputClosed)
        // With `drain-seconds` 0, a drained node keeps its subscribers until it stops.
        let keeping = try await Bench { $0.drainSeconds = 0 }
        let kept = try await keeping.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")
        try await keeping.run { keeping.context.setDraining(true) }
        await keeping.pass(seconds: 60)
        #expect(try await !kept.isOutputClosed)
    }

    // MARK: - Refusals

    @Test func anIncompleteRequestGets408() async throws {
        let bench = try await Bench { $0.handshakeSecondsMax = 3 }
        let client = try await bench.subscribe("GET /ev/c HTTP/1.1\r\n")
        let silent = try await bench.subscribe()
        await bench.pass(seconds: 3)
        #expect(try await client.statuses == [408])
        #expect(try await silent.text == "")
        #expect(try await silent.isClosed)
        #expect(try await bench.metrics.timedOut == 2)
    }

    @Test func aSubscriberOverTheLimitGets503() async throws {
        let bench = try await Bench()
        let client = try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n", isOverLimit: true)
        #expect(try await client.statuses == [503])
        #expect(try await client.text.contains("Retry-After: 5\r\n"))
        #expect(try await client.isOutputClosed)
        #expect(try await bench.counts() == .init(connections: 1))
        #expect(try await bench.subscribe("GET /healthz HTTP/1.0\r\n\r\n", isOverLimit: true).statuses == [200])
    }

    @Test func aPathOfTheOtherPortGetsAHint() async throws {
        let bench = try await Bench()
        bench.addresses.listen = "0.0.0.0:8080"
        bench.addresses.api = "[fd00::1]:8081"
        for path in ["/pub?id=c", "/api/status"] {
            let client = try await bench.subscribe("POST \(path) HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
            #expect(try await client.statuses == [404])
            #expect(try await client.text.contains("this is the subscriber port; back ends use the API port, 8081; the paths are /ev/CHANNEL"))
            #expect(try await !client.text.contains("fd00"))
        }
        #expect(try await !bench.subscribe("GET /nothing HTTP/1.0\r\n\r\n").text.contains("8081"))
        let wrong = try await bench.api("GET /ev/c HTTP/1.0\r\n\r\n")
        #expect(try await wrong.text.contains("this is the API port; subscribers connect to the subscriber port, 8080; the paths are /pub"))
    }

    @Test func theChannelsOfALoopAreBounded() async throws {
        let bench = try await Bench { $0.subscribedChannelsMax = 1 }
        #expect(try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n").statuses == [200])
        #expect(try await bench.subscribe("GET /ev/d HTTP/1.0\r\n\r\n").statuses == [503])
        #expect(try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n").statuses == [200])
    }

    /// A browser's `EventSource` never reconnects after a status other than 200, or after a response of another origin without CORS headers.
    @Test(arguments: ["stopping", "over the limit", "too many channels"])
    func aRefusedEventSourceGetsARetryDelay(_ case: String) async throws {
        let bench = try await Bench(corsOrigins: ["http://a"]) { $0.subscribedChannelsMax = 1 }
        let request = "GET /ev/d HTTP/1.1\r\nHost: h\r\nOrigin: http://a\r\nAccept: text/event-stream\r\n\r\n"
        if `case` == "stopping" { try await bench.stop() }
        if `case` == "too many channels" { _ = try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n") }
        let client = try await bench.subscribe(request, isOverLimit: `case` == "over the limit")
        let text = try await client.text
        #expect(text.hasPrefix("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: "))
        #expect(text.contains("\r\nAccess-Control-Allow-Origin: http://a\r\n") && text.contains("\r\nCache-Control: no-store\r\n"))
        let body = String(decoding: try await client.body, as: UTF8.self)
        let lines = body.split(separator: "\n", omittingEmptySubsequences: false)
        try #require(lines.count == 4 && lines[0].hasPrefix("retry: ") && lines[1].hasPrefix(": ") && lines[2].isEmpty && lines[3].isEmpty, "\(body)")
        let retry = try #require(Int(lines[0].dropFirst(7)))
        #expect((`case` == "over the limit" ? 5000...15_000 : 1000...3000).contains(retry))
        #expect(try await client.isOutputClosed)
        #expect(try await bench.metrics.refusedSubscribers == 1)
        #expect(try await bench.metrics.badRequests == 0)
    }

    @Test func afterARefusalTheNodeReadsUntilTheClientCloses() async throws {
        let bench = try await Bench()
        let client = try await bench.subscribe("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n")
        try await client.send("GET /ev/c HTTP/1.0\r\n\r\n")
        #expect(try await client.statuses == [404])
        try await client.endInput()
        #expect(try await bench.counts() == .init())
    }
}
