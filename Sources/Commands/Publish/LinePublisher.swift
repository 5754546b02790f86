#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Publishes each line of an input as an event, in order, as the lines come.
struct LinePublisher: Sendable {
    private static let lineBytesMax = 16 * 1024 * 1024
    private static let queueBytesMax = 4 * 1024 * 1024

    var sender: PublishSender
    var concurrency: Int
    var patience: Duration
    /// Each line must be JSON.
    var wantsJSON: Bool
    /// Where to show each answer, if anywhere.
    var answers: Terminal?
    /// Where to show how it goes.
    var notices: Terminal

    /// Ends with the input, with Ctrl-C (what is on its way arrives), or where no line can be published any more.
    func run(_ input: StandardInput) async throws -> CommandStatus {
        let queue = LineQueue(bytesMax: LinePublisher.queueBytesMax)
        var course = PublishCourse(concurrency: self.concurrency, patience: self.patience)
        var progress = PublishProgress(terminal: self.notices)
        async let reading: Void = self.read(input, into: queue)
        let result: Result<Void, any Error>
        do {
            try await self.publish(queue, &course, &progress)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await queue.finish()
        progress.finish(course.tally)
        try result.get()
        try await reading
        return course.tally.refused > 0 ? .degraded : .ok
    }

    // MARK: helpers

    private func read(_ input: StandardInput, into queue: LineQueue) async throws {
        var splitter = LineSplitter(lineBytesMax: LinePublisher.lineBytesMax)
        let result: Result<Void, any Error>
        do {
            try await input.read { await queue.put(splitter.feed($0)) }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        if let last = splitter.finish() { await queue.put([last]) }
        await queue.finish()
        try result.get()
    }

    private func publish(_ queue: LineQueue, _ course: inout PublishCourse, _ progress: inout PublishProgress) async throws {
        var backoff = Backoff()
        while true {
            if Task.isCancelled {
                let waiting = await queue.firstLine
                guard let line = course.firstPendingLine ?? waiting else { return }
                throw Failure(.degraded, "Interrupted: line \(line) is the first that was not published.")
            }
            if course.window.isEmpty {
                let lines = await queue.take(course.room)
                if lines.isEmpty { return }
                for line in lines { self.accept(line, into: &course) }
                if course.window.isEmpty { continue }
            }
            let window = course.window
            let sentAt = ContinuousClock.now
            let outcomes = await self.sender.send(window, within: course.patience(at: sentAt))
            try self.show(outcomes)
            let step = course.settled(outcomes, sentAt: sentAt, now: .now)
            progress.show(course.tally)
            switch step {
            case .goOn:
                backoff.succeeded()
            case .wait(let hint, let reason):
                progress.note("\(reason): trying again")
                try? await Task.sleep(for: backoff.next(atLeast: hint))
            case .stop(let failure):
                throw failure
            }
        }
    }

    private func accept(_ line: LineSplitter.Line, into course: inout PublishCourse) {
        if line.isTooLong {
            course.refuse(line: line.number, reason: "the line is over \(LinePublisher.lineBytesMax) bytes")
        } else if self.wantsJSON, !line.bytes.isEmpty, !JSONGrammar.accepts(line.bytes) {
            course.refuse(line: line.number, reason: "the line is not JSON")
        } else if !line.bytes.isEmpty {
            course.accept([PublishEvent(line: line.number, messageID: UUID().uuidString.lowercased(), payload: line.bytes)])
        }
    }

    private func show(_ outcomes: [PublishOutcome]) throws {
        guard let answers else { return }
        for case .published(let answer, _) in outcomes { try answers.write(answer + [UInt8(ascii: "\n")]) }
    }
}
