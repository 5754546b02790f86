import Dispatch

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Takes longer than it may.
struct TimedOut: Error {}

/// Runs `body`, and cancels it after `duration`.
func withTimeout<Result: Sendable>(_ duration: Duration, _ body: @escaping @Sendable () async throws -> Result) async throws -> Result {
    try await withThrowingTaskGroup(of: Result.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: duration)
            throw TimedOut()
        }
        defer { group.cancelAll() }
        guard let result = try await group.next() else { throw TimedOut() }
        return result
    }
}

/// How often it is looked whether anything still reads the output. No event says so: only a write would fail, and there may be nothing to write for hours.
private let closedInterval = Duration.milliseconds(200)

/// Runs `body`, and cancels it on Ctrl-C or SIGTERM. Nil means that it was; a second signal ends the process immediately.
///
/// - Parameter output: where `body` writes: it is cancelled too when nothing reads that any more.
/// - Throws: `OutputClosed` in that case.
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
            // Cancelled, as the body has ended: its result is the one that counts, and came first.
            return nil
        }
        if let output {
            group.addTask {
                while !output.isClosed { try await Task.sleep(for: closedInterval) }
                throw OutputClosed()
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
