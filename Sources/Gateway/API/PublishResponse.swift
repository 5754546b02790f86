import JSON
import NIOCore
import Partitioning
import Pipeline

/// Writes the outcomes of publishes as JSON. Pure.
enum PublishResponse {
    /// `/pub` and the JSON calls respond with different fields.
    enum Form { case raw, json }

    /// The response to one publish.
    static func body(_ outcome: PublishOutcome, channel: ChannelName, form: Form) -> ByteBuffer {
        // The capacity suffices for the names of the fields, a position and a cursor, so the body needs a single allocation.
        var writer = JSONWriter(ByteBufferAllocator().buffer(capacity: channel.string.utf8.count + 112))
        switch form {
        case .raw: Self.writeRaw(outcome, channel: channel, to: &writer)
        case .json: Self.write(outcome, channel: channel, as: "result", to: &writer)
        }
        return writer.sink
    }

    /// `{"channel","id","cursor","subscribers","duplicate"?}` or `{"channel","error"}`, as in the response of `/pub`.
    static func writeRaw(_ outcome: PublishOutcome, channel: ChannelName, to writer: inout JSONWriter<ByteBuffer>) {
        writer.object { writer in
            writer.name("channel")
            writer.plainString { $0.writeString(channel.string) }
            switch outcome {
            case .published(let position, let subscribers):
                Self.writeRaw(position, channel, subscribers, isDuplicate: false, to: &writer)
            case .duplicate(let position, let subscribers):
                Self.writeRaw(position, channel, subscribers, isDuplicate: true, to: &writer)
            case .refused(let refusal):
                Self.failure(refusal).writeError(to: &writer)
            }
        }
    }

    private static func writeRaw(
        _ position: Position, _ channel: ChannelName, _ subscribers: Int, isDuplicate: Bool, to writer: inout JSONWriter<ByteBuffer>
    ) {
        writer.name("id")
        writer.plainString { $0.writePosition(position) }
        writer.name("cursor")
        writer.plainString { Cursor.write(channel, position, into: &$0) }
        writer.field("subscribers", UInt64(max(0, subscribers)))
        if isDuplicate { writer.field("duplicate", true) }
    }

    /// `{"NAME":{"epoch","offset","cursor","duplicate"?}}` or `{"error":{…}}`, as in the responses of the JSON calls.
    static func write(_ outcome: PublishOutcome, channel: ChannelName, as name: String, to writer: inout JSONWriter<ByteBuffer>) {
        writer.object { writer in
            switch outcome {
            case .published(let position, _): Self.write(position, channel, as: name, isDuplicate: false, to: &writer)
            case .duplicate(let position, _): Self.write(position, channel, as: name, isDuplicate: true, to: &writer)
            case .refused(let refusal): Self.failure(refusal).writeError(to: &writer)
            }
        }
    }

    private static func write(
        _ position: Position, _ channel: ChannelName, as name: String, isDuplicate: Bool, to writer: inout JSONWriter<ByteBuffer>
    ) {
        writer.name(name)
        writer.object { writer in
            writer.field("epoch", position.epoch)
            writer.field("offset", position.offset)
            writer.name("cursor")
            writer.plainString { Cursor.write(channel, position, into: &$0) }
            if isDuplicate { writer.field("duplicate", true) }
        }
    }

    /// The array `responses` of a broadcast.
    static func write(_ outcomes: ArraySlice<PublishOutcome>, of events: ArraySlice<Event>, to writer: inout JSONWriter<ByteBuffer>) {
        writer.array { writer in
            for (outcome, event) in zip(outcomes, events) { Self.write(outcome, channel: event.channel, as: "result", to: &writer) }
        }
    }

    static func failure(_ refusal: PublishRefusal) -> HTTPError {
        switch refusal {
        case .logUnavailable(let message): .unavailable(message)
        case .overloaded: .unavailable("too many publishes wait for the log (parked-publishes-max); publish again with the same message id")
        case .tooManyChannels:
            HTTPError(
                .tooManyRequests, "limit", "channel limit reached (channels-max) and no channel is idle; raise channels-max, or publish to existing channels")
        case .stopping: .unavailable("node is stopping; publish again with the same message id")
        case .moved where Defect.movedAsFailure.isActive: .unavailable("another node has taken over this channel; the event was not committed")
        case .moved: .unavailable("another node has taken over this channel; publish again with the same message id")
        case .ownerUnreachable:
            .unavailable("the node that owns this channel cannot be reached, and no other node owns it yet; publish again with the same message id")
        }
    }
}

/// Collects the outcomes of the events of one request.
///
/// `@unchecked Sendable`: confined to the loop of its connection, which is also the loop of the publisher.
final class PublishJob: PublishSink, @unchecked Sendable {
    private var outcomes: [PublishOutcome?]
    private var missing: Int
    private let finish: ([PublishOutcome]) -> Void

    init(count: Int, finish: @escaping ([PublishOutcome]) -> Void) {
        self.outcomes = Array(repeating: nil, count: count)
        self.missing = count
        self.finish = finish
    }

    func published(_ outcome: PublishOutcome, token: UInt64) {
        self.outcomes[Int(token)] = outcome
        self.missing -= 1
        if self.missing == 0 { self.finish(self.outcomes.map { $0! }) }
    }
}
