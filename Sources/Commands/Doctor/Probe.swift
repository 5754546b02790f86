import JSON
import AsyncHTTPClient
import SubscriberAPI

/// Publishes to a temporary channel and subscribes to it, as clients do.
struct Probe: Sendable {
    /// The history no longer contained the events that the probe had published.
    struct HistoryLostError: OwnError {}

    var node: NodeClient
    var subscriber: BaseURL
    var http: HTTPClient
    var channel: String
    var timeout: Duration

    struct Received: Equatable, Sendable {
        var text: String
        var cursor: String
        var at: ContinuousClock.Instant
    }

    // MARK: publishing

    /// The position of an event, and whether its message id had been published before.
    struct Published: Sendable {
        var position: String
        var isDuplicate: Bool
    }

    @discardableResult
    func publish(_ text: String, messageID: String? = nil) async throws -> Published {
        let headers = messageID.map { [("Message-Id", $0)] } ?? []
        let response = try self.node.expectOK(await self.node.post("/pub?id=\(self.channel)", Array(text.utf8), headers: headers), for: "a publish")
        guard var fields = JSONObject(response.body), let position = fields.text("id") else {
            throw CommandError(.critical, "A publish returned \"\(response.text)\"")
        }
        return Published(position: position, isDuplicate: fields.take("duplicate")?.isTrue ?? false)
    }

    // MARK: subscribing

    /// Subscribes until `count` events have arrived. Calls `publish` when the node has registered the subscription.
    func collect(
        _ count: Int, by transport: Transport, since cursor: String? = nil, publish: @escaping @Sendable () async throws -> Void = {}
    ) async throws -> [Received] {
        let subscription = self.subscription(transport)
        return try await withTimeout(self.timeout) {
            var received: [Received] = []
            var publishing: Task<Void, any Error>?
            defer { publishing?.cancel() }
            do {
                try await subscription.connect(since: cursor) { delivery in
                    switch delivery {
                    case .connected where transport == .longPoll:
                        publishing = Task {
                            // A node does not confirm a long-poll. After this time the node has registered the long-poll.
                            try await Task.sleep(for: .milliseconds(50))
                            try await publish()
                        }
                    case .cursor where publishing == nil && transport != .longPoll:
                        publishing = Task { try await publish() }
                    case .event(let envelope):
                        received.append(Received(text: String(decoding: envelope.text, as: UTF8.self), cursor: envelope.cursor, at: .now))
                    case .gap:
                        throw HistoryLostError()
                    default:
                        break
                    }
                    if received.count >= count { throw EnoughEventsError() }
                }
                throw CommandError(.critical, "the node ended the connection after \(received.count) of \(count) events")
            } catch is EnoughEventsError {
                try await publishing?.value
                return received
            }
        }
    }

    /// The cursor after the channel's last event.
    func cursor() async throws -> String {
        let subscription = self.subscription(.stream)
        return try await withTimeout(self.timeout) {
            var cursor = ""
            do {
                try await subscription.connect(since: nil) { delivery in
                    guard case .cursor(let first) = delivery else { return }
                    cursor = first
                    throw EnoughEventsError()
                }
                throw CommandError(.critical, "the node ended the connection without a cursor")
            } catch is EnoughEventsError {
                return cursor
            }
        }
    }

    func heartbeat(by transport: Transport, within limit: Duration) async throws {
        let subscription = self.subscription(transport)
        try await withTimeout(limit) {
            do {
                try await subscription.connect(since: nil) { if $0 == .heartbeat { throw EnoughEventsError() } }
                throw CommandError(.critical, "the node ended the connection before a heartbeat")
            } catch is EnoughEventsError {}
        }
    }

    private func subscription(_ transport: Transport) -> Subscription {
        Subscription(base: self.subscriber, channels: [self.channel], transport: transport, http: self.http)
    }
}
