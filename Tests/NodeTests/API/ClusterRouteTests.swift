import Coordination
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Storage
import Testing

@testable import Node
@testable import Pipeline

/// Answers what a test says, and remembers what it was asked.
private final class FakeCluster: ClusterAsking {
    let partitionCount: Int
    private let reply: @Sendable (ClusterQuestion) async -> ClusterAnswer
    private let questions = NIOLockedValueBox<[ClusterQuestion]>([])

    init(partitionCount: Int = 256, _ reply: @escaping @Sendable (ClusterQuestion) async -> ClusterAnswer) {
        self.partitionCount = partitionCount
        self.reply = reply
    }

    var asked: [ClusterQuestion] { self.questions.withLockedValue { $0 } }

    func ask(_ question: ClusterQuestion) async -> ClusterAnswer {
        self.questions.withLockedValue { $0.append(question) }
        return await self.reply(question)
    }
}

/// A connection of the API port, on a loop of its own.
private struct Connection {
    let channel: NIOAsyncTestingChannel

    init(_ cluster: (any ClusterAsking)?, token: String? = nil) async throws {
        var configuration = NodeConfiguration()
        configuration.apiToken = token
        let shared = NodeShared(configuration: configuration, descriptors: .forTests, version: "0", commit: "c", startedAt: 0)
        shared.cluster = cluster
        let loop = NIOAsyncTestingEventLoop()
        let channel = NIOAsyncTestingChannel(loop: loop)
        self.channel = channel
        let limits = configuration.limits
        try await loop.executeInContext {
            let sequencer = Sequencer(loop: loop, log: MemoryLog(limits: limits), limits: limits, clocks: Clocks(wall: { 0 }, steady: { 0 }))
            let context = LoopContext(
                loop: loop, fanout: Fanout(loop: loop, index: 0, owner: sequencer, limits: limits), publisher: Publisher(loop: loop, owner: sequencer),
                sequencer: sequencer, shared: shared)
            try channel.pipeline.syncOperations.addHandler(APIHandler(loop: context, isOverLimit: false))
        }
        try await channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).get()
    }

    /// Everything that comes back until `count` answers have.
    func send(_ text: String, answers count: Int = 1) async throws -> String {
        try await self.channel.writeInbound(ByteBuffer(string: text))
        var received = ""
        let deadline = ContinuousClock.now + .seconds(60)
        while received.ranges(of: "HTTP/1.1 ").count < count, ContinuousClock.now < deadline {
            await self.channel.testingEventLoop.run()
            while let part = try await self.channel.readOutbound(as: ByteBuffer.self) { received += String(buffer: part) }
            try await Task.sleep(for: .milliseconds(1))
        }
        return received
    }

    func request(_ method: String, _ target: String, _ body: String = "", fields: String = "") async throws -> String {
        try await self.send("\(method) \(target) HTTP/1.1\r\nHost: h\r\n\(fields)Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
    }
}

@Suite struct ClusterRouteTests {
    private static let done: @Sendable (ClusterQuestion) async -> ClusterAnswer = { ClusterAnswer(status: 200, body: "{\"result\":\"\($0.kind.rawValue)\"}") }

