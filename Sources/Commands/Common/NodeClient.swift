import JSON
import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A complete response.
struct Answer: Sendable {
    var status: Int
    var headers: HTTPHeaders
    var body: [UInt8]

    var text: String { String(decoding: self.body, as: UTF8.self) }

    /// The node's error message, if it is an error of the node; escaped.
    var errorMessage: String? {
        var fields = harmlessJSON(self.body)?.fields
        var error = fields?.take("error")?.fields
        return error?.text("message")
    }

    /// `400: the channel …`, without a full stop.
    var complaint: String {
        var words = "\(self.status)" + (self.errorMessage.map { ": \($0)" } ?? "")
        while words.hasSuffix(".") { words.removeLast() }
        return words
    }

    var retryAfter: Duration? {
        self.headers.first(name: "retry-after").flatMap { Int($0) }.map { .seconds(min(max($0, 0), 3600)) }
    }
}

/// The nodes that can be used, and the current one.
final class Nodes: Sendable {
    let bases: [BaseURL]
    private let index = Mutex(0)

    init(_ bases: [BaseURL]) {
        precondition(!bases.isEmpty, "There is a node to ask")
        self.bases = bases
    }

    var current: BaseURL { self.bases[self.index.withLock { $0 }] }

    /// Switches to the node after `base`. Returns false if another request has switched in the meantime.
    func next(after base: BaseURL) -> Bool {
        self.index.withLock { index in
            guard self.bases[index] == base else { return false }
            index = (index + 1) % self.bases.count
            return true
        }
    }
}

/// Requests to a node with immediate responses.
struct NodeClient: Sendable {
    private static let answerBytesMax = 64 * 1024 * 1024

    private let nodes: Nodes
    /// The current node.
    var base: BaseURL { self.nodes.current }
    var token: String?
    var http: HTTPClient
    /// How long one node's response may take.
    var timeout: Duration
    /// Reports the switch to another node.
    var notices = Terminal.standardError

    /// Whether another node could respond as well.
    private let isAny: Bool

    init(base: BaseURL, token: String?, http: HTTPClient, timeout: Duration) {
        self.init([base], isAny: false, token, http, timeout)
    }

    /// - Parameter bases: nodes that can replace each other. The first is used until it cannot be reached, then the next.
    init(any bases: [BaseURL], token: String?, http: HTTPClient, timeout: Duration) {
        self.init(bases, isAny: true, token, http, timeout)
    }

    /// How long one connect may take. A node that does not accept is skipped before the time for the response is over.
    static func connectTimeout(within timeout: Duration, nodes: Int = 1) -> Duration {
        min(.seconds(10), timeout) * 4 / (5 * max(nodes, 1))
    }

    private init(_ bases: [BaseURL], isAny: Bool, _ token: String?, _ http: HTTPClient, _ timeout: Duration) {
        self.nodes = Nodes(bases)
        self.isAny = isAny
        self.token = token
        self.http = http
        self.timeout = timeout
    }

    func get(_ path: String, headers: [(String, String)] = []) async throws -> Answer {
        try await self.send(.GET, path, headers: headers)
    }

    func post(_ path: String, _ body: [UInt8], headers: [(String, String)] = []) async throws -> Answer {
        try await self.send(.POST, path, headers: headers, body: body)
    }

    /// The status and headers of a streaming response.
    func head(_ path: String) async throws -> Answer {
        let request = HTTPClientRequest(url: self.base.description + path)
        let http = self.http
        do {
            return try await withTimeout(self.timeout) {
                let response = try await http.execute(request, deadline: .distantFuture)
                return Answer(status: Int(response.status.code), headers: response.headers, body: [])
            }
        } catch {
            throw unreachable(self.base, error)
        }
    }

    /// Tries one node after the other until one responds. A change goes to another node only if the previous one cannot have received it.
    func send(_ method: HTTPMethod, _ path: String, headers: [(String, String)] = [], body: [UInt8]? = nil) async throws -> Answer {
        var failures: [Failure] = []
        while true {
            let base = self.base
            do {
                return try await self.send(method, base, path, headers: headers, body: body)
            } catch let failure as Failure where failure.status == .unreachable && (method == .GET || failure.isBeforeSending) {
                failures.append(failure)
                let isFirst = self.nodes.next(after: base)
                guard failures.count < self.nodes.bases.count else { break }
                if isFirst { self.notices.say("\(base) cannot be reached (\(failure.cause ?? "")): asking \(self.base).") }
            }
        }
        guard failures.count > 1 else {
            if self.isAny { failures[0].message += " Any other node of a cluster can be asked: --api takes several, with commas between them." }
            throw failures[0]
        }
        let causes = failures.map { $0.cause ?? $0.message }
        let words = Set(causes).count == 1 ? causes[0] : causes.joined(separator: "; ")
        let list = self.nodes.bases.map(\.description).joined(separator: ", ")
        throw Failure(.unreachable, "Cannot reach any of \(list): \(words). Are the nodes running, and are the addresses right?", cause: words)
    }

