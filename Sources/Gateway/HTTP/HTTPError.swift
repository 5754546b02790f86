import JSON
import NIOCore
import Pipeline

/// The refusal of a request: an HTTP status, a code for programs, and a message that says what to change.
struct HTTPError: Error, Equatable {
    var status: HTTPStatus
    var code: String
    var message: String
    /// An additional header line, for example `Allow` or `Retry-After`.
    var header: String?
    /// When to retry. Nil if the refusal is not temporary.
    var retryAfterSeconds: Int?

    init(_ status: HTTPStatus, _ code: String, _ message: String, header: String? = nil) {
        self.status = status
        self.code = code
        self.message = message
        self.header = header
    }

    static func badRequest(_ message: String) -> HTTPError { HTTPError(.badRequest, "bad_request", message) }
    static func badChannel(_ message: String) -> HTTPError { HTTPError(.badRequest, "bad_channel", message) }
    static func badBody(_ message: String) -> HTTPError { HTTPError(.badRequest, "bad_body", message) }
    static func badCursor(_ message: String) -> HTTPError { HTTPError(.badRequest, "bad_cursor", message) }

    /// - Parameter hint: names the node's other port, if the path belongs to that port.
    static func notFound(_ path: String, _ paths: String, hint: String? = nil) -> HTTPError {
        HTTPError(.notFound, "not_found", "nothing is at \(path.prefix(100))\(hint.map { ": \($0)" } ?? ""); the paths are \(paths)")
    }

    static func methodNotAllowed(_ allow: String) -> HTTPError {
        HTTPError(.methodNotAllowed, "method_not_allowed", "use \(allow)", header: "Allow: \(allow)\r\n")
    }

    static func tooLarge(_ message: String) -> HTTPError { HTTPError(.contentTooLarge, "too_large", message) }

    static func unavailable(_ message: String, retryAfterSeconds: Int = 1) -> HTTPError {
        var failure = HTTPError(.serviceUnavailable, "unavailable", message, header: "Retry-After: \(retryAfterSeconds)\r\n")
        failure.retryAfterSeconds = retryAfterSeconds
        return failure
    }

    /// Writes the field `error` of a JSON object.
    func writeError(to writer: inout JSONWriter<ByteBuffer>) {
        writer.name("error")
        writer.object { writer in
            writer.field("code", self.code)
            writer.field("message", self.message)
        }
    }

    static let timeout = HTTPError(.requestTimeout, "timeout", "the request did not arrive in time; send it completely within handshake-seconds-max")
}

/// The HTTP statuses of a node's responses.
struct HTTPStatus: Equatable {
    var code: Int
    var reason: StaticString

    /// True for 4xx: the client must change its request.
    var isClientError: Bool { (400..<500).contains(self.code) }

    static func == (left: HTTPStatus, right: HTTPStatus) -> Bool { left.code == right.code }

    static let ok = HTTPStatus(code: 200, reason: "OK")
    static let noContent = HTTPStatus(code: 204, reason: "No Content")
    static let badRequest = HTTPStatus(code: 400, reason: "Bad Request")
    static let unauthorized = HTTPStatus(code: 401, reason: "Unauthorized")
    static let forbidden = HTTPStatus(code: 403, reason: "Forbidden")
    static let notFound = HTTPStatus(code: 404, reason: "Not Found")
    static let methodNotAllowed = HTTPStatus(code: 405, reason: "Method Not Allowed")
    static let requestTimeout = HTTPStatus(code: 408, reason: "Request Timeout")
    static let conflict = HTTPStatus(code: 409, reason: "Conflict")
    static let contentTooLarge = HTTPStatus(code: 413, reason: "Content Too Large")
    static let unsupportedMediaType = HTTPStatus(code: 415, reason: "Unsupported Media Type")
    static let uriTooLong = HTTPStatus(code: 414, reason: "URI Too Long")
    static let upgradeRequired = HTTPStatus(code: 426, reason: "Upgrade Required")
    static let tooManyRequests = HTTPStatus(code: 429, reason: "Too Many Requests")
    static let headersTooLarge = HTTPStatus(code: 431, reason: "Request Header Fields Too Large")
    static let notImplemented = HTTPStatus(code: 501, reason: "Not Implemented")
    static let serviceUnavailable = HTTPStatus(code: 503, reason: "Service Unavailable")
    static let gatewayTimeout = HTTPStatus(code: 504, reason: "Gateway Timeout")
    static let versionNotSupported = HTTPStatus(code: 505, reason: "HTTP Version Not Supported")
}
