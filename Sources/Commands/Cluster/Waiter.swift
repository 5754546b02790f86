/// Waits until the cluster has executed a request, and prints progress on standard error.
struct Waiter: Sendable {
    enum Step: Sendable {
        case going(left: Int, moving: Int)
        case done(String, CommandStatus)
        /// It will not happen.
        case failed(String)
    }

    /// As in "the drain of n1".
    var what: String
    /// The command that shows progress later.
    var later: String
    var limit: Duration?
    var terminal = Terminal.standardError
    /// How long missing responses are tolerated.
    var patience = Duration.seconds(15)
    var interval = Duration.milliseconds(500)

    private static let lineInterval = Duration.seconds(5)

    func wait(
        _ look: @escaping @Sendable () async throws -> Step, obstacles: @escaping @Sendable () async throws -> [String]
    ) async throws -> CommandStatus {
        let limit = self.limit
        do {
            let status = try await untilInterrupted {
                guard let limit else { return try await self.follow(look, obstacles) }
                return try await withTimeout(limit) { try await self.follow(look, obstacles) }
            }
            if let status { return status }
        } catch is TimedOut {
            self.clear()
            // After the timeout, say what is missing.
            let reasons = try? await withTimeout(self.patience) { try await obstacles() }
            for reason in reasons ?? [] { self.terminal.say(reason, lead: "  ") }
            let seconds = Readable.fixed(limit?.seconds ?? 0, 1)
            throw Failure(.degraded, "\(self.what) is not done within \(seconds) s. The cluster continues; \(self.later) shows it.")
        } catch is CancellationError {}
        self.clear()
        self.terminal.say("\(self.what) continues without this command; \(self.later) shows it.")
        return .degraded
    }

    private func follow(_ look: () async throws -> Step, _ obstacles: () async throws -> [String]) async throws -> CommandStatus {
        var progress = WaitProgress()
        var answeredAt = ContinuousClock.now
        var failures = 0
        var shown = Shown()
        while true {
            do {
                switch try await look() {
                case .going(let left, let moving):
                    progress.note(left: left, moving: moving, at: .now)
                    var stuck: [String] = []
                    if progress.isStuck(at: .now) { stuck = (try? await obstacles()) ?? [] }
                    self.show(progress, stuck, isStuck: progress.isStuck(at: .now), &shown)
                case .done(let words, let status):
                    self.clear()
                    self.terminal.say(words)
                    return status
                case .failed(let words):
                    throw Ended(message: words)
                }
                answeredAt = .now
                failures = 0
            } catch let failure as Failure {
                failures += 1
                // At least a second attempt: this process may have been paused for a long time too.
                guard failures < 2 || .now < answeredAt.advanced(by: self.patience) else {
                    self.clear()
                    throw Failure(failure.status, "\(failure.message) \(self.what) continues without this command; \(self.later) shows it.")
                }
                self.note(failure.message, &shown)
            } catch let ended as Ended {
                self.clear()
                throw Failure(.critical, ended.message)
            }
            try await Task.sleep(for: self.interval)
        }
    }

    private struct Ended: OwnError {
        var message: String
    }

    // MARK: showing

    private struct Shown {
        var at: ContinuousClock.Instant?
        var line = ""
        var notes: [String] = []
    }

    private func show(_ progress: WaitProgress, _ stuck: [String], isStuck: Bool, _ shown: inout Shown) {
        if isStuck, stuck != shown.notes {
            self.clear()
            self.terminal.say(stuck.isEmpty ? "; the cluster reports no reason" : ":", lead: "nothing has changed for 10 s", .yellow)
            for reason in stuck { self.terminal.say(reason, lead: "  ") }
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

    /// Prints a message once, not at every attempt.
    private func note(_ text: String, _ shown: inout Shown) {
        guard shown.notes != [text] else { return }
        shown.notes = [text]
        self.clear()
        self.terminal.say(text)
    }

    private func clear() {
        self.terminal.replaceLine("")
    }
}
