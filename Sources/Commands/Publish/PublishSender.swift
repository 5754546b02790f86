import AsyncHTTPClient
import NIOCore

/// Sends windows of events to a node's `POST /pub`, and keeps its connection.
actor PublishSender {
    private let node: NodeClient
    private let path: String
    private let headers: [(String, String)]
    private var connection: PipelinedConnection?

    init(node: NodeClient, channels: [String], type: String?) {
        self.node = node
        self.path = "/pub?id=" + channels.map(escapedSegment).joined(separator: "/")
        self.headers = type.map { [("Event-Type", $0)] } ?? []
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
        let answers = await connection.send(events.map(self.request), within: limit)
        if answers.isEmpty { return events.map { _ in PublishSender.lost(ChannelError.eof) } }
        return answers.map { answer in
            switch answer {
            case .success(let answer): PublishOutcome(answer)
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
        let connection = try await PipelinedConnection.open(self.node.base, within: min(limit, .seconds(10)))
        self.connection = connection
        return connection
    }

    private func request(_ event: PublishEvent) -> PipelinedConnection.Request {
        var headers = self.headers + [("Message-Id", event.messageID)]
        if let token = self.node.token { headers.append(("Authorization", "Bearer \(token)")) }
        return .init(path: self.node.base.path + self.path, headers: headers, body: event.payload)
    }

    /// Over TLS, where each request waits for the one before it.
    private func sendOneByOne(_ events: [PublishEvent], within limit: Duration) async -> [PublishOutcome] {
        var node = self.node
        node.timeout = limit
        var outcomes: [PublishOutcome] = []
        for event in events {
            do {
                let headers = self.headers + [("Message-Id", event.messageID)]
                outcomes.append(PublishOutcome(try await node.post(self.path, event.payload, headers: headers)))
            } catch {
                outcomes.append(PublishSender.lost(error))
            }
            switch outcomes[outcomes.count - 1] {
            case .published, .refused:
                break
            case .hopeless, .retry:
                // The next events must not overtake it.
                return outcomes + Array(repeating: outcomes[outcomes.count - 1], count: events.count - outcomes.count)
            }
        }
        return outcomes
    }

    private static func lost(_ error: any Error) -> PublishOutcome {
        .retry(after: nil, reason: (error as? Failure)?.cause ?? reason(error), wasReached: false)
    }
}
