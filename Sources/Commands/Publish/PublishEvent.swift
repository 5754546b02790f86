import JSON

/// One event to publish. The message id makes a repeated attempt harmless.
struct PublishEvent: Equatable, Sendable {
    /// The line of standard input that it came from. 0 if it came from elsewhere.
    var line: Int
    var messageID: String
    var payload: [UInt8]
}

/// The outcome of one attempt to publish an event.
enum PublishOutcome: Equatable, Sendable {
    case published(answer: [UInt8], isDuplicate: Bool)
    /// This event can never be published.
    case refused(String)
    /// No event can be published this way.
    case hopeless(String)
    /// It may be published later. `wasReached` is true if the node responded, false if it did not.
    case retry(after: Duration?, reason: String, wasReached: Bool)

    init(_ answer: Answer) {
        switch answer.status {
        case 200:
            let json = JSONValue(answer.body)
            let replies = json?.elements ?? json.map { [$0] } ?? []
            let duplicates = replies.filter { reply in
                var fields = reply.fields
                return fields?.take("duplicate")?.isTrue ?? false
            }
            self = .published(answer: answer.body, isDuplicate: !replies.isEmpty && duplicates.count == replies.count)
        case 401:
            self = .hopeless(
                "The node does not take the API token it was given, or was given none: set REALERTIME_API_TOKEN or --api-token-file to the node's api-token.")
        case 403, 404, 405, 501, 505:
            self = .hopeless("The node answered \(answer.complaint). Is --api the API port of a node?")
        case 408, 429, 500, 502, 503, 504:
            self = .retry(after: answer.retryAfter, reason: answer.complaint, wasReached: true)
        default:
            self = .refused("the node answered \(answer.complaint)")
        }
    }
}
