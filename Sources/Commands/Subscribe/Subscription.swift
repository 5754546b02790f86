import ArgumentParser
import AsyncHTTPClient
import NIOHTTP1

enum Transport: String, ExpressibleByArgument, CaseIterable, Sendable {
    case sse
    case ws
    case lp
    case stream

    /// Its name in the node's paths.
    var prefix: String {
        switch self {
        case .sse: "ev"
        case .ws: "ws"
        case .lp: "lp"
        case .stream: "sub"
        }
    }

    /// Its name in the node's metrics.
    var metric: String {
        switch self {
        case .sse: "sse"
        case .ws: "websocket"
        case .lp: "longpoll"
        case .stream: "stream"
        }
    }
}

/// The connection has ended, and a new one may be opened.
struct Disconnected: OwnError, Equatable {
    var reason: String
    var retryAfter: Duration?
}

/// Channels of a node, over one transport.
struct Subscription: Sendable {
    /// A heartbeat arrives at least every 25 s. After this time without one the connection is dead.
    static let silenceMax = Duration.seconds(60)

    var base: BaseURL
    var channels: [String]
    var transport: Transport
    var http: HTTPClient
    /// The number of history events that come first, if there is no cursor.
    var backlog: Int?

    /// Runs one connection. Passes on everything that arrives. Returns when the node ends it.
    ///
    /// - Throws: `Disconnected` if a new connection may work, `Failure` if none will; and errors of `each`.
    func connect(since cursor: String?, _ each: (Delivery) async throws -> Void) async throws {
        switch self.transport {
        case .sse: try await self.connectEventStream(since: cursor, each)
        case .stream: try await self.connectLines(since: cursor, each)
        case .lp: try await self.poll(since: cursor, each)
        case .ws: try await self.connectWebSocket(since: cursor, each)
        }
    }

    /// Turns a network error into the end of this connection. Our own errors stay unchanged.
    static func ending(_ error: any Error) -> any Error {
        if error is any OwnError { return error }
        return Task.isCancelled ? CancellationError() : Disconnected(reason: reason(error))
    }

    func path(since cursor: String?, query: [String] = []) -> String {
        let suffix = self.backlog.map { ".b\($0)" } ?? ""
        let channels = self.channels.map { escapedSegment($0) + suffix }.joined(separator: "/")
        let query = query + (cursor.map { ["since=\(escapedSegment($0))"] } ?? [])
        return "/\(self.transport.prefix)/\(channels)" + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
    }

    /// The meaning of a response that refuses the subscription.
    static func refusal(_ answer: Answer, by base: BaseURL) -> any Error {
        switch answer.status {
        case 408, 429, 500, 502, 503, 504:
            return Disconnected(reason: "the node answered \(answer.complaint)", retryAfter: answer.retryAfter)
        case 400, 403, 414, 431:
            return Failure(.critical, "The node refused the subscription with \(answer.complaint).")
        default:
            return Failure(.critical, "\(base) answered with \(answer.complaint). Is --url the subscriber port of a node?")
        }
    }
}

/// Text as one segment of a path.
func escapedSegment(_ text: String) -> String {
    text.utf8.map { byte in
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: ":"), UInt8(ascii: "-"):
            String(UnicodeScalar(byte))
        default:
            "%" + String(byte >> 4, radix: 16, uppercase: true) + String(byte & 15, radix: 16, uppercase: true)
        }
    }.joined()
}
