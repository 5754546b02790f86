import Testing

@testable import Gateway
@testable import Pipeline

/// Clients that stop reading.
@Suite(.timeLimit(.minutes(1))) struct SubscriberStallTests {
    @Test func aStalledReaderIsClosedInTime() async throws {
        let bench = try await Bench {
            $0.heartbeatSeconds = 2
            $0.stalledSecondsMax = 6
        }
        let client = try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")
        try await client.stall()
        try await bench.publish("c", "1")
        await bench.pass(seconds: 5)
        #expect(try await !client.isClosed)
        #expect(try await bench.counts().known == 1)
        await bench.pass(seconds: 1)
        #expect(try await client.isClosed)
        #expect(try await bench.metrics.stalled == 1)
        #expect(try await bench.counts() == .init())
    }

    @Test func aReaderThatResumesInTimeIsKept() async throws {
        let bench = try await Bench {
            $0.heartbeatSeconds = 2
            $0.stalledSecondsMax = 6
        }
        let client = try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")
        for _ in 0..<4 {
            try await client.stall()
            await bench.pass(seconds: 5)
            try await client.drain()
        }
        try await bench.publish("c", "1")
        #expect(try await client.events == ["data: 1"])
        #expect(try await bench.metrics.stalled == 0)
    }

    @Test func aSlowReaderIsKept() async throws {
        let bench = try await Bench {
            $0.heartbeatSeconds = 2
            $0.stalledSecondsMax = 6
        }
        let client = try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")
        try await client.hold()
        try await bench.publish("c", String(repeating: "x", count: 100))
        try await client.stall()
        for _ in 0..<6 {
            await bench.pass(seconds: 4)
            #expect(try await !client.isClosed)
            try await client.take(10)
        }
        await bench.pass(seconds: 8)
        #expect(try await client.isClosed)
        #expect(try await bench.metrics.stalled == 1)
        #expect(try await bench.counts() == .init())
    }

    @Test func aStalledReaderGetsNoHeartbeats() async throws {
        let bench = try await Bench { $0.heartbeatSeconds = 2 }
        let client = try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")
        await bench.pass(seconds: 2)
        try await client.stall()
        await bench.pass(seconds: 20)
        try await client.drain()
        #expect(try await client.text.ranges(of: "\n\n:\n\n").count == 1)
        #expect(try await !client.text.contains(":\n\n:\n\n"))
    }
}
