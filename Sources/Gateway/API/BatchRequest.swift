import JSON
import NIOCore
import Pipeline

/// `POST /api/batch`: several publishes and broadcasts in one request, in order. Pure.
struct BatchRequest {
    private enum Command {
        case publish(event: Int)
        case broadcast(events: Range<Int>)
        case failed(HTTPError)
    }

    private var commands: [Command] = []
    private(set) var events: [Event] = []

    init(_ body: ByteBuffer, limits: Limits) throws(HTTPError) {
        let fields = try JSONFields(body, names: ["commands"])
        let commands = try fields.required("commands", try fields.array("commands"))
        guard commands.count <= FixedLimits.batchCommandsMax else {
            throw .badBody("more than \(FixedLimits.batchCommandsMax) commands; send several batches")
        }
        for command in commands {
            do throws(HTTPError) {
                try self.read(command, limits)
            } catch {
                self.commands.append(.failed(error))
            }
        }
    }

    private mutating func read(_ command: ByteBuffer, _ limits: Limits) throws(HTTPError) {
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

    /// The response. `outcomes` are in the order of ``events``.
    func response(_ outcomes: [PublishOutcome]) -> ByteBuffer {
        var writer = JSONWriter(ByteBuffer())
        writer.object { writer in
            writer.name("replies")
            writer.array { writer in
                for command in self.commands { self.write(command, outcomes, to: &writer) }
            }
        }
        return writer.sink
    }

    private func write(_ command: Command, _ outcomes: [PublishOutcome], to writer: inout JSONWriter<ByteBuffer>) {
        switch command {
        case .publish(let event):
            PublishResponse.write(outcomes[event], channel: self.events[event].channel, as: "publish", to: &writer)
        case .broadcast(let events):
            writer.object { writer in
                writer.name("broadcast")
                writer.object { writer in
                    writer.name("responses")
                    PublishResponse.write(outcomes[events], of: self.events[events], to: &writer)
                }
            }
        case .failed(let failure):
            writer.object { failure.writeError(to: &$0) }
        }
    }
}