    @Test(
        arguments: [
            ("GET", "/api/cluster", "", ClusterQuestion(.status)), ("GET", "/api/members", "", ClusterQuestion(.members)),
            ("GET", "/api/partitions", "", ClusterQuestion(.partitions)), ("GET", "/api/plan", "", ClusterQuestion(.plan)),
            ("GET", "/api/events", "", ClusterQuestion(.events)), ("GET", "/api/events?after=12", "", ClusterQuestion(.events, after: 12)),
            ("GET", "/api/locate?channel=thread%3A42", "", ClusterQuestion(.locate, partition: 108)),
            ("POST", "/api/rebalance", "", ClusterQuestion(.rebalance)), ("POST", "/api/rebalance/pause", "{}", ClusterQuestion(.pause)),
            ("POST", "/api/rebalance/resume", "{\"by\":\"ann\"}", ClusterQuestion(.resume, by: "ann")),
            ("POST", "/api/drain", "{\"node\":\"n1\",\"by\":\"ann\",\"note\":\"why\"}", ClusterQuestion(.drain, node: "n1", by: "ann", note: "why")),
            ("POST", "/api/undrain", "{\"node\":\"n1\"}", ClusterQuestion(.undrain, node: "n1")),
            ("POST", "/api/cordon", "{\"node\":\"n1\"}", ClusterQuestion(.cordon, node: "n1")),
            ("POST", "/api/uncordon", "{\"node\":\"n1\",\"note\":null}", ClusterQuestion(.uncordon, node: "n1")),
            ("POST", "/api/move", "{\"partition\":3,\"node\":\"n1\"}", ClusterQuestion(.move, node: "n1", partition: 3)),
            ("POST", "/api/unpin", "{\"partition\":0}", ClusterQuestion(.unpin, partition: 0)),
            ("POST", "/api/forget", "{\"node\":\"n1\"}", ClusterQuestion(.forget, node: "n1")),
        ])
    func everyRouteAsksItsQuestion(_ method: String, _ target: String, _ body: String, _ question: ClusterQuestion) async throws {
        let cluster = FakeCluster(Self.done)
        let answer = try await Connection(cluster).request(method, target, body)
        #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n") && answer.contains("\"result\":\"\(question.kind.rawValue)\""), "\(answer)")
        #expect(cluster.asked == [question])
    }

    @Test func locateNamesTheChannelAndItsPartition() async throws {
        for count in [1, 7, 256] {
            let cluster = FakeCluster(partitionCount: count, Self.done)
            let answer = try await Connection(cluster).request("GET", "/api/locate?channel=a")
            #expect(answer.hasSuffix("\r\n\r\n{\"channel\":\"a\",\"result\":\"locate\"}"), "\(answer)")
            #expect(cluster.asked.map(\.partition) == [Int(ChannelName("a")!.hash64 % UInt64(count))])
        }
        let answer = try await Connection(FakeCluster(partitionCount: 0, Self.done)).request("GET", "/api/locate?channel=a")
        #expect(answer.hasPrefix("HTTP/1.1 503 ") && answer.contains("Retry-After: 1\r\n"))
    }

    @Test(arguments: [(200, "200 OK"), (400, "400 Bad Request"), (404, "404 Not Found"), (409, "409 Conflict"), (503, "503 Service"), (504, "504 Gateway")])
    func statusesPassThrough(_ status: Int, _ line: String) async throws {
        let cluster = FakeCluster { _ in ClusterAnswer(status: status, body: "{\"error\":{\"code\":\"x\",\"message\":\"y\"}}") }
        for target in ["/api/cluster", "/api/locate?channel=a"] {
            let answer = try await Connection(cluster).request("GET", target)
            #expect(answer.hasPrefix("HTTP/1.1 \(line)") && answer.contains("Retry-After: 1\r\n") == (status == 503), "\(answer)")
            #expect(status == 200 || answer.hasSuffix("\r\n\r\n{\"error\":{\"code\":\"x\",\"message\":\"y\"}}"))
        }
    }

