import JSON
import NIOCore
import Pipeline

/// Writes what became of publishes as JSON. Pure.
enum PublishAnswer {
    /// `{"channel","id","cursor","subscribers"}` of `/pub`.
    static func writeRaw(_ outcome: PublishOutcome, channel: ChannelName, into body: inout ByteBuffer) {
        body.writeStaticString("{\"channel\":\"")
        body.writeString(channel.string)
        switch outcome {
        case .published(let position, let subscribers): Self.writeRaw(position, channel, subscribers, isDuplicate: false, into: &body)
        case .duplicate(let position, let subscribers): Self.writeRaw(position, channel, subscribers, isDuplicate: true, into: &body)
        case .refused(let refusal):
            body.writeStaticString("\",")
            Self.writeError(refusal, into: &body)
        }
        body.writeStaticString("}")
    }

    private static func writeRaw(
        _ position: Position, _ channel: ChannelName, _ subscribers: Int, isDuplicate: Bool, into body: inout ByteBuffer
    ) {
        body.writeStaticString("\",\"id\":\"")
        body.writePosition(position)
        body.writeStaticString("\",\"cursor\":\"")
        Cursor.write(channel, position, into: &body)
        body.writeStaticString("\",\"subscribers\":")
        body.writeDecimal(UInt64(max(0, subscribers)))
        if isDuplicate { body.writeStaticString(",\"duplicate\":true") }
    }

    /// `"epoch":…,"offset":…,"cursor":…` of the JSON calls, without braces.
    static func writePosition(_ outcome: PublishOutcome, channel: ChannelName, into body: inout ByteBuffer) {
        switch outcome {
        case .published(let position, _): Self.writePosition(position, channel, into: &body)
        case .duplicate(let position, _):
            Self.writePosition(position, channel, into: &body)
            body.writeStaticString(",\"duplicate\":true")
        case .refused(let refusal): Self.writeError(refusal, into: &body)
        }
    }

    private static func writePosition(_ position: Position, _ channel: ChannelName, into body: inout ByteBuffer) {
        body.writeStaticString("\"epoch\":")
        body.writeDecimal(position.epoch)
        body.writeStaticString(",\"offset\":")
        body.writeDecimal(position.offset)
        body.writeStaticString(",\"cursor\":\"")
        Cursor.write(channel, position, into: &body)
        body.writeStaticString("\"")
    }

    private static func writeError(_ refusal: PublishRefusal, into body: inout ByteBuffer) {
        Self.writeError(Self.failure(refusal), into: &body)
    }

    /// `"error":{…}`, without braces around it.
    static func writeError(_ failure: HTTPFailure, into body: inout ByteBuffer) {
        var error = ResponseWriter.errorBody(failure)
        // Its own braces are the enclosing object's business.
        error.moveReaderIndex(forwardBy: 1)
        error.moveWriterIndex(to: error.writerIndex - 1)
        body.writeBuffer(&error)
    }

    static func failure(_ refusal: PublishRefusal) -> HTTPFailure {
        switch refusal {
        case .logUnavailable(let message): .unavailable(message)
        case .overloaded: .unavailable("too many publishes wait for the log (parked-publishes-max); publish again with the same message id")
        case .tooManyChannels:
            HTTPFailure(.tooManyRequests, "limit", "this node remembers channels-max channels and none is idle; raise it or publish to known ones")
        case .stopping: .unavailable("this node stops; publish again with the same message id")
        case .moved: .unavailable("another node has taken over this channel; publish again with the same message id")
        }
    }
}

/// Waits for the outcomes of several events of one request.
///
/// `@unchecked Sendable`: confined to the loop of its connection, which is its publisher's.
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
