import NIOCore
import Pipeline

extension APIHandler {
    /// Publishes one event; its answer fills the request's place.
    func publish(_ event: Event, _ index: UInt64, form: PublishForm, keepAlive: Bool) {
        self.publishes[index] = (event.channel, form, keepAlive)
        self.port.publisher.onLoop { $0.publish(event, sink: self, token: index) }
    }

    /// Publishes several; `answer` is called with their outcomes in order.
    func publish(_ events: [Event], answer: @escaping ([PublishOutcome]) -> Void) {
        guard !events.isEmpty else { return answer([]) }
        let job = PublishJob(count: events.count, finish: answer)
        self.port.publisher.onLoop { publisher in
            for (index, event) in events.enumerated() { publisher.publish(event, sink: job, token: UInt64(index)) }
        }
    }

    func published(_ outcome: PublishOutcome, token: UInt64) {
        guard let publish = self.publishes.removeValue(forKey: token), self.context != nil else { return }
        if case .refused(let refusal) = outcome { return self.respond(token, PublishAnswer.failure(refusal), keepAlive: publish.keepAlive) }
        // Position, cursor and words.
        var body = ByteBufferAllocator().buffer(capacity: publish.channel.string.utf8.count + 112)
        switch publish.form {
        case .raw:
            PublishAnswer.writeRaw(outcome, channel: publish.channel, into: &body)
        case .json:
            body.writeStaticString("{\"result\":{")
            PublishAnswer.writePosition(outcome, channel: publish.channel, into: &body)
            body.writeStaticString("}}")
        }
        self.respond(token, .ok, content: .json, body: body, keepAlive: publish.keepAlive)
    }
}
