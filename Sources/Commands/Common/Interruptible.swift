import Dispatch

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The time limit was exceeded.
struct TimeoutError: Error {}

/// Runs `body`, and cancels it after `duration`.
func withTimeout<Result: Sendable>(_ duration: Duration, _ body: @escaping @Sendable () async throws -> Result) async throws -> Result {
    try await withThrowingTaskGroup(of: Result.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: duration)
            throw TimeoutError()
        }
        defer { group.cancelAll() }
        guard let result = try await group.next() else { throw TimeoutError() }
        return result
    }
}

/// The interval of the checks whether the reader has closed the output. The system sends no event for this, and the next write may be hours away.
private let closedInterval = Duration.milliseconds(200)

/// Runs `body`, and cancels it on Ctrl-C or SIGTERM. Returns nil if `body` was cancelled. A second signal ends the process immediately.
///
/// - Parameter output: where `body` writes. `body` is also cancelled when the reader closes this output.
/// - Throws: `OutputClosedError` when the reader closes the output.
func untilInterrupted<Result: Sendable>(
    orClosed output: Terminal? = nil, _ body: @escaping @Sendable () async throws -> Result
) async throws -> Result? {
    let (signals, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let sources = [SIGINT, SIGTERM].map { number in
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler {
            signal(number, SIG_DFL)
            continuation.yield()
        }
        source.resume()
        return source
    }
    defer {
        for source in sources { source.cancel() }
    }
    return try await withThrowingTaskGroup(of: Result?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            for await _ in signals { return nil }
            // This task was cancelled because the body has ended. The body's result is used.
            return nil
        }
        if let output {
            group.addTask {
                while !output.isClosed { try await Task.sleep(for: closedInterval) }
                throw OutputClosedError()
            }
        }
        defer { group.cancelAll() }
        guard let first = try await group.next() else { return nil }
        if first == nil {
            group.cancelAll()
            while let result = await group.nextResult() { if case .success(let late?) = result { return late } }
        }
        return first
    }
}
