import NIOCore
import Pipeline

/// `POST /api/batch`: several publishes and broadcasts in one request, in order. Pure.
struct BatchRequest {
    private enum Command {
        case publish(event: Int)
        case broadcast(events: Range<Int>)
        case failed(HTTPFailure)
    }

    private var commands: [Command] = []
    private(set) var events: [Event] = []

    static let commandsMax = 10_000

    init(_ body: ByteBuffer, limits: Limits) throws(HTTPFailure) {
        let fields = try JSONFields(body, names: ["commands"])
        let commands = try fields.required("commands", try fields.array("commands"))
        guard commands.count <= Self.commandsMax else { throw .badBody("more than \(Self.commandsMax) commands; send several batches") }
        for command in commands {
            do throws(HTTPFailure) {
                try self.read(command, limits)
            } catch {
                self.commands.append(.failed(error))
            }
        }
    }

    private mutating func read(_ command: ByteBuffer, _ limits: Limits) throws(HTTPFailure) {
        let fields = try JSONFields(command, names: ["publish", "broadcast"])
        switch (fields.raw("publish"), fields.raw("broadcast")) {
        case (let publish?, nil):
            self.events.append(try PublishRequest.publish(publish, limits: limits))
            self.commands.append(.publish(event: self.events.count - 1))
        case (nil, let broadcast?):
            let events = try PublishRequest.broadcast(broadcast, limits: limits)
            self.commands.append(.broadcast(events: self.events.count..<(self.events.count + events.count)))
            self.events += events
        default:
            throw .badBody("a command is {\"publish\":{…}} or {\"broadcast\":{…}}")
        }
    }

    /// The answer, given the events' outcomes in their order.
    func answer(_ outcomes: [PublishOutcome]) -> ByteBuffer {
        var body = ByteBuffer()
        body.writeStaticString("{\"replies\":[")
        for (number, command) in self.commands.enumerated() {
            body.writeStaticString(number > 0 ? ",{" : "{")
            switch command {
            case .publish(let event):
                if case .refused = outcomes[event] {
                    PublishAnswer.writePosition(outcomes[event], channel: self.events[event].channel, into: &body)
                } else {
                    body.writeStaticString("\"publish\":{")
                    PublishAnswer.writePosition(outcomes[event], channel: self.events[event].channel, into: &body)
                    body.writeStaticString("}")
                }
            case .broadcast(let events):
                body.writeStaticString("\"broadcast\":{\"responses\":")
                APIHandler.writeResponses(outcomes[events], of: self.events[events], into: &body)
                body.writeStaticString("}")
            case .failed(let failure):
                PublishAnswer.writeError(failure, into: &body)
            }
            body.writeStaticString("}")
        }
        body.writeStaticString("]}")
        return body
    }
}