    private func send(_ method: HTTPMethod, _ base: BaseURL, _ path: String, headers: [(String, String)], body: [UInt8]?) async throws -> Answer {
        var request = HTTPClientRequest(url: base.description + path)
        request.method = method
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        if let body { request.body = .bytes(body) }
        let prepared = request
        let http = self.http
        do {
            return try await withTimeout(self.timeout) {
                let response = try await http.execute(prepared, deadline: .distantFuture)
                let body = try await response.body.collect(upTo: NodeClient.answerBytesMax)
                return Answer(status: Int(response.status.code), headers: response.headers, body: Array(body.readableBytesView))
            }
        } catch {
            throw unreachable(base, error)
        }
    }

    /// The response if it is a success, else a failure with the node's message and what to do.
    func expectOK(_ answer: Answer, for what: String) throws -> Answer {
        guard answer.status != 401 else {
            throw Failure(
                .critical,
                "\(self.base) does not take the API token it was given, or was given none: set REALERTIME_API_TOKEN or --api-token-file to the node's api-token."
            )
        }
        guard answer.status == 200 else {
            throw Failure(.critical, "\(self.base) answered \(what) with \(answer.complaint).")
        }
        return answer
    }
}

/// The failure, as a message with what to do.
func unreachable(_ base: BaseURL, _ error: any Error) -> any Error {
    if error is any OwnError || Task.isCancelled { return error }
    let cause = reason(error)
    var failure = Failure(.unreachable, "Cannot reach \(base): \(cause). Is the node running, and is the address right?", cause: cause)
    failure.isBeforeSending = isConnecting(error)
    return failure
}

/// Whether the connection was never open, so that nothing can have arrived.
private func isConnecting(_ error: any Error) -> Bool {
    switch error {
    case is NIOConnectionError: true
    case let error as HTTPClientError: error == .connectTimeout || error == .getConnectionFromPoolTimeout
    case let error as ChannelError: if case .connectTimeout = error { true } else { false }
    case let error as IOError: error.errnoCode == ECONNREFUSED || error.errnoCode == EHOSTUNREACH || error.errnoCode == ENETUNREACH
    default: false
    }
}

/// The text of a network error, without type names.
func reason(_ error: any Error) -> String {
    switch error {
    case is TimedOut: return "no answer in time"
    case let error as IOError: return systemWords(error)
    case let error as NIOConnectionError:
        guard let first = error.connectionErrors.first else { return "the name \(error.host) is not known" }
        return reason(first.error)
    case let error as HTTPClientError where error == .connectTimeout || error == .getConnectionFromPoolTimeout: return "no connection in time"
    case let error as HTTPClientError where error == .remoteConnectionClosed: return "the connection was closed"
    case let error as HTTPClientError where error == .readTimeout: return "nothing came for too long"
    case let error as ChannelError:
        if case .connectTimeout = error { return "no connection in time" }
        return "the connection was closed"
    default: return "\(error)"
    }
}

private func systemWords(_ error: IOError) -> String {
    String(cString: strerror(error.errnoCode)).lowercased()
}

/// Runs `body` with a client for all the requests of a command.
///
/// - Parameter connect: how long one connect may take. The client cannot be closed before its connects have ended.
func withHTTPClient<Result>(
    connect: Duration = .seconds(10), idle: Duration = .seconds(90), _ body: (HTTPClient) async throws -> Result
) async throws -> Result {
    var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
    configuration.timeout = .init(
        connect: .milliseconds(max(1, Int64(connect.seconds * 1000))), read: .milliseconds(Int64(idle.seconds * 1000)))
    // A refused connection is final here: the commands report it, or wait by their own rules.
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.httpVersion = .http1Only
    return try await HTTPClient.withHTTPClient(eventLoopGroup: MultiThreadedEventLoopGroup.singleton, configuration: configuration, body)
}
