import JSON

/// One event to publish. The message id makes a repeated attempt harmless.
struct PublishEvent: Equatable, Sendable {
    /// The number of its line in standard input. 0 for an event that is not from a line.
    var line: Int
    var messageID: String
    var payload: [UInt8]
}

/// The outcome of one attempt to publish an event.
enum PublishOutcome: Equatable, Sendable {
    case published(response: [UInt8], isDuplicate: Bool)
    /// The node refuses this event, and would always refuse it.
    case refused(String)
    /// No event can be published with these options.
    case misconfigured(String)
    /// The next attempt may succeed. `wasReached` is true if the node responded.
    case retry(after: Duration?, reason: String, wasReached: Bool)

    init(_ response: Response) {
        switch response.status {
        case 200:
            let json = JSONValue(response.body)
            let objects = json?.elements ?? json.map { [$0] } ?? []
            let duplicates = objects.filter { object in
                var fields = object.fields
                return fields?.take("duplicate")?.isTrue ?? false
            }
            self = .published(response: response.body, isDuplicate: !objects.isEmpty && duplicates.count == objects.count)
        case 401:
            self = .misconfigured(CommandError.tokenRefused(by: "The node").message)
        case 403, 404, 405, 501, 505:
            self = .misconfigured("The node returned \(response.statusText). Is --api the API port of a node?")
        case _ where response.isTemporaryRefusal:
            self = .retry(after: response.retryAfter, reason: response.statusText, wasReached: true)
        default:
            self = .refused("the node returned \(response.statusText)")
        }
    }
}
