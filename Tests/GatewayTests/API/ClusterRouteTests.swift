import AdminAPI
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Storage
import Testing

@testable import Gateway
@testable import Pipeline

/// A cluster that responds with the result of a closure, and records the requests.
private final class FakeCluster: ClusterAdministration {
    let partitionCount: Int
    private let reply: @Sendable (AdminRequest) async -> AdminResponse
    private let requests = NIOLockedValueBox<[AdminRequest]>([])

    init(partitionCount: Int = 256, _ reply: @escaping @Sendable (AdminRequest) async -> AdminResponse) {
        self.partitionCount = partitionCount
        self.reply = reply
    }

    var received: [AdminRequest] { self.requests.withLockedValue { $0 } }

    func respond(to request: AdminRequest) async -> AdminResponse {
        self.requests.withLockedValue { $0.append(request) }
        return await self.reply(request)
    }
}

/// A connection of the API port. Each connection has its own loop.
private struct Connection {
    let channel: NIOAsyncTestingChannel

    init(_ cluster: (any ClusterAdministration)?, token: String? = nil) async throws {
        let loop = NIOAsyncTestingEventLoop()
        let channel = NIOAsyncTestingChannel(loop: loop)
        self.channel = channel
        let limits = Limits()
        try await loop.executeInContext {
            let log = MemoryLog(limits: limits)
            let sequencers = Sequencers(loops: [loop], log: log, limits: limits, clocks: Clocks(wall: { 0 }, steady: { 0 }))
            let context = LoopContext(loop: loop, fanout: Fanout(loop: loop, id: .loop(0), router: sequencers.router, limits: limits), limits: limits)
            let services = APIServices.forTests(FakeNode(cluster: cluster), token: token, channels: sequencers)
            let port = APIPort(loop: context, publisher: Publisher(loop: loop, router: sequencers.router), services: services)
            try channel.pipeline.syncOperations.addHandler(APIHandler(port: port, isOverLimit: false))
        }
        try await channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).get()
    }

    /// Sends the text. Returns all received bytes after `count` responses have arrived.
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
    private static let done: @Sendable (AdminRequest) async -> AdminResponse = {
        .accepted(AcceptedChange(result: $0.kind.rawValue, through: "n1"))
    }

    @Test(
        arguments: [
            ("GET", "/api/cluster", "", AdminRequest(.status)), ("GET", "/api/members", "", AdminRequest(.members)),
            ("GET", "/api/partitions", "", AdminRequest(.partitions)), ("GET", "/api/plan", "", AdminRequest(.plan)),
            ("GET", "/api/events", "", AdminRequest(.events)), ("GET", "/api/events?after=12", "", AdminRequest(.events, after: 12)),
            ("GET", "/api/locate?channel=thread%3A42", "", AdminRequest(.locate, partition: 108, channel: "thread:42")),
            ("POST", "/api/rebalance", "", AdminRequest(.rebalance)), ("POST", "/api/rebalance/pause", "{}", AdminRequest(.pause)),
            ("POST", "/api/rebalance/resume", "{\"by\":\"ann\"}", AdminRequest(.resume, by: "ann")),
            ("POST", "/api/drain", "{\"node\":\"n1\",\"by\":\"ann\",\"note\":\"why\"}", AdminRequest(.drain, node: "n1", by: "ann", note: "why")),
            ("POST", "/api/undrain", "{\"node\":\"n1\"}", AdminRequest(.undrain, node: "n1")),
            ("POST", "/api/cordon", "{\"node\":\"n1\"}", AdminRequest(.cordon, node: "n1")),
            ("POST", "/api/uncordon", "{\"node\":\"n1\",\"note\":null}", AdminRequest(.uncordon, node: "n1")),
            ("POST", "/api/move", "{\"partition\":3,\"node\":\"n1\"}", AdminRequest(.move, node: "n1", partition: 3)),
            ("POST", "/api/unpin", "{\"partition\":0}", AdminRequest(.unpin, partition: 0)),
            ("POST", "/api/forget", "{\"node\":\"n1\"}", AdminRequest(.forget, node: "n1")),
        ])
    func everyRouteBecomesItsAdminRequest(_ method: String, _ target: String, _ body: String, _ request: AdminRequest) async throws {
        let cluster = FakeCluster(Self.done)
        let answer = try await Connection(cluster).request(method, target, body)
        #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n") && answer.contains("\"result\":\"\(request.kind.rawValue)\""), "\(answer)")
        #expect(cluster.received == [request])
    }

    @Test func locateReturnsTheChannelAndItsPartition() async throws {
        for count in [1, 7, 256] {
            let cluster = FakeCluster(partitionCount: count) { request in
                .partitions(ClusterPartitions(head: .forTests, channel: request.channel, partitions: []))
            }
            let answer = try await Connection(cluster).request("GET", "/api/locate?channel=a")
            #expect(answer.contains("\r\n\r\n{\"channel\":\"a\",\"cluster\":\"c\","), "\(answer)")
            #expect(cluster.received.map(\.partition) == [Int(ChannelName("a")!.hash64 % UInt64(count))])
        }
        let answer = try await Connection(FakeCluster(partitionCount: 0, Self.done)).request("GET", "/api/locate?channel=a")
        #expect(answer.hasPrefix("HTTP/1.1 503 ") && answer.contains("Retry-After: 1\r\n"))
    }

    @Test(arguments: AdminError.Code.allCases) func everyErrorCodeHasAnHTTPStatus(_ code: AdminError.Code) async throws {
        let line =
            switch code {
            case .badRequest: "400 Bad Request"
            case .notFound: "404 Not Found"
            case .conflict: "409 Conflict"
            case .timeout: "504 Gateway Timeout"
            case .starting, .stopping, .noController, .noZooKeeper, .notAuthorized: "503 Service Unavailable"
            }
        let cluster = FakeCluster { _ in .failed(code, "y") }
        for target in ["/api/cluster", "/api/locate?channel=a"] {
            let answer = try await Connection(cluster).request("GET", target)
            #expect(answer.hasPrefix("HTTP/1.1 \(line)\r\n") && answer.contains("Retry-After: 1\r\n") == line.hasPrefix("503"), "\(answer)")
            #expect(answer.hasSuffix("\r\n\r\n{\"error\":{\"code\":\"\(code.rawValue)\",\"message\":\"y\"}}"), "\(answer)")
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
    func invalidRequestsAreRefusedBeforeTheCluster(_ method: String, _ target: String, _ body: String, _ status: String) async throws {
        let cluster = FakeCluster(Self.done)
        let answer = try await Connection(cluster).request(method, target, body)
        #expect(answer.hasPrefix("HTTP/1.1 \(status) ") && answer.contains("{\"error\":{\"code\":"), "\(answer)")
        #expect(status != "405" || answer.contains("Allow: "))
        #expect(cluster.received.isEmpty)
    }

    @Test func everyClusterRequestNeedsTheToken() async throws {
        let cluster = FakeCluster(Self.done)
        for (method, target, body) in [("GET", "/api/cluster", ""), ("POST", "/api/drain", "{\"node\":\"n1\"}")] {
            let connection = try await Connection(cluster, token: "secret")
            #expect(try await connection.request(method, target, body).hasPrefix("HTTP/1.1 401 "))
            #expect(cluster.received.isEmpty)
        }
        let answer = try await Connection(cluster, token: "secret").request("POST", "/api/rebalance", fields: "Authorization: Bearer secret\r\n")
        #expect(answer.hasPrefix("HTTP/1.1 200 ") && cluster.received.count == 1)
    }

    @Test func pagesOfOtherOriginsAreRefused() async throws {
        let cluster = FakeCluster(Self.done)
        let answer = try await Connection(cluster).request("POST", "/api/rebalance", fields: "Origin: https://elsewhere.example\r\n")
        #expect(answer.hasPrefix("HTTP/1.1 403 ") && cluster.received.isEmpty)
    }

    @Test func aStartingNodeRespondsWith503() async throws {
        let answer = try await Connection(nil).request("GET", "/api/cluster")
        #expect(answer.hasPrefix("HTTP/1.1 503 ") && answer.contains("Retry-After"))
    }

    @Test func responsesKeepTheOrderOfTheirRequests() async throws {
        let cluster = FakeCluster { request in
            // The first response is the slowest.
            if request.kind == .status { try? await Task.sleep(for: .milliseconds(50)) }
            return .forwarded(json: "{\"kind\":\"\(request.kind.rawValue)\"}")
        }
        let requests = ["cluster", "plan", "members"].map { "GET /api/\($0) HTTP/1.1\r\nHost: h\r\n\r\n" }.joined()
        let answer = try await Connection(cluster).send(requests, answers: 3)
        let order = ["status", "plan", "members"].compactMap { answer.firstRange(of: "{\"kind\":\"\($0)\"}")?.lowerBound }
        #expect(order.count == 3 && order == order.sorted())
    }

    @Test func aResponseToHeadHasNoBody() async throws {
        let answer = try await Connection(FakeCluster(Self.done)).request("HEAD", "/api/plan")
        #expect(answer.hasPrefix("HTTP/1.1 200 ") && answer.hasSuffix("\r\n\r\n") && answer.contains("Content-Length: 32\r\n"), "\(answer)")
    }
}

extension ClusterHead {
    fileprivate static let forTests = ClusterHead(
        cluster: "c", through: "n1", authoritative: true, controller: nil, coordination: .init(.healthy), mode: "normal", viewVersion: 1, viewAgeSeconds: 0)
}
