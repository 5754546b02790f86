import NIOCore
import NIOPosix
import Synchronization
import TestKit
import Testing

@testable import Storage

/// The client with networks and servers that fail.
@Suite(.timeLimit(.minutes(5))) struct RedisClientFaultTests {
    private final class Counts: Sendable {
        let successes = Atomic(0)
        let doubts = Atomic(0)
        let isOver = Atomic(false)
    }

    private func noReply(_ result: Result<RedisReply, RedisRequestError>, _ part: String, at location: SourceLocation = #_sourceLocation) {
        guard case .failure(.noReply(let sentence)) = result else {
            Issue.record("\(result)", sourceLocation: location)
            return
        }
        #expect(sentence.contains(part), "\(sentence)", sourceLocation: location)
    }

    private func notSent(_ result: Result<RedisReply, RedisRequestError>, _ part: String, at location: SourceLocation = #_sourceLocation) {
        guard case .failure(.notSent(let sentence)) = result else {
            Issue.record("\(result)", sourceLocation: location)
            return
        }
        #expect(sentence.contains(part), "\(sentence)", sourceLocation: location)
    }

    private func ready(again client: RedisClient, _ generation: UInt64) async throws {
        try await eventually("connection \(generation)") {
            let current = await client.generation
            return current >= generation
        }
        try await client.waitUntilReady()
    }

    // MARK: - Odd replies

    @Test(arguments: [
        ("$5\r\nab", "closed the connection"), ("*2\r\n:1\r\n", "closed the connection"), ("", "closed the connection"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "does not follow its protocol"), ("*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "does not follow its protocol"),
    ]) func aReplyThatIsNoneEndsTheConnection(text: String, part: String) async throws {
        let server = try await ScriptedRedis { words, _ in words == ["ODD"] ? .last("+first\r\n" + text) : words == ["NEXT"] ? .silence : nil }
        try await withRedisClient(server.address) { client in
            try await client.waitUntilReady()
            let results = await client.send([RedisRequest("ODD"), RedisRequest("NEXT"), RedisRequest("NEXT")])
            #expect(results[0] == .success(.status("first")))
            self.noReply(results[1], part)
            self.noReply(results[2], part)
            try await self.ready(again: client, 2)
            #expect(try await client.send("SET", "x") == .status("OK"))
        }
    }

    @Test func aReplyWithoutARequestEndsTheConnection() async throws {
        let server = try await ScriptedRedis { words, connection in words == ["PUSH"] && connection == 1 ? .bytes("+a\r\n+b\r\n") : nil }
        let logs = LogLines()
        try await withRedisClient(server.address, logs: logs) { client in
            try await client.waitUntilReady()
            #expect(await client.send([RedisRequest("PUSH")]) == [.success(.status("a"))])
            try await self.ready(again: client, 2)
        }
        #expect(logs.lines.contains { $0.contains("a reply came without a request") }, "\(logs.lines)")
    }

    @Test func aReplyBeyondTheBoundEndsTheConnection() async throws {
        let server = try await RedisServer.started()
        var settings = RedisClientSettings.eager
        settings.replyBytesMax = 100_000
        try await withRedisClient(server.address, settings) { client in
            try await client.waitUntilReady()
            let results = await client.send([RedisRequest("SET", "long", String(repeating: "x", count: 200_000)), RedisRequest("GET", "long")])
            #expect(results[0] == .success(.status("OK")))
            self.noReply(results[1], "longer than 100000 bytes")
            try await self.ready(again: client, 2)
        }
    }

    @Test func aServerThatLoadsIsWaitedFor() async throws {
        let isLoading = Atomic(true)
        let error = "-LOADING Redis is loading the dataset in memory\r\n"
        let server = try await ScriptedRedis { words, _ in isLoading.load(ordering: .relaxed) && words.first == "SCRIPT" ? .bytes(error) : nil }
        let logs = LogLines()
        try await withRedisClient(server.address, scripts: ["return 1"], logs: logs) { client in
            try await client.waitForProblem("is loading its data")
            isLoading.store(false, ordering: .relaxed)
            try await client.waitUntilReady()
            #expect(await client.scriptHashes.count == 1)
        }
        #expect(logs.lines.count { $0.contains("is loading its data") } == 1 && !logs.lines.contains { $0.hasPrefix("error") }, "\(logs.lines)")
    }

    @Test(arguments: ["LOADING Redis is loading", "MASTERDOWN Link with MASTER is down", "READONLY You can't write", "NOAUTH Authentication required."])
    func aServerThatIsNoLongerUsableIsLeft(error: String) async throws {
        let server = try await ScriptedRedis { words, connection in words.first == "SET" && connection == 1 ? .bytes("-\(error)\r\n") : nil }
        try await withRedisClient(server.address) { client in
            try await client.waitUntilReady()
            self.notSent(await client.send([RedisRequest("SET", "a", "b")])[0], "Redis at 127.0.0.1")
            try await self.ready(again: client, 2)
            #expect(await client.send([RedisRequest("SET", "a", "b")]) == [.success(.status("OK"))])
        }
    }

    /// A name with several addresses may connect more than once, and a dropped connection may have bytes left.
    @Test func aConnectionThatIsNotInUseIsIgnored() async throws {
        let server = try await ScriptedRedis { _, _ in nil }
        try await withRedisClient(server.address) { client in
            try await client.waitUntilReady()
            await client.received([.status("stray")], on: server.channel)
            await client.lost(.closed, on: server.channel)
            #expect(await client.problem == nil)
            #expect(await client.generation == 1)
            #expect(try await client.send("SET", "a") == .status("OK"))
        }
    }

    // MARK: - Silence

    @Test func theDeadlineEndsTheConnection() async throws {
        let server = try await RedisServer.started()
        var settings = RedisClientSettings.eager
        settings.deadline = .milliseconds(300)
        let logs = LogLines()
        try await withRedisClient(server.address, settings, logs: logs) { client in
            try await client.waitUntilReady()
            let generation = await client.generation
            server.stop()
            await withTaskGroup { group in
                for _ in 0..<5 {
                    group.addTask {
                        for result in await client.send([RedisRequest("INCR", "a"), RedisRequest("INCR", "a")]) { self.noReply(result, "no reply in 300 ms") }
                    }
                }
            }
            // The kernel accepts connections, and nothing replies.
            try await client.waitForProblem("sent no reply to the first requests in 300 ms")
            self.notSent(await client.send([RedisRequest("INCR", "a")])[0], "no reply")
            server.cont()
            try await self.ready(again: client, generation + 1)
            #expect(try await client.send("GET", "a") == .string(ByteBuffer(string: "10")))
        }
    }

    /// Replies keep coming, and one request is never answered: its own time counts, not that of the latest reply.
    @Test func repliesToOthersDoNotPutTheDeadlineOff() async throws {
        let server = try await ScriptedRedis { words, _ in words.first == "HOLD" ? .silence : nil }
        var settings = RedisClientSettings.eager
        settings.deadline = .milliseconds(300)
        try await withRedisClient(server.address, settings) { client in
            try await client.waitUntilReady()
            for _ in 0..<3 { #expect(try await client.send("SET", "a") == .status("OK")) }
            self.noReply(await client.send([RedisRequest("HOLD")])[0], "no reply in 300 ms")
        }
    }

    @Test func bothBoundsRefuseImmediately() async throws {
        let server = try await ScriptedRedis { words, _ in words.first == "HOLD" ? .silence : nil }
        var settings = RedisClientSettings.eager
        (settings.requestsMax, settings.bytesMax) = (4, 1000)
        try await withRedisClient(server.address, settings) { client in
            try await client.waitUntilReady()
            async let held = client.send(Array(repeating: RedisRequest("HOLD"), count: 3))
            try await eventually("sent") { await client.waitingRequests == 3 }
            self.notSent(await client.send([RedisRequest("A"), RedisRequest("B")])[1], "3 requests are waiting for Redis")
            self.notSent(await client.send([RedisRequest("A", String(repeating: "x", count: 1000))])[0], "bytes are waiting for Redis")
            #expect(await client.waitingRequests == 3)
            await client.close()
            for result in await held { self.noReply(result, "has closed") }
        }
    }

    // MARK: - What was executed

    /// A server that is held reads nothing, so the later requests stay in this process. Those that are said to be unsent must not be in Redis.
    @Test func whatIsNotSentIsNotExecuted() async throws {
        let server = try await RedisServer.started()
        var settings = RedisClientSettings.eager
        settings.deadline = .milliseconds(500)
        try await withRedisClient(server.address, settings) { client in
            try await client.waitUntilReady()
            let generation = await client.generation
            server.stop()
            let value = String(repeating: "x", count: 1 << 20)
            let results = await withTaskGroup { group in
                for number in 0..<25 { group.addTask { (number, await client.send([RedisRequest("SET", "\(number)", value)])[0]) } }
                return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
            }
            server.cont()
            try await self.ready(again: client, generation + 1)
            // The server has read all that the old connection left.
            try await eventually("the old connection has ended") {
                try server.command("CLIENT LIST").string!.split(separator: "\n").count { $0.contains("name=realertime") } == 1
            }
            var counts = (noReply: 0, notSent: 0)
            for (number, result) in results {
                switch result {
                case .failure(.noReply): counts.noReply += 1
                case .failure(.notSent):
                    counts.notSent += 1
                    #expect(try server.command("EXISTS \(number)") == .integer(0), "\(number)")
                case .success: #expect(Bool(false))
                }
            }
            #expect(counts.noReply > 0 && counts.notSent > 0, "\(counts)")
        }
    }

    @Test func aLostReplyIsNoReplyAndWasExecuted() async throws {
        let server = try await RedisServer.started()
        try await FaultyProxy.with(to: server.port) { proxy in
            try await withRedisClient(try RedisAddress("redis://127.0.0.1:\(proxy.port)")) { client in
                try await client.waitUntilReady()
                await proxy.dropReplies(ofNext: 1, named: "INCR")
                self.noReply(await client.send([RedisRequest("INCR", "a")])[0], "")
                try await self.ready(again: client, 2)
                #expect(try await client.send("GET", "a") == .string(ByteBuffer(string: "1")))
            }
        }
    }

    /// Every cut in the handshake and in the first requests: no state is stuck, and no result is wrong.
    @Test func aConnectionMayEndAtAnyByte() async throws {
        let server = try await RedisServer.started()
        try await FaultyProxy.with(to: server.port) { proxy in
            try await withRedisClient(try RedisAddress("redis://127.0.0.1:\(proxy.port)"), scripts: ["return 1"]) { client in
                var generation: UInt64 = 0
                for step in 0..<60 {
                    // The next connection ends after these bytes; a handshake has about 5 KB.
                    await proxy.cut()
                    await proxy.cut(afterBytes: step * 137, .toClient)
                    try await eventually("connection \(generation + 1)") { await client.generation > generation }
                    repeat {
                        try await client.waitUntilReady()
                    } while await client.send([RedisRequest("ECHO", "a")]) != [.success(.string(ByteBuffer(string: "a")))]
                    generation = await client.generation
                }
            }
        }
    }

    /// The counter in Redis proves the results: it has every success, and nothing that was not sent.
    @Test func resultsAreTrueWhileTheNetworkFails() async throws {
        let server = try await RedisServer.started()
        var random = SplitMix(seed: 5)
        try await FaultyProxy.with(to: server.port) { proxy in
            try await withRedisClient(try RedisAddress("redis://127.0.0.1:\(proxy.port)")) { client in
                let counts = Counts()
                try await withThrowingTaskGroup { group in
                    for _ in 0..<8 {
                        group.addTask {
                            while !counts.isOver.load(ordering: .relaxed) {
                                for result in await client.send(Array(repeating: RedisRequest("INCR", "a"), count: 3)) {
                                    switch result {
                                    case .success(.integer): counts.successes.add(1, ordering: .relaxed)
                                    case .success(let reply): Issue.record("\(reply)")
                                    case .failure(.noReply): counts.doubts.add(1, ordering: .relaxed)
                                    case .failure(.notSent): await Task.yield()
                                    }
                                }
                            }
                        }
                    }
                    for _ in 0..<40 {
                        try await client.waitUntilReady()
                        let before = counts.successes.load(ordering: .relaxed)
                        try await eventually("work") { counts.successes.load(ordering: .relaxed) > before + 20 }
                        switch random.below(4) {
                        case 0: await proxy.cut()
                        case 1: await proxy.cut(afterBytes: random.below(500), .toServer)
                        case 2: await proxy.cut(afterBytes: random.below(500), .toClient)
                        default: await proxy.dropReplies(ofNext: 1 + random.below(3), named: "INCR")
                        }
                    }
                    counts.isOver.store(true, ordering: .relaxed)
                    try await group.waitForAll()
                }
                let counter = Int(try server.command("GET a").string ?? "") ?? 0
                let (good, unknown) = (counts.successes.load(ordering: .relaxed), counts.doubts.load(ordering: .relaxed))
                #expect(counter >= good && counter <= good + unknown && unknown > 0, "\(counter) with \(good) successes and \(unknown) without a reply")
            }
        }
    }

    @Test func aNameWithoutAnAddressIsAProblem() async throws {
        try await withRedisClient(try RedisAddress("redis://realertime.invalid")) { try await $0.waitForProblem("realertime.invalid has no address") }
    }
}
