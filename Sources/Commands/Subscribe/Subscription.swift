import ArgumentParser
import AsyncHTTPClient
import NIOHTTP1
import SubscriberAPI

extension Transport: ExpressibleByArgument {}

/// The connection has ended. A new connection may succeed.
struct DisconnectedError: OwnError, Equatable {
    var reason: String
    var retryAfter: Duration?
}

/// The receiver of a subscription throws this error when it needs no more events.
struct EnoughEventsError: OwnError {}

/// A subscription to channels of a node, over one transport.
struct Subscription: Sendable {
    /// A node sends a heartbeat at least every 25 s. After this time without any data the connection counts as dead.
    static let silenceMax = Duration.seconds(60)

    var base: BaseURL
    var channels: [String]
    var transport: Transport
    var http: HTTPClient
    /// The number of past events of each channel that are delivered first, if there is no cursor.
    var backlog: Int?

    /// Runs one connection, and calls `each` for every delivery. Returns when the node closes the connection.
    ///
    /// - Throws: `DisconnectedError` if a new connection may succeed, `CommandError` if no new connection can succeed, and the errors of `each`.
    func connect(since cursor: String?, _ each: (Delivery) async throws -> Void) async throws {
        switch self.transport {
        case .sse: try await self.connectEventStream(since: cursor, each)
        case .stream: try await self.connectLines(since: cursor, each)
        case .longPoll: try await self.poll(since: cursor, each)
        case .webSocket: try await self.connectWebSocket(since: cursor, each)
        }
    }

    /// Turns a network error into a ``DisconnectedError``. Errors of this module stay unchanged.
    static func disconnected(_ error: any Error) -> any Error {
        if error is any OwnError { return error }
        return Task.isCancelled ? CancellationError() : DisconnectedError(reason: networkErrorText(error))
    }

    func path(since cursor: String?, query: [String] = []) -> String {
        let suffix = self.backlog.map { ".b\($0)" } ?? ""
        let channels = self.channels.map { escapedSegment($0) + suffix }.joined(separator: "/")
        let query = query + (cursor.map { ["since=\(escapedSegment($0))"] } ?? [])
        return "/\(self.transport.path)/\(channels)" + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
    }

    /// The error for a response that refuses the subscription.
    static func refusal(_ response: Response, by base: BaseURL) -> any Error {
        switch response.status {
        case _ where response.isTemporaryRefusal:
            return DisconnectedError(reason: "the node returned \(response.statusText)", retryAfter: response.retryAfter)
        case 400, 403, 414, 431:
            return CommandError(.critical, "The node refused the subscription with \(response.statusText).")
        default:
            return CommandError(.critical, "\(base) returned \(response.statusText). Is --url the subscriber port of a node?")
        }
    }
}
