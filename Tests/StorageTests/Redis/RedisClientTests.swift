import NIOCore
import NIOPosix
import TestKit
import Testing

@testable import Storage

/// The client with real servers.
@Suite(.timeLimit(.minutes(5))) struct RedisClientTests {
    private static let bytes = ByteBuffer(bytes: [0, 13, 10, 255])

    @Test func repliesArriveInTheOrderOfTheRequests() async throws {
        let server = try await RedisServer.started()
        try await withRedisClient(server.address) { client in
            try await client.waitUntilReady()
            var set = RedisRequest("SET", argumentCount: 2)
            set.append("key")
            set.append(Self.bytes)
            let results = await client.send([
                set, RedisRequest("GET", "key"), RedisRequest("GET", "none"), RedisRequest("INCR", "key"), RedisRequest("DEL", "key"),
            ])
            #expect(
                results == [
                    .success(.status("OK")), .success(.string(Self.bytes)), .success(.null),
                    .success(.error("ERR value is not an integer or out of range")), .success(.integer(1)),
                ])
            #expect(await client.send([]) == [])
            // Groups of several tasks do not mix.
            await withTaskGroup { group in
                for number in 0..<200 {
                    group.addTask {
                        let results = await client.send((0...number % 5).map { RedisRequest("ECHO", "\(number) \($0)") })
                        #expect(results == (0...number % 5).map { .success(.string(ByteBuffer(string: "\(number) \($0)"))) })
                    }
                }
            }
        }
    }

    @Test func scriptsAreLoadedAndFactsAreRead() async throws {
        var options = RedisServerOptions()
        (options.appendOnly, options.maxMemory) = (.always, 64 << 20)
        let server = try await RedisServer.started(options)
        try await withRedisClient(server.address, scripts: ["#!lua\nreturn {1, 'two', {3}}", "return ARGV[1]"]) { client in
            try await client.waitUntilReady()
            let hashes = await client.scriptHashes
            #expect(hashes.count == 2 && hashes.allSatisfy { $0.utf8.count == 40 })
            let results = await client.send([RedisRequest("EVALSHA", hashes[0], "0"), RedisRequest("EVALSHA", hashes[1], "0", "x")])
            let string = { RedisReply.string(ByteBuffer(string: $0)) }
            #expect(results == [.success(.array([.integer(1), string("two"), .array([.integer(3)])])), .success(string("x"))])
            let (facts, info) = (try #require(await client.facts), try server.info())
            #expect(facts.version == info["redis_version"] && facts.role == "master" && facts.runID == info["run_id"] && facts.processID != nil)
            #expect(facts.replicationID == info["master_replid"] && facts.appendFsync == "always" && facts.aofEnabled)
            #expect(facts.maxMemoryPolicy == "noeviction" && facts.maxMemory == 64 << 20 && facts.usedMemory > 0)
            #expect(facts.warnings(at: "x") == [])
            #expect(try server.command("CLIENT LIST").string?.contains("name=realertime") == true)
        }
    }

    @Test func aDatabaseAndAUserAreUsed() async throws {
        var options = RedisServerOptions()
        options.users = ["app on >p@ss:w/rd% ~* &* +@all -config -client"]
        let (server, logs) = (try await RedisServer.started(options), LogLines())
        let address = try RedisAddress("redis://app:p%40ss:w/rd%25@localhost:\(server.port)/3")
        try await withRedisClient(address, logs: logs) { client in
            try await client.waitUntilReady()
            #expect(try await client.send("INCR", "key") == .integer(1))
            #expect(try server.info("keyspace")["db3"] != nil)
            // This user may not ask for settings.
            let facts = try #require(await client.facts)
            #expect(facts.appendFsync == nil && facts.maxMemoryPolicy == "noeviction")
        }
        #expect(!logs.lines.isEmpty && !logs.lines.contains { $0.contains("w/rd") }, "\(logs.lines)")
    }

    @Test func aKilledServerComesBack() async throws {
        let (server, logs) = (try await RedisServer.started(), LogLines())
        try await withRedisClient(server.address, logs: logs) { client in
            try await client.waitUntilReady()
            let first = await client.facts?.runID
            #expect(await client.generation == 1)
            server.kill()
            try await client.waitForProblem("cannot be reached")
            #expect(await client.facts == nil)
            let result = await client.send([RedisRequest("GET", "key")])[0]
            guard case .failure(.notSent(let sentence)) = result else { return #expect(Bool(false), "\(result)") }
            #expect(sentence.contains("127.0.0.1:\(server.port)"))
            try await server.start()
            try await client.waitUntilReady()
            #expect(await client.generation == 2)
            #expect(await client.facts?.runID != first)
            #expect(try await client.send("GET", "key") == .null)
        }
        for (line, count) in [("info: Redis is connected", 1), ("warning: Redis is not connected", 1), ("info: Redis is back", 1)] {
            #expect(logs.lines.count { $0.hasPrefix(line) } == count, "\(logs.lines)")
        }
    }

    // MARK: - Refusals

    /// Waits until the client refuses the server, changes the server, and waits until the client uses it.
    private func refused(_ server: RedisServer, _ address: RedisAddress, because part: String, until change: (RedisServer) throws -> Void) async throws {
        let logs = LogLines()
        try await withRedisClient(address, logs: logs) { client in
            try await client.waitForProblem(part)
            #expect(await client.facts == nil)
            let result = await client.send([RedisRequest("PING")])[0]
            guard case .failure(.notSent(let sentence)) = result else { return #expect(Bool(false), "\(result)") }
            #expect(sentence.contains(part) && sentence.contains(":\(server.port)"), "\(sentence)")
            // Several attempts are one line.
            let attempts = try Int(server.info("stats")["total_connections_received"] ?? "")
            try await eventually("no further attempts") { try Int(server.info("stats")["total_connections_received"] ?? "")! > attempts! + 12 }
            #expect(logs.lines.count { $0.hasPrefix("error: Redis is refused") && $0.contains(part) } == 1, "\(logs.lines)")
            try change(server)
            try await client.waitUntilReady()
            #expect(try await client.send("INCR", "key") == .integer(1))
            #expect(logs.lines.count { $0.hasPrefix("info: Redis is back") } == 1, "\(logs.lines)")
        }
        #expect(!logs.lines.contains { $0.contains("hunter2") || $0.contains("hunter3") }, "\(logs.lines)")
    }

    @Test func aServerThatEvictsIsRefused() async throws {
        var options = RedisServerOptions()
        options.maxMemoryPolicy = "allkeys-lru"
        let server = try await RedisServer.started(options)
        try await self.refused(server, server.address, because: "set it to noeviction") { try $0.command("CONFIG SET maxmemory-policy noeviction") }
    }

    @Test func aReplicaIsRefusedUntilItIsPromoted() async throws {
        let primary = try await RedisServer.started()
        var options = RedisServerOptions()
        options.replicaOf = primary.port
        let replica = try await RedisServer.started(options)
        try await self.refused(replica, replica.address, because: "is not a master") { try $0.promote() }
    }

    @Test func aWrongPasswordIsRefused() async throws {
        var options = RedisServerOptions()
        options.password = "hunter3"
        let server = try await RedisServer.started(options)
        let address = try RedisAddress("redis://:hunter2@127.0.0.1:\(server.port)")
        try await self.refused(server, address, because: "does not accept the user and the password of the URL (WRONGPASS)") {
            try $0.command("CONFIG SET requirepass hunter2")
        }
    }

    @Test func aMissingPasswordIsRefused() async throws {
        var options = RedisServerOptions()
        options.password = "hunter3"
        let server = try await RedisServer.started(options)
        try await self.refused(server, server.address, because: "requires a password") { try $0.command(["CONFIG", "SET", "requirepass", ""]) }
    }

    @Test func aServerWithoutRoomForClientsIsWaitedFor() async throws {
        let server = try await RedisServer.started()
        let other = try #require(RESPConnection(to: server.port))
        #expect(try server.command("CONFIG SET maxclients 1") == .status("OK"))
        try await eventually("only one client") { try other.command("INFO clients").string?.contains("connected_clients:1\r\n") == true }
        try await withRedisClient(server.address) { client in
            try await client.waitForProblem("has reached its maxclients")
            #expect(try other.command("CONFIG SET maxclients 100") == .status("OK"))
            try await client.waitUntilReady()
        }
    }

    /// Nothing is sent meanwhile: the client asks by itself.
    @Test func aServerThatChangesIsNoticed() async throws {
        let server = try await RedisServer.started()
        var settings = RedisClientSettings.eager
        settings.factsInterval = .milliseconds(20)
        try await withRedisClient(server.address, settings) { client in
            try await client.waitUntilReady()
            try server.command("CONFIG SET maxmemory 123456789")
            try await eventually("new facts") { await client.facts?.maxMemory == 123_456_789 }
            #expect(await client.generation == 1)
            try server.command("CONFIG SET maxmemory-policy allkeys-lru")
            try await client.waitForProblem("set it to noeviction")
            try server.command("CONFIG SET maxmemory-policy noeviction")
            try await client.waitUntilReady()
        }
    }

    @Test func aServerThatBecomesAReplicaIsLeft() async throws {
        let (server, primary) = (try await RedisServer.started(), try await RedisServer.started())
        try await withRedisClient(server.address) { client in
            try await client.waitUntilReady()
            try server.command("REPLICAOF 127.0.0.1 \(primary.port)")
            let results = await client.send([RedisRequest("SET", "a", "1"), RedisRequest("SET", "a", "2")])
            // The second may come after the connection has been dropped.
            guard case .failure(.notSent(let sentence)) = results[0], case .failure = results[1] else { return #expect(Bool(false), "\(results)") }
            #expect(sentence.contains("replica"))
            try await client.waitForProblem("is not a master")
        }
    }

    @Test func aFullMemoryIsNotSent() async throws {
        let server = try await RedisServer.started()
        let script = "#!lua\nreturn redis.call('SET', KEYS[1], ARGV[1])"
        try await withRedisClient(server.address, scripts: [script, "return redis.call('SET', KEYS[1], ARGV[1])"]) { client in
            try await client.waitUntilReady()
            try server.command("CONFIG SET maxmemory 1")
            let hashes = await client.scriptHashes
            let results = await client.send(hashes.map { RedisRequest("EVALSHA", $0, "1", "key", "x") } + [RedisRequest("SET", "key", "x")])
            for index in [0, 2] {
                guard case .failure(.notSent(let sentence)) = results[index] else { return #expect(Bool(false), "\(results)") }
                #expect(sentence.contains("has reached its maxmemory"))
            }
            // From inside a script, which may have written before.
            #expect(try results[1].get().errorCode == "OOM")
            #expect(await client.generation == 1)
            #expect(await client.problem == nil)
        }
    }

    @Test func aWarningIsLoggedOnceUntilItChanges() async throws {
        let (server, logs) = (try await RedisServer.started(), LogLines())
        var settings = RedisClientSettings.eager
        settings.factsInterval = .milliseconds(10)
        let warnings = { (part: String) in logs.lines.count { $0.hasPrefix("warning") && $0.contains(part) } }
        try await withRedisClient(server.address, settings, logs: logs) { client in
            try await client.waitUntilReady()
            #expect(warnings("appendonly off") == 1)
            for memory in 1...5 {
                try server.command("CONFIG SET maxmemory \(memory * 100_000_000)")
                try await eventually("new facts") { await client.facts?.maxMemory == UInt64(memory * 100_000_000) }
            }
            try await server.restart()
            try await eventually("back") { await client.generation == 2 }
            #expect(warnings("appendonly off") == 1)
            try server.command("CONFIG SET appendonly yes")
            try await eventually("no warning") { await client.facts?.aofEnabled == true }
            try server.command("CONFIG SET appendonly no")
            try await eventually("the warning again") { warnings("appendonly off") == 2 }
        }
    }

    // MARK: - Closing

    @Test func aClosedClientSendsNothing() async throws {
        let server = try await RedisServer.started()
        let logs = LogLines()
        try await withRedisClient(server.address, logs: logs) { client in
            try await client.waitUntilReady()
            server.stop()
            async let waiting = client.send([RedisRequest("INCR", "a")])
            try await eventually("sent") { await client.waitingRequests == 1 }
            await client.close()
            let sentence = "this node has closed its connection to Redis at 127.0.0.1:\(server.port)"
            #expect(await waiting == [.failure(.noReply(sentence))])
            #expect(await client.send([RedisRequest("INCR", "a")]) == [.failure(.notSent(sentence))])
            await client.start()
            #expect(await client.problem == sentence)
        }
        server.cont()
        try await eventually("the server sees the end") { try server.command("CLIENT LIST").string?.contains("name=realertime") == false }
        #expect(!logs.lines.contains { $0.hasPrefix("warning: Redis is not connected") }, "\(logs.lines)")
    }

    @Test func aClientIsClosedInAnyState() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let (silent, refusing) = (LoopbackSocket.listening(), LoopbackSocket.refusing())
        for port in [silent.port, refusing.port] {
            for turns in 0..<30 {
                let client = RedisClient(
                    address: try RedisAddress("redis://localhost:\(port)"), loop: loop, settings: .eager, scripts: [], log: LogLines().logger)
                if turns > 0 { await client.start() }
                for _ in 1..<max(turns, 1) { await Task.yield() }
                await client.close()
                #expect(await client.problem?.contains("has closed") == true)
            }
        }
    }
}
