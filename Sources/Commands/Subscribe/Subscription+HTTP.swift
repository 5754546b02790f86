import JSON
import AsyncHTTPClient
import NIOCore
import NIOHTTP1

extension Subscription {
    private static let lineBytesMax = 128 * 1024 * 1024

    // MARK: Server-Sent Events

    func connectEventStream(since cursor: String?, _ each: (Delivery) async throws -> Void) async throws {
        var parser = EventStreamParser()
        try await self.stream(self.path(since: cursor, query: ["envelope=1"]), each) { bytes in
            for item in parser.feed(bytes.readableBytesView) {
                if let delivery = Subscription.delivery(item) { try await each(delivery) }
            }
        }
    }

    static func delivery(_ item: EventStreamParser.Item) -> Delivery? {
        switch item {
        case .comment: .heartbeat
        case .retry(let milliseconds): .retry(.milliseconds(milliseconds))
        case .id(let id): .cursor(id)
        case .event(_, let data, _): Delivery(json: Array(data.utf8))
        }
    }

    // MARK: line stream

    func connectLines(since cursor: String?, _ each: (Delivery) async throws -> Void) async throws {
        var splitter = LineSplitter(lineBytesMax: Subscription.lineBytesMax)
        try await self.stream(self.path(since: cursor), each) { bytes in
            for line in splitter.feed(bytes.readableBytesView) {
                if line.bytes.isEmpty {
                    try await each(.heartbeat)
                } else if let delivery = Delivery(json: line.bytes) {
                    try await each(delivery)
                }
            }
        }
    }

    private func stream(
        _ path: String, _ each: (Delivery) async throws -> Void, bytes: (ByteBuffer) async throws -> Void
    ) async throws {
        // With text/event-stream the node would send a refusal as an event stream with status 200, because an EventSource requires this.
        let request = Request(path: path, headers: [("Accept", "*/*")]).clientRequest(to: self.base)
        let response = try await self.disconnecting { try await self.http.execute(request, deadline: .distantFuture) }
        guard response.status == .ok else {
            throw Subscription.refusal(try await self.disconnecting { try await Response(response) }, by: self.base)
        }
        try await each(.connected)
        try await self.disconnecting {
            for try await chunk in response.body { try await bytes(chunk) }
        }
    }

    // MARK: long-poll

    func poll(since cursor: String?, _ each: (Delivery) async throws -> Void) async throws {
        var cursor = cursor
        // The response to a poll may take a long time. So check first whether the node responds.
        _ = try await self.response(to: "/healthz")
        try await each(.connected)
        while true {
            let response = try await self.response(to: self.path(since: cursor))
            guard var fields = JSONObject(response.body), let events = fields.take("events")?.elements else {
                throw CommandError(.critical, "The response of \(self.base) does not contain events. Is --url the subscriber port of a node?")
            }
            for event in events {
                if let delivery = Delivery(json: event.utf8) { try await each(delivery) }
            }
            if events.isEmpty { try await each(.heartbeat) }
            if let next = fields.text("cursor") {
                cursor = next
                try await each(.cursor(next))
            }
        }
    }

    /// Returns a response with status 200. There is no time limit, because a node may wait for the next event.
    private func response(to path: String) async throws -> Response {
        let request = Request(path: path).clientRequest(to: self.base)
        let response = try await self.disconnecting {
            try await Response(self.http.execute(request, deadline: .distantFuture), bytesMax: Response.pageBytesMax)
        }
        guard response.status == 200 else { throw Subscription.refusal(response, by: self.base) }
        return response
    }

    private func disconnecting<Result>(_ body: () async throws -> Result) async throws -> Result {
        do {
            return try await body()
        } catch {
            throw Subscription.disconnected(error)
        }
    }
}
