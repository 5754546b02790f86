/// Waits until the cluster has executed a request, and prints progress on standard error.
struct Waiter: Sendable {
    enum Step: Sendable {
        case inProgress(left: Int, moving: Int)
        case done(String, CommandStatus)
        /// The cluster will never execute the request.
        case failed(String)
    }

    /// The name of the operation, such as "the drain of n1".
    var what: String
    /// The command that shows the progress after this command has ended.
    var later: String
    var limit: Duration?
    var terminal = Terminal.standardError
    /// The wait ends if no response arrives for this time.
    var responseGrace = Duration.seconds(15)
    var interval = Duration.milliseconds(500)

    private static let lineInterval = Duration.seconds(5)

    /// - Parameters:
    ///   - fetchStep: fetches the current state.
    ///   - obstacles: fetches the reasons why the operation does not progress.
    func wait(
        _ fetchStep: @escaping @Sendable () async throws -> Step, obstacles: @escaping @Sendable () async throws -> [String]
    ) async throws -> CommandStatus {
        let limit = self.limit
        do {
            let status = try await untilInterrupted {
                guard let limit else { return try await self.follow(fetchStep, obstacles) }
                return try await withTimeout(limit) { try await self.follow(fetchStep, obstacles) }
            }
            if let status { return status }
        } catch is TimeoutError {
            self.clear()
            let reasons = try? await withTimeout(self.responseGrace) { try await obstacles() }
            for reason in reasons ?? [] { self.terminal.printSentence(reason, lead: "  ") }
            let seconds = Readable.fixed(limit?.seconds ?? 0, 1)
            throw CommandError(.degraded, "\(self.what) is not complete after \(seconds) s. The cluster continues. \(self.later) shows the progress.")
        } catch is CancellationError {}
        self.clear()
        self.terminal.printSentence("\(self.what) \(self.continuation)")
        return .degraded
    }

    private var continuation: String { "continues without this command. \(self.later) shows the progress." }

    private func follow(_ fetchStep: () async throws -> Step, _ obstacles: () async throws -> [String]) async throws -> CommandStatus {
        var progress = WaitProgress()
        var respondedAt = ContinuousClock.now
        var failures = 0
        var shown = Shown()
        while true {
            do {
                switch try await fetchStep() {
                case .inProgress(let left, let moving):
                    progress.note(left: left, moving: moving, at: .now)
                    var stuck: [String] = []
                    if progress.isStuck(at: .now) { stuck = (try? await obstacles()) ?? [] }
                    self.show(progress, stuck, isStuck: progress.isStuck(at: .now), &shown)
                case .done(let text, let status):
                    self.clear()
                    self.terminal.printSentence(text)
                    return status
                case .failed(let text):
                    throw WaitFailedError(message: text)
                }
                respondedAt = .now
                failures = 0
            } catch let failure as CommandError {
                failures += 1
                // Always make a second attempt, because the grace may have ended while this process was suspended.
                guard failures < 2 || .now < respondedAt.advanced(by: self.responseGrace) else {
                    self.clear()
                    throw CommandError(failure.status, "\(failure.message) \(self.what) \(self.continuation)")
                }
                self.note(failure.message, &shown)
            } catch let failure as WaitFailedError {
                self.clear()
                throw CommandError(.critical, failure.message)
            }
            try await Task.sleep(for: self.interval)
        }
    }

    /// This is not a ``CommandError``, because the waiter retries after a ``CommandError``.
    private struct WaitFailedError: OwnError {
        var message: String
    }

    // MARK: showing

    /// The last printed output. Only changes are printed.
    private struct Shown {
        var at: ContinuousClock.Instant?
        var line = ""
        var notes: [String] = []
    }

    private func show(_ progress: WaitProgress, _ stuck: [String], isStuck: Bool, _ shown: inout Shown) {
        if isStuck, stuck != shown.notes {
            self.clear()
            self.terminal.printSentence(stuck.isEmpty ? "; the cluster reports no reason" : ":", lead: "nothing has changed for 10 s", .yellow)
            for reason in stuck { self.terminal.printSentence(reason, lead: "  ") }
            shown.notes = stuck
        }
        if !isStuck { shown.notes = [] }
        let line = "\(self.what): \(progress.text)"
        if self.terminal.isInteractive {
            self.terminal.replaceLine(line)
        } else if line != shown.line, shown.at.map({ .now >= $0.advanced(by: Self.lineInterval) }) ?? true {
            self.terminal.writeLine(line)
            shown.at = .now
            shown.line = line
        }
    }

    /// Prints a message unless it is equal to the last printed message.
    private func note(_ text: String, _ shown: inout Shown) {
        guard shown.notes != [text] else { return }
        shown.notes = [text]
        self.clear()
        self.terminal.printSentence(text)
    }

    private func clear() {
        self.terminal.replaceLine("")
    }
}
