public import Testing

public struct NotInTime: Error, CustomStringConvertible {
    public var description: String
}

/// Waits until the condition is true. Checks it every few milliseconds, and fails the test at the limit. The limit is long, because a busy machine is slow. The
/// limit is not a measurement.
public func eventually(
    within limit: Duration = .seconds(60), _ message: @autoclosure () -> String, at location: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard .now < deadline else {
            let description = "the condition was not true within \(limit): \(message())"
            Issue.record(Comment(rawValue: description), sourceLocation: location)
            throw NotInTime(description: description)
        }
        try await Task.sleep(for: .milliseconds(5))
    }
}
