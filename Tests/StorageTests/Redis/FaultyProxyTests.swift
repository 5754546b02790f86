import NIOCore
import TestKit
import Testing

/// The faults that other tests switch on, with a real server.
@Suite(.timeLimit(.minutes(5))) struct FaultyProxyTests {
    /// A proxy, a client through it, and the server behind it.
    private func withClient(_ body: (FaultyProxy, RESPConnection, RedisServer) async throws -> Void) async throws {
        let server = try await RedisServer.started()
        try await FaultyProxy.with(to: server.port) { proxy in
            let client = try #require(RESPConnection(to: proxy.port))
            #expect(try client.command("PING") == .status("PONG"))
            try await body(proxy, client, server)
        }
    }

    /// Waits until the connection ends, and expects that nothing comes before it.
    private func hasEnded(_ client: RESPConnection, at location: SourceLocation = #_sourceLocation) async throws -> LoopbackSocket.Received {
        var last = LoopbackSocket.Received.nothing
        try await eventually("the connection stands", at: location) {
            last = client.look()
            return last != .nothing
        }
        return last
    }

    @Test func theProxyForwardsAndCounts() async throws {
        try await self.withClient { proxy, client, server in
            #expect(try client.command(["SET", "a", String(repeating: "x", count: 300_000)]) == .status("OK"))
            #expect(try client.command("GET a").string?.utf8.count == 300_000)
            let second = try #require(RESPConnection(to: proxy.port))
            second.send("INCR b")
            second.send("INCR b")
            #expect(try [second.receive(), second.receive()] == [.integer(1), .integer(2)])
            let counters = await proxy.counters
            #expect(counters.accepted == 2 && counters.open == 2 && counters.requests == 5)
            // A closed server closes the client.
            server.kill()
            _ = try await self.hasEnded(client)
            #expect(await proxy.counters.held.values.allSatisfy { $0 == 0 })
        }
    }

    @Test func aRefusedClientCanConnectAgainLater() async throws {
        try await self.withClient { proxy, client, _ in
            await proxy.refuse()
            #expect(try await self.hasEnded(client) == .reset)
            #expect(RESPConnection(to: proxy.port) == nil)
            try await proxy.pass()
            #expect(try RESPConnection(to: proxy.port)?.command("PING") == .status("PONG"))
        }
    }

    @Test func aCutResetsOpenConnections() async throws {
        try await self.withClient { proxy, client, server in
            await proxy.cut()
            #expect(try await self.hasEnded(client) == .reset)
            #expect(try RESPConnection(to: proxy.port)?.command("PING") == .status("PONG"))
            // Without a server there is no connection either.
            server.kill()
            let refused = try #require(RESPConnection(to: proxy.port))
            #expect(try await self.hasEnded(refused) == .reset)
        }
    }

    @Test func stalledRequestsArriveWhenTheyAreReleased() async throws {
        try await self.withClient { proxy, client, server in
            await proxy.stall(.toServer)
            client.send("INCR a")
            try await eventually("nothing is held") { await proxy.counters.held[.toServer]! > 0 }
            #expect(try server.command("GET a") == .null)
            await proxy.release(.toServer)
            #expect(try client.receive() == .integer(1))
        }
    }

    @Test func stalledRepliesAreOfRequestsThatWereExecuted() async throws {
        try await self.withClient { proxy, client, server in
            await proxy.stall(.toClient)
            client.send("INCR a")
            try await eventually("nothing is held") { await proxy.counters.held[.toClient]! > 0 }
            #expect(try server.command("GET a") == .string("1"))
            #expect(client.look() == .nothing)
            try await proxy.pass()
            #expect(try client.receive() == .integer(1))
        }
    }

    /// The case of a write that was delayed in the network, while its sender gave up.
    @Test func aStalledRequestArrivesAlthoughItsClientHasClosed() async throws {
        try await self.withClient { proxy, _, server in
            await proxy.stall(.toServer)
            do {
                let client = try #require(RESPConnection(to: proxy.port))
                client.send("INCR a")
                try await eventually("nothing is held") { await proxy.counters.held[.toServer]! > 0 }
            }
            #expect(try server.command("GET a") == .null)
            await proxy.release(.toServer)
            try await eventually("the request has not arrived") { try server.command("GET a") == .string("1") }
            try await eventually("the connection to the server is open") { await proxy.counters.open == 1 }
        }
    }

    @Test func repliesAreDroppedOfRequestsThatWereExecuted() async throws {
        try await self.withClient { proxy, client, server in
            await proxy.stall(.toServer)
            for line in ["PING", "INCR a", "ECHO 1", "INCR a", "INCR a", "PING"] { client.send(line) }
            try await eventually("nothing is held") { await proxy.counters.held[.toServer]! > 90 }
            await proxy.dropReplies(ofNext: 2, named: "INCR")
            await proxy.release(.toServer)
            #expect(try client.receive() == .status("PONG"))
            #expect(try client.receive() == .string("1"))
            #expect(try await self.hasEnded(client) == .reset)
            #expect(try server.command("GET a") == .string("2"))
            #expect(await proxy.counters.repliesDropped == 2)
            // That was all.
            let next = try #require(RESPConnection(to: proxy.port))
            #expect(try next.command("INCR a") == .integer(3))
        }
    }

    @Test func theReplyOfAnyNextRequestIsDropped() async throws {
        try await self.withClient { proxy, client, server in
            await proxy.dropReplies(ofNext: 1)
            client.send("INCR a")
            let end = try await self.hasEnded(client)
            #expect(end == .reset)
            #expect(try server.command("GET a") == .string("1"))
        }
    }

    @Test func delayedBytesKeepTheirOrder() async throws {
        try await self.withClient { proxy, client, _ in
            for direction in FaultyProxy.Direction.allCases {
                await proxy.delay(direction, milliseconds: 100)
                let start = ContinuousClock.now
                for _ in 0..<20 { client.send("INCR a") }
                var replies: [Int64] = []
                for _ in 0..<20 { replies.append(try client.receive().integer ?? 0) }
                #expect(replies == Array(replies[0]..<replies[0] + 20))
                // Nothing can be faster than the delay.
                #expect(.now - start >= .milliseconds(100))
                try await proxy.pass()
            }
        }
    }

    @Test func whatIsDelayedPassesImmediatelyAfterwards() async throws {
        try await self.withClient { proxy, client, _ in
            await proxy.delay(.toServer, milliseconds: 3_600_000)
            client.send("INCR a")
            try await eventually("nothing is held") { await proxy.counters.held[.toServer]! > 0 }
            try await proxy.pass()
            #expect(try client.receive() == .integer(1))
        }
    }

    @Test func aRequestIsCutInTheMiddle() async throws {
        try await self.withClient { proxy, client, server in
            let request = RESPConnection.request(["SET", "a", String(repeating: "x", count: 1000)])
            await proxy.cut(afterBytes: request.count - 1, .toServer)
            client.send(bytes: request)
            #expect(try await self.hasEnded(client) == .reset)
            #expect(try server.command("GET a") == .null)
            let next = try #require(RESPConnection(to: proxy.port))
            await proxy.cut(afterBytes: request.count, .toServer)
            next.send(bytes: request)
            try await eventually("the whole request has not arrived") { try server.command("GET a") != .null }
        }
    }

    @Test func aReplyIsCutInTheMiddle() async throws {
        try await self.withClient { proxy, client, server in
            try server.command("SET a 0123456789")
            await proxy.cut(afterBytes: 8, .toClient)
            client.send("GET a")
            #expect(try await self.hasEnded(client) == .bytes(Array("$10\r\n012".utf8)))
            let error = #expect(throws: RESPConnection.NoReply.self) { try client.receive() }
            #expect(error?.description == "the server closed the connection")
        }
    }

    @Test func aHalfOpenConnectionIsSilentAboutItsEnd() async throws {
        try await self.withClient { proxy, client, server in
            await proxy.swallow()
            client.send("INCR a")
            try await eventually("nothing was swallowed") { await proxy.counters.swallowed > 0 }
            #expect(try server.command("GET a") == .null)
            let swallowed = await proxy.counters.swallowed
            try await server.restart()
            let second = try #require(RESPConnection(to: proxy.port))
            second.send("PING")
            try await eventually("nothing more was swallowed") { await proxy.counters.swallowed > swallowed }
            #expect(client.look() == .nothing && second.look() == .nothing)
            try await proxy.pass()
            #expect(try await self.hasEnded(client) == .reset)
            #expect(try await self.hasEnded(second) == .reset)
            #expect(try RESPConnection(to: proxy.port)?.command("PING") == .status("PONG"))
        }
    }

    @Test func theProxyHoldsABoundedNumberOfBytes() async throws {
        try await self.withClient { proxy, client, _ in
            await proxy.stall(.toServer)
            for _ in 0..<70 { client.send(bytes: [UInt8](repeating: 0, count: 1 << 20)) }
            try await eventually("the connection is open") { await proxy.counters.open == 0 }
            #expect(await proxy.counters.exceeded == 1)
        }
    }

    @Test func valuesEndWhereTheyEndHoweverTheyAreCut() {
        let requests = [["PING"], ["set", "a", "$3\r\n*1\r\n"], ["EVALSHA", "", "0"]].map(RESPConnection.request)
        let replies = ["+OK\r\n", "$-1\r\n", ":12\r\n", "*2\r\n*2\r\n:1\r\n$1\r\n*\r\n-ERR no\r\n", "*0\r\n", "*-1\r\n", "$0\r\n\r\n"].map { Array($0.utf8) }
        for (values, names) in [(requests, ["PING", "SET", "EVALSHA"]), (replies, nil)] {
            var random = SplitMix(seed: 7)
            for _ in 0..<200 {
                var scanner = RESPScanner()
                var (place, ends): (Int, [Int]) = (0, [])
                var found: [String] = []
                for piece in random.pieces(values.flatMap(\.self)) {
                    for value in scanner.scan(ByteBuffer(bytes: piece)) {
                        ends.append(place + value.end)
                        found.append(value.name)
                    }
                    place += piece.count
                    #expect(scanner.isInside == (ends.last ?? 0 != place))
                }
                #expect(ends == values.indices.map { values[...$0].reduce(0) { $0 + $1.count } })
                if let names { #expect(found == names) }
            }
        }
    }
}
