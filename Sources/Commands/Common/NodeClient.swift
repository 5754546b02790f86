import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// An answer, all of it.
struct Answer: Sendable {
    var status: Int
    var headers: HTTPHeaders
    var body: [UInt8]

    var text: String { String(decoding: self.body, as: UTF8.self) }

    /// The node's own words, if it is an error of the node.
    var errorMessage: String? {
        guard let error = RawJSON.members(self.body)?["error"], let message = RawJSON.members(error)?["message"] else { return nil }
        return RawJSON.string(message)
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

/// Requests to a node that are answered at once.
struct NodeClient: Sendable {
    private static let answerBytesMax = 64 * 1024 * 1024

    var base: BaseURL
    var token: String?
    var http: HTTPClient
    var timeout: Duration

    func get(_ path: String, headers: [(String, String)] = []) async throws -> Answer {
        try await self.send(.GET, path, headers: headers)
    }

    func post(_ path: String, _ body: [UInt8], headers: [(String, String)] = []) async throws -> Answer {
        try await self.send(.POST, path, headers: headers, body: body)
    }

    /// The status and headers of an answer that has no end.
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

    func send(_ method: HTTPMethod, _ path: String, headers: [(String, String)] = [], body: [UInt8]? = nil) async throws -> Answer {
        var request = HTTPClientRequest(url: self.base.description + path)
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
            throw unreachable(self.base, error)
        }
    }

    /// The answer if it is the one hoped for, else the node's own complaint and what to do.
    func expectOK(_ answer: Answer, for what: String) throws -> Answer {
        guard answer.status != 401 else {
            throw Failure(
                .critical, "\(self.base) does not take the API token it was given, or was given none: set REALERTIME_API_TOKEN to the node's api-token.")
        }
        guard answer.status == 200 else {
            throw Failure(.critical, "\(self.base) answered \(what) with \(answer.complaint).")
        }
        return answer
    }
}

/// What happened, in words a person can act on.
func unreachable(_ base: BaseURL, _ error: any Error) -> any Error {
    if error is any OwnError || Task.isCancelled { return error }
    let cause = reason(error)
    return Failure(.unreachable, "Cannot reach \(base): \(cause). Is the node running, and is the address right?", cause: cause)
}

/// An error of the network, without the types around it.
func reason(_ error: any Error) -> String {
    switch error {
    case is TimedOut: return "no answer in time"
    case let error as IOError: return systemWords(error)
    case let error as NIOConnectionError:
        guard let first = error.connectionErrors.first else { return "the name \(error.host) is not known" }
        return reason(first.error)
    case let error as HTTPClientError where error == .connectTimeout: return "no connection in time"
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
func withHTTPClient<Result>(idle: Duration = .seconds(90), _ body: (HTTPClient) async throws -> Result) async throws -> Result {
    var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
    configuration.timeout = .init(connect: .seconds(10), read: .milliseconds(Int64(idle.seconds * 1000)))
    // A refused connection is an answer: the commands say so, or wait by their own rules.
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.httpVersion = .http1Only
    return try await HTTPClient.withHTTPClient(eventLoopGroup: MultiThreadedEventLoopGroup.singleton, configuration: configuration, body)
}
