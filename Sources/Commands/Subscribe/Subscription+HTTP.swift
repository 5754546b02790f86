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
        var request = HTTPClientRequest(url: self.base.description + path)
        // Not text/event-stream: for an EventSource the node sends a refusal as an event stream, but this client reads statuses.
        request.headers.add(name: "Accept", value: "*/*")
        let response = try await self.disconnecting { try await self.http.execute(request, deadline: .distantFuture) }
        guard response.status == .ok else {
            throw Subscription.refusal(try await self.disconnecting { try await Answer(response) }, by: self.base)
        }
        try await each(.connected)
        try await self.disconnecting {
            for try await chunk in response.body { try await bytes(chunk) }
        }
    }

    // MARK: long-poll

    func poll(since cursor: String?, _ each: (Delivery) async throws -> Void) async throws {
        var cursor = cursor
        // A poll may wait for its first response. So check first whether there is a node at all.
        let health = try await self.disconnecting {
            try await Answer(self.http.execute(HTTPClientRequest(url: "\(self.base)/healthz"), deadline: .distantFuture))
        }
        guard health.status == 200 else { throw Subscription.refusal(health, by: self.base) }
        try await each(.connected)
        while true {
            let request = HTTPClientRequest(url: self.base.description + self.path(since: cursor))
            let answer = try await self.disconnecting { try await Answer(self.http.execute(request, deadline: .distantFuture)) }
            guard answer.status == 200 else { throw Subscription.refusal(answer, by: self.base) }
            guard var fields = JSONObject(answer.body), let events = fields.take("events")?.elements else {
                throw Failure(.critical, "\(self.base) answered with something else than events. Is --url the subscriber port of a node?")
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

    /// Turns network errors into the end of this connection. Other errors stay unchanged.
    private func disconnecting<Result>(_ body: () async throws -> Result) async throws -> Result {
        do {
            return try await body()
        } catch {
            throw Subscription.ending(error)
        }
    }
}

extension Answer {
    init(_ response: HTTPClientResponse) async throws {
        let body = try await response.body.collect(upTo: 256 * 1024 * 1024)
        self.init(status: Int(response.status.code), headers: response.headers, body: Array(body.readableBytesView))
    }
}
