import AsyncHTTPClient
import NIOCore
import NIOPosix

/// Opens connections to nodes. The limits are the same for the HTTP client and for connections that this module opens itself.
enum Connecting {
    static let timeoutMax = Duration.seconds(10)

    /// The time limit for one connect. It is shorter than the time limit of a request, so that there is time left for the next node.
    static func timeout(within limit: Duration, nodes: Int = 1) -> Duration {
        min(self.timeoutMax, limit) * 4 / (5 * max(nodes, 1))
    }

    /// Opens a connection without TLS. NIO does not cancel a connect that has begun.
    static func bootstrap(timeout: Duration = Self.timeoutMax) -> ClientBootstrap {
        ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(TimeAmount(timeout))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
    }
}

/// Runs `body` with an HTTP client for all requests of a command.
///
/// - Parameters:
///   - connect: the time limit for one connect. The client waits for its connects before it closes.
///   - idle: the time limit between two reads of a response.
func withHTTPClient<Result>(
    connect: Duration = Connecting.timeoutMax, idle: Duration = .seconds(90), _ body: (HTTPClient) async throws -> Result
) async throws -> Result {
    var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
    configuration.timeout = .init(connect: max(.milliseconds(1), TimeAmount(connect)), read: TimeAmount(idle))
    // The commands decide whether to try again, so the HTTP client must not.
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.httpVersion = .http1Only
    return try await HTTPClient.withHTTPClient(eventLoopGroup: MultiThreadedEventLoopGroup.singleton, configuration: configuration, body)
}

extension APIOptions {
    /// Runs a command's body with a client for the node.
    func withClient<Result>(timeout: Duration, _ body: (NodeClient) async throws -> Result) async throws -> Result {
        let (base, token) = (try self.base(), try self.secret.token())
        return try await withHTTPClient(connect: Connecting.timeout(within: timeout)) { http in
            try await body(NodeClient(base: base, token: token, http: http, timeout: timeout))
        }
    }
}

extension AnyNodeOptions {
    /// Runs a command's body with a client for any of the nodes.
    func withClient<Result>(timeout: Duration, _ body: (NodeClient) async throws -> Result) async throws -> Result {
        let (bases, token) = (try self.bases(), try self.secret.token())
        return try await withHTTPClient(connect: Connecting.timeout(within: timeout, nodes: bases.count)) { http in
            try await body(NodeClient(any: bases, token: token, http: http, timeout: timeout))
        }
    }
}
