import NIOCore
import Testing

@testable import Gateway
@testable import Pipeline

/// Many connections that are accepted in the same second.
@Suite(.timeLimit(.minutes(1))) struct SubscriberHeartbeatTests {
    private static let stream = "GET /ev/c HTTP/1.0\r\n\r\n"
    private static let poll = "GET /lp/c HTTP/1.1\r\nHost: h\r\n\r\n"

    private func crowd(_ count: Int, _ request: String = stream, at bench: Bench) async throws -> [Client] {
        var clients: [Client] = []
        for _ in 0..<count { clients.append(try await bench.subscribe(request)) }
        return clients
    }

    /// The number of writes to each client.
    private func writes(_ clients: [Client]) async throws -> [Int] {
        try await clients[0].bench.run { clients.map(\.socket.writes) }
    }

    // MARK: - Spread

    @Test func heartbeatsAreSpreadOverTheInterval() async throws {
        let bench = try await Bench { $0.heartbeatSeconds = 5 }
        let clients = try await self.crowd(100, at: bench)
        var before = try await self.writes(clients)
        var silence = Array(repeating: 0, count: clients.count)
        for second in 1...20 {
            await bench.pass(seconds: 1)
            let now = try await self.writes(clients)
            let reached = clients.indices.filter { now[$0] > before[$0] }
            #expect(reached.count == 20, "second \(second)")
            for index in clients.indices { silence[index] = reached.contains(index) ? 0 : silence[index] + 1 }
            // No client waits for longer than the interval.
            #expect(silence.max()! < 5, "second \(second)")
            before = now
        }
    }

    @Test func newConnectionsKeepTheSpread() async throws {
        let bench = try await Bench { $0.heartbeatSeconds = 5 }
        var clients: [Client] = []
        // Two clients connect in each second. One client disconnects in each interval.
        for second in 0..<50 {
            clients.append(contentsOf: try await self.crowd(2, at: bench))
            if second % 5 == 0 { try await clients.removeFirst().disappear() }
            await bench.pass(seconds: 1)
        }
        for second in 1...10 {
            let before = try await self.writes(clients)
            await bench.pass(seconds: 1)
            let now = try await self.writes(clients)
            let reached = zip(before, now).count { $0 < $1 }
            #expect((16...20).contains(reached), "second \(second)")
        }
    }

    @Test func theEndsOfPollsAreSpreadOverAFifthOfTheInterval() async throws {
        let bench = try await Bench { $0.heartbeatSeconds = 25 }
        let clients = try await self.crowd(60, Self.poll, at: bench)
        await bench.pass(seconds: 19)
        #expect(try await self.writes(clients).allSatisfy { $0 == 0 })
        for second in 20...25 {
            await bench.pass(seconds: 1)
            #expect(try await self.writes(clients).count { $0 == 1 } == (second - 19) * 10, "second \(second)")
        }
    }

    // MARK: - Slices

    @Test func theDeadlinesOfOneTurnAreBounded() async throws {
        let bench = try await Bench { $0.heartbeatSeconds = 1 }
        let clients = try await self.crowd(600, at: bench)
        let before = try await self.writes(clients)
        func reached() async throws -> Int { zip(before, try await self.writes(clients)).count { $0 < $1 } }
        await bench.pass(seconds: 1)
        #expect(try await reached() == Slices.deadlinesMax)
        await bench.pass(milliseconds: 1)
        #expect(try await reached() == 2 * Slices.deadlinesMax)
        await bench.pass(milliseconds: 1)
        #expect(try await reached() == 600)
        // Each client gets one heartbeat in each second, for any number of slices.
        await bench.pass(milliseconds: 2998)
        await bench.pass(milliseconds: 10)
        #expect(zip(before, try await self.writes(clients)).allSatisfy { $1 - $0 == 4 })
    }

    @Test func connectionsMayOpenAndCloseBetweenTwoSlices() async throws {
        let bench = try await Bench { $0.heartbeatSeconds = 1 }
        let clients = try await self.crowd(600, at: bench)
        await bench.pass(seconds: 1)
        // Some clients of the next slices disconnect, and others connect and reuse their slots.
        for client in clients[400..<500] { try await client.disappear() }
        let others = try await self.crowd(100, at: bench)
        await bench.pass(milliseconds: 10)
        let staying = Array(clients[..<400] + clients[500...])
        let before = (try await self.writes(staying), try await self.writes(others))
        await bench.pass(seconds: 3)
        await bench.pass(milliseconds: 10)
        #expect(zip(before.0, try await self.writes(staying)).allSatisfy { $1 - $0 == 3 })
        #expect(zip(before.1, try await self.writes(others)).allSatisfy { $1 - $0 == 3 })
        #expect(try await bench.counts().connections == 600)
    }

    @Test func aStopBetweenTwoSlicesEndsEveryConnection() async throws {
        let bench = try await Bench {
            $0.heartbeatSeconds = 1
            $0.stalledSecondsMax = 3
        }
        let clients = try await self.crowd(600, at: bench)
        for client in clients[500...] { try await client.stall() }
        await bench.pass(seconds: 1)
        try await bench.stop()
        for client in clients[..<500] { #expect(try await client.isOutputClosed) }
        // The deadline closes the clients that do not close, and those that read nothing.
        await bench.pass(seconds: 5)
        #expect(try await bench.counts() == .init())
        for client in clients { #expect(try await client.isClosed) }
    }

    @Test func requestDeadlinesHoldForManyConnections() async throws {
        let bench = try await Bench { $0.handshakeSecondsMax = 3 }
        let clients = try await self.crowd(600, "GET /ev", at: bench)
        await bench.pass(seconds: 2)
        #expect(try await self.writes(clients).allSatisfy { $0 == 0 })
        await bench.pass(seconds: 1)
        await bench.pass(milliseconds: 10)
        #expect(try await bench.metrics.timedOut == 600)
        for client in clients { #expect(try await client.statuses == [408]) }
    }
}
