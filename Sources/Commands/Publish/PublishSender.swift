import AsyncHTTPClient
import NIOCore
import NIOHTTP1

/// Sends windows of events to a node's `POST /pub` over one connection.
actor PublishSender {
    private let node: NodeClient
    private let path: String
    private let type: String?
    private var connection: PipelinedConnection?

    init(node: NodeClient, channels: [String], type: String?) {
        self.node = node
        self.path = "/pub?id=" + channels.map(escapedSegment).joined(separator: "/")
        self.type = type
    }

    /// Returns one outcome for each event, in order.
    func send(_ events: [PublishEvent], within limit: Duration) async -> [PublishOutcome] {
        if self.node.base.isSecure { return await self.sendOneByOne(events, within: limit) }
        let connection: PipelinedConnection
        do {
            connection = try await self.open(within: limit)
        } catch {
            return events.map { _ in PublishSender.lost(error) }
        }
        let responses = await connection.send(events.map(self.request), within: limit)
        if responses.isEmpty { return events.map { _ in PublishSender.lost(ChannelError.eof) } }
        return responses.map { response in
            switch response {
            case .success(let response): PublishOutcome(response)
            case .failure(let error): PublishSender.lost(error)
            }
        }
    }

    func close() async {
        await self.connection?.close()
    }

    // MARK: helpers

    private func open(within limit: Duration) async throws -> PipelinedConnection {
        if let connection, connection.isOpen { return connection }
        let connection = try await PipelinedConnection.open(self.node.base, within: limit)
        self.connection = connection
        return connection
    }

    private func request(_ event: PublishEvent) -> Request {
        var request = Request(method: .POST, path: self.path, headers: [("Message-Id", event.messageID)], body: event.payload, token: self.node.token)
        if let type { request.headers.append(("Event-Type", type)) }
        return request
    }

    /// Sends events over TLS with the HTTP client, because only this client supports TLS. Each request waits for the response to the previous request.
    private func sendOneByOne(_ events: [PublishEvent], within limit: Duration) async -> [PublishOutcome] {
        var node = self.node
        node.timeout = limit
        var outcomes: [PublishOutcome] = []
        for event in events {
            do {
                outcomes.append(PublishOutcome(try await node.send(self.request(event))))
            } catch {
                outcomes.append(PublishSender.lost(error))
            }
            switch outcomes[outcomes.count - 1] {
            case .published, .refused:
                break
            case .misconfigured, .retry:
                // The next events must not overtake this event.
                return outcomes + Array(repeating: outcomes[outcomes.count - 1], count: events.count - outcomes.count)
            }
        }
        return outcomes
    }

    private static func lost(_ error: any Error) -> PublishOutcome {
        .retry(after: nil, reason: (error as? CommandError)?.cause ?? networkErrorText(error), wasReached: false)
    }
}
