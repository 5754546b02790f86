import AsyncHTTPClient
import JSON
import NIOCore
import NIOHTTP1

/// A complete response.
struct Response: Sendable {
    /// The maximum sizes of a node's responses: to a publish, to another request, and to a long-poll. A long-poll may contain many events of the maximum size.
    static let publishBytesMax = 1024 * 1024
    static let bytesMax = 64 * 1024 * 1024
    static let pageBytesMax = 256 * 1024 * 1024

    var status: Int
    var headers: HTTPHeaders
    var body: [UInt8]

    var text: String { String(decoding: self.body, as: UTF8.self) }

    /// The JSON of the body on one line.
    var line: String { String(decoding: self.body.filter { $0 != UInt8(ascii: "\n") }, as: UTF8.self) }

    /// The message of a node's error, escaped for a terminal. Nil if the response is not a node's error.
    var errorMessage: String? {
        var fields = sanitizedJSON(self.body)?.fields
        var error = fields?.take("error")?.fields
        return error?.text("message")
    }

    /// The status and the error message, such as `400: the channel …`, without a full stop.
    var statusText: String { self.text(after: "\(self.status)") }

    /// The text of ``statusText`` with the name of the request, such as `400 for /api/move: the partition …`.
    func failureText(for what: String) -> String { self.text(after: "\(self.status) for \(what)") }

    private func text(after start: String) -> String {
        var text = start + (self.errorMessage.map { ": \($0)" } ?? "")
        while text.hasSuffix(".") { text.removeLast() }
        return text
    }

    /// Whether the same request may succeed later.
    var isTemporaryRefusal: Bool { [408, 429, 500, 502, 503, 504].contains(self.status) }

    var retryAfter: Duration? {
        self.headers.first(name: "retry-after").flatMap { Int($0) }.map { .seconds(min(max($0, 0), 3600)) }
    }
}

extension Response {
    init(_ response: HTTPClientResponse, bytesMax: Int = Self.bytesMax) async throws {
        let body = try await response.body.collect(upTo: bytesMax)
        self.init(status: Int(response.status.code), headers: response.headers, body: Array(body.readableBytesView))
    }
}

/// Builds responses to publishes from the parts that arrive on a connection.
struct ResponseAssembler: Sendable {
    private var head: HTTPResponseHead?
    private var body: [UInt8] = []
    /// Whether the server closes the connection after the last complete response.
    private(set) var closesConnection = false

    /// Returns the response that this part completes. Nil if the response is incomplete, or informational (1xx).
    mutating func append(_ part: HTTPClientResponsePart) throws -> Response? {
        switch part {
        case .head(let head):
            self.head = head
            self.body = []
        case .body(let bytes):
            guard self.body.count + bytes.readableBytes <= Response.publishBytesMax else { throw NIOTooManyBytesError(maxBytes: Response.publishBytesMax) }
            self.body += bytes.readableBytesView
        case .end:
            guard let head, head.status.code >= 200 else { return nil }
            self.closesConnection = !head.isKeepAlive
            defer { self.body = [] }
            return Response(status: Int(head.status.code), headers: head.headers, body: self.body)
        }
        return nil
    }
}

extension CommandError {
    /// The node refused the API token. The message is the same for every request.
    static func tokenRefused(by node: String) -> CommandError {
        CommandError(
            .critical,
            "\(node) refused the API token, or requires a token. Set REALERTIME_API_TOKEN to the node's api-token, or --api-token-file to a file that contains it."
        )
    }

    /// The response does not have the form that this version expects.
    static func unknownResponse(of path: String) -> CommandError {
        CommandError(.critical, "The response of \(path) is not from a node of this version. Is --api the API port of a node?")
    }
}
