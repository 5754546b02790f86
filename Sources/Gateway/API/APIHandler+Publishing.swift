import JSON
import NIOCore
import Pipeline

/// Publishing. The publisher of the connection's loop receives the events, and reports their outcomes on the same loop.
extension APIHandler {
    // MARK: - Requests

    func publishRaw(_ request: Request, _ index: UInt64, _ keepAlive: Bool) throws(HTTPError) {
        let events = try PublishRequest.raw(request, limits: self.loop.limits)
        if events.count == 1 { return self.publish(events[0], index, form: .raw, keepAlive: keepAlive) }
        self.publish(events) { outcomes in
            var writer = JSONWriter(ByteBuffer())
            writer.array { writer in
                for (outcome, event) in zip(outcomes, events) { PublishResponse.writeRaw(outcome, channel: event.channel, to: &writer) }
            }
            self.respond(
                index, Self.status(of: outcomes), content: .json, body: writer.sink, headers: Self.retryHeader(outcomes), keepAlive: keepAlive)
        }
    }

    func broadcast(_ request: Request, _ index: UInt64, _ keepAlive: Bool) throws(HTTPError) {
        let events = try PublishRequest.broadcast(request.body, limits: self.loop.limits)
        self.publish(events) { outcomes in
            var writer = JSONWriter(ByteBuffer())
            writer.object { writer in
                writer.name("result")
                writer.object { writer in
                    writer.name("responses")
                    PublishResponse.write(outcomes[...], of: events[...], to: &writer)
                }
            }
            self.respond(
                index, Self.status(of: outcomes), content: .json, body: writer.sink, headers: Self.retryHeader(outcomes), keepAlive: keepAlive)
        }
    }

    func batch(_ request: Request, _ index: UInt64, _ keepAlive: Bool) throws(HTTPError) {
        let batch = try BatchRequest(request.body, limits: self.loop.limits)
        self.publish(batch.events) { outcomes in
            self.respond(index, .ok, content: .json, body: batch.response(outcomes), keepAlive: keepAlive)
        }
    }

    /// If any event was refused, the response has the status of the first refusal, so that the client sends the whole request again. Message ids prevent
    /// duplicates.
    private static func status(of outcomes: [PublishOutcome]) -> HTTPStatus {
        for case .refused(let refusal) in outcomes { return PublishResponse.failure(refusal).status }
        return .ok
    }

    private static func retryHeader(_ outcomes: [PublishOutcome]) -> String {
        for case .refused(let refusal) in outcomes { return PublishResponse.failure(refusal).header ?? "" }
        return ""
    }

    // MARK: - Events

    /// Publishes one event. Its outcome completes the response at `index`.
    func publish(_ event: Event, _ index: UInt64, form: PublishResponse.Form, keepAlive: Bool) {
        self.publishes[index] = (event.channel, form, keepAlive)
        self.port.publisher.onLoop { $0.publish(event, sink: self, token: index) }
    }

    /// Publishes several events. Calls `completion` with their outcomes, in the order of `events`.
    private func publish(_ events: [Event], completion: @escaping ([PublishOutcome]) -> Void) {
        guard !events.isEmpty else { return completion([]) }
        let job = PublishJob(count: events.count, finish: completion)
        self.port.publisher.onLoop { publisher in
            for (index, event) in events.enumerated() { publisher.publish(event, sink: job, token: UInt64(index)) }
        }
    }

    func published(_ outcome: PublishOutcome, token: UInt64) {
        guard let publish = self.publishes.removeValue(forKey: token), self.context != nil else { return }
        if case .refused(let refusal) = outcome { return self.respond(token, PublishResponse.failure(refusal), keepAlive: publish.keepAlive) }
        let body = PublishResponse.body(outcome, channel: publish.channel, form: publish.form)
        self.respond(token, .ok, content: .json, body: body, keepAlive: publish.keepAlive)
    }
}
