import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOConcurrencyHelpers

/// The nodes that a command may use, and the node that the command uses now.
final class NodeList: Sendable {
    let bases: [BaseURL]
    private let index = NIOLockedValueBox(0)

    init(_ bases: [BaseURL]) {
        precondition(!bases.isEmpty, "A list of nodes has at least one node")
        self.bases = bases
    }

    var current: BaseURL { self.bases[self.index.withLockedValue { $0 }] }

    /// Switches to the node after `base`. Returns false if a concurrent request has already switched.
    func next(after base: BaseURL) -> Bool {
        self.index.withLockedValue { index in
            guard self.bases[index] == base else { return false }
            index = (index + 1) % self.bases.count
            return true
        }
    }
}

/// Sends requests to a node and waits for complete responses. ``Subscription`` reads the response of a subscription, because that response does not end.
struct NodeClient: Sendable {
    private let nodes: NodeList
    /// The node that is used now.
    var base: BaseURL { self.nodes.current }
    var token: String?
    var http: HTTPClient
    /// The time limit for one node's response.
    var timeout: Duration
    /// Where a switch to another node is reported.
    var notices = Terminal.standardError

    /// Whether every node of the cluster gives the same response.
    private let isAny: Bool

    init(base: BaseURL, token: String?, http: HTTPClient, timeout: Duration) {
        self.init([base], isAny: false, token, http, timeout)
    }

    /// - Parameter bases: nodes that can replace each other. The first node is used until it is unreachable, then the next node.
    init(any bases: [BaseURL], token: String?, http: HTTPClient, timeout: Duration) {
        self.init(bases, isAny: true, token, http, timeout)
    }

    private init(_ bases: [BaseURL], isAny: Bool, _ token: String?, _ http: HTTPClient, _ timeout: Duration) {
        self.nodes = NodeList(bases)
        self.isAny = isAny
        self.token = token
        self.http = http
        self.timeout = timeout
    }

    func get(_ path: String) async throws -> Response { try await self.send(Request(path: path)) }

    func post(_ path: String, _ body: [UInt8], headers: [(name: String, value: String)] = []) async throws -> Response {
        try await self.send(Request(method: .POST, path: path, headers: headers, body: body))
    }

    /// The response to a GET request. Any other status than 200 is an error.
    func expect(_ path: String) async throws -> Response { try self.expectOK(await self.get(path), for: path) }

    /// The status and the headers of a response whose body does not end.
    func head(_ path: String) async throws -> Response {
        try await self.execute(Request(path: path), at: self.base) { Response(status: Int($0.status.code), headers: $0.headers, body: []) }
    }

    /// Tries the nodes in order until one responds. A change goes to the next node only if the previous node cannot have received it.
    func send(_ request: Request) async throws -> Response {
        var request = request
        request.token = self.token
        var failures: [CommandError] = []
        while true {
            let base = self.base
            do {
                return try await self.execute(request, at: base) { try await Response($0) }
            } catch let failure as CommandError where failure.status == .unreachable && (request.method == .GET || failure.isBeforeSending) {
                failures.append(failure)
                let hasSwitched = self.nodes.next(after: base)
                guard failures.count < self.nodes.bases.count else { break }
                if hasSwitched { self.notices.printSentence("\(base) cannot be reached (\(failure.cause ?? "")). Trying \(self.base).") }
            }
        }
        guard failures.count > 1 else {
            if self.isAny { failures[0].message += " Any other node of the cluster can be used: --api accepts several URLs, separated by commas." }
            throw failures[0]
        }
        let causes = failures.map { $0.cause ?? $0.message }
        let cause = Set(causes).count == 1 ? causes[0] : causes.joined(separator: "; ")
        let list = self.nodes.bases.map(\.description).joined(separator: ", ")
        throw CommandError(.unreachable, "Cannot reach any of \(list): \(cause). Are the nodes running, and are the addresses correct?", cause: cause)
    }

    private func execute(
        _ request: Request, at base: BaseURL, _ read: @escaping @Sendable (HTTPClientResponse) async throws -> Response
    ) async throws -> Response {
        let (request, http) = (request.clientRequest(to: base), self.http)
        do {
            return try await withTimeout(self.timeout) { try await read(http.execute(request, deadline: .distantFuture)) }
        } catch {
            throw unreachable(base, error)
        }
    }

    /// Returns the response if its status is 200. Throws an error with the node's message and advice for any other status.
    func expectOK(_ response: Response, for what: String) throws -> Response {
        guard response.status != 401 else { throw CommandError.tokenRefused(by: "\(self.base)") }
        guard response.status == 200 else { throw CommandError(.critical, "\(self.base) returned \(response.failureText(for: what)).") }
        return response
    }
}