    @Test(
        arguments: [
            ("POST", "/api/cluster", "", "405"), ("DELETE", "/api/members", "", "405"), ("GET", "/api/rebalance", "", "405"), ("PUT", "/api/drain", "", "405"),
            ("GET", "/api/rebalance/now", "", "404"), ("GET", "/api/cluster/", "", "404"), ("GET", "/api/locate", "", "400"),
            ("GET", "/api/locate?channel=a%2Fb", "", "400"), ("GET", "/api/events?after=x", "", "400"), ("POST", "/api/drain", "", "400"),
            ("POST", "/api/drain", "{}", "400"), ("POST", "/api/drain", "{\"node\":\"a b\"}", "400"), ("POST", "/api/drain", "{\"node\":7}", "400"),
            ("POST", "/api/drain", "{\"node\":\"n1\",\"partition\":3}", "400"), ("POST", "/api/drain", "{\"node\":\"n1\"", "400"),
            ("POST", "/api/rebalance", "{\"node\":\"n1\"}", "400"), ("POST", "/api/move", "{\"node\":\"n1\"}", "400"),
            ("POST", "/api/move", "{\"partition\":3}", "400"), ("POST", "/api/move", "{\"partition\":-1,\"node\":\"n1\"}", "400"),
            ("POST", "/api/unpin", "{\"partition\":65536}", "400"), ("POST", "/api/pause", "", "404"),
            ("POST", "/api/cordon", "{\"node\":\"n1\",\"note\":\"a\\u001bb\"}", "400"),
        ])
    func wrongRequestsAreAnsweredHere(_ method: String, _ target: String, _ body: String, _ status: String) async throws {
        let cluster = FakeCluster(Self.done)
        let answer = try await Connection(cluster).request(method, target, body)
        #expect(answer.hasPrefix("HTTP/1.1 \(status) ") && answer.contains("{\"error\":{\"code\":"), "\(answer)")
        #expect(status != "405" || answer.contains("Allow: "))
        #expect(cluster.asked.isEmpty)
    }

    @Test func everythingNeedsTheToken() async throws {
        let cluster = FakeCluster(Self.done)
        for (method, target, body) in [("GET", "/api/cluster", ""), ("POST", "/api/drain", "{\"node\":\"n1\"}")] {
            let connection = try await Connection(cluster, token: "secret")
            #expect(try await connection.request(method, target, body).hasPrefix("HTTP/1.1 401 "))
            #expect(cluster.asked.isEmpty)
        }
        let answer = try await Connection(cluster, token: "secret").request("POST", "/api/rebalance", fields: "Authorization: Bearer secret\r\n")
        #expect(answer.hasPrefix("HTTP/1.1 200 ") && cluster.asked.count == 1)
    }

    @Test func otherPagesMayNotChangeAnything() async throws {
        let cluster = FakeCluster(Self.done)
        let answer = try await Connection(cluster).request("POST", "/api/rebalance", fields: "Origin: https://elsewhere.example\r\n")
        #expect(answer.hasPrefix("HTTP/1.1 403 ") && cluster.asked.isEmpty)
    }

    @Test func beforeTheNodeIsUpItIsUnavailable() async throws {
        let answer = try await Connection(nil).request("GET", "/api/cluster")
        #expect(answer.hasPrefix("HTTP/1.1 503 ") && answer.contains("Retry-After"))
    }

    @Test func answersKeepTheOrderOfTheirRequests() async throws {
        let cluster = FakeCluster { question in
            // The first is the slowest.
            if question.kind == .status { try? await Task.sleep(for: .milliseconds(50)) }
            return ClusterAnswer(status: 200, body: "{\"kind\":\"\(question.kind.rawValue)\"}")
        }
        let requests = ["cluster", "plan", "members"].map { "GET /api/\($0) HTTP/1.1\r\nHost: h\r\n\r\n" }.joined()
        let answer = try await Connection(cluster).send(requests, answers: 3)
        let order = ["status", "plan", "members"].compactMap { answer.firstRange(of: "{\"kind\":\"\($0)\"}")?.lowerBound }
        #expect(order.count == 3 && order == order.sorted())
    }

    @Test func aHeadHasNoBody() async throws {
        let answer = try await Connection(FakeCluster(Self.done)).request("HEAD", "/api/plan")
        #expect(answer.hasPrefix("HTTP/1.1 200 ") && answer.hasSuffix("\r\n\r\n") && answer.contains("Content-Length: 17\r\n"), "\(answer)")
    }
}
