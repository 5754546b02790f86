import NIOCore
import NIOPosix
import TestKit
import Testing

@testable import Storage

/// The client against real servers.
@Suite struct RedisClientTests {
    @Test func repliesArriveInTheOrderOfTheRequests() async throws {
        let server = try await LocalRedis()
        try await withRedisClient(server.address) { client in
            try await client.waitUntilReady()
            var set = RedisRequest("SET", argumentCount: 2)
            set.append("key")
            set.append(ByteBuffer(bytes: [0, 13, 10, 255]))
            let results = await client.send([
                set, RedisRequest("GET", "key"), RedisRequest("GET", "none"), RedisRequest("INCR", "key"), RedisRequest("DEL", "key"),
            ])
            #expect(
                results == [
                    .success(.status("OK")), .success(.string(ByteBuffer(bytes: [0, 13, 10, 255]))), .success(.null),
                    .success(.error("ERR value is not an integer or out of range")), .success(.integer(1)),
                ])
            #expect(await client.send([]) == [])
        }
    }

    @Test func scriptsAreLoadedAndFactsAreRead() async throws {
        let server = try await LocalRedis(["--appendonly", "yes", "--appendfsync", "always", "--maxmemory", "64mb"])
        try await withRedisClient(server.address, scripts: ["#!lua\nreturn {1, 'two', {3}}", "return ARGV[1]"]) { client in
            try await client.waitUntilReady()
            let hashes = await client.scriptHashes
            #expect(hashes.count == 2 && hashes.allSatisfy { $0.utf8.count == 40 })
            let results = await client.send([RedisRequest("EVALSHA", hashes[0], "0"), RedisRequest("EVALSHA", hashes[1], "0", "x")])
            let string = { RedisReply.string(ByteBuffer(string: $0)) }
            #expect(results == [.success(.array([.integer(1), string("two"), .array([.integer(3)])])), .success(string("x"))])
            let facts = try #require(await client.facts)
            #expect(facts.version.hasPrefix("7.") && facts.role == "master" && facts.runID.count == 40 && facts.replicationID.count == 40)
            #expect(facts.appendFsync == "always" && facts.aofEnabled && facts.maxMemoryPolicy == "noeviction" && facts.maxMemory == 64 << 20)
            #expect(facts.usedMemory > 0 && facts.processID != nil && facts.evictedKeys == 0 && !facts.aofLastWriteFailed && !facts.isLoading)
        }
    }

    @Test func aKilledServerComesBack() async throws {
        let server = try await LocalRedis()
        let logs = LogLines()
        try await withRedisClient(server.address, logs: logs) { client in
            try await client.waitUntilReady()
            let first = await (client.generation, client.facts?.runID)
            #expect(first.0 == 1)
            server.kill()
            try await client.waitForProblem("cannot be reached")
            #expect(await client.facts == nil)
            let result = await client.send([RedisRequest("GET", "key")])[0]
            guard case .failure(.notSent(let sentence)) = result else { return #expect(Bool(false), "\(result)") }
            #expect(sentence.contains("127.0.0.1:\(server.port)"))
            try await server.start()
            try await client.waitUntilReady()
            #expect(await client.generation == 2)
            #expect(await client.facts?.runID != first.1)
            #expect(try await client.send("GET", "key") == .null)
        }
        #expect(logs.lines.count { $0.hasPrefix("info: Redis is connected") } == 1, "\(logs.lines)")
        #expect(logs.lines.count { $0.hasPrefix("warning: Redis is not connected") } == 1, "\(logs.lines)")
        #expect(logs.lines.count { $0.hasPrefix("info: Redis is back") } == 1, "\(logs.lines)")
    }
}
