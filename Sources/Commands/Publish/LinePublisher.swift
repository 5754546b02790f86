import JSON

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Publishes each line of an input as an event, in order, as the lines arrive.
struct LinePublisher: Sendable {
    private static let lineBytesMax = 16 * 1024 * 1024
    private static let queueBytesMax = 4 * 1024 * 1024

    var sender: PublishSender
    var concurrency: Int
    var retryTimeout: Duration
    /// Whether each line must be JSON.
    var wantsJSON: Bool
    /// Where each response is printed. Nil if responses are not printed.
    var responses: Terminal?
    /// Where the progress is shown.
    var notices: Terminal

    /// Returns at the end of the input. Throws if no line can be published. After a cancellation, throws when no event is in flight any more.
    func run(_ input: StandardInput) async throws -> CommandStatus {
        let queue = LineQueue(bytesMax: LinePublisher.queueBytesMax)
        var machine = PublishMachine(concurrency: self.concurrency, retryTimeout: self.retryTimeout)
        var progress = PublishProgress(terminal: self.notices)
        async let reading: Void = self.read(input, into: queue)
        let result: Result<Void, any Error>
        do {
            try await self.publish(queue, &machine, &progress)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await queue.finish()
        progress.finish(machine.tally)
        try result.get()
        try await reading
        return machine.tally.refused > 0 ? .degraded : .ok
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

    private func publish(_ queue: LineQueue, _ machine: inout PublishMachine, _ progress: inout PublishProgress) async throws {
        var backoff = Backoff()
        while true {
            if Task.isCancelled {
                let waiting = await queue.firstLine
                guard let line = machine.firstPendingLine ?? waiting else { return }
                throw CommandError(.degraded, "Interrupted. Line \(line) is the first line that was not published.")
            }
            if machine.window.isEmpty {
                let lines = await queue.take(machine.capacity)
                if lines.isEmpty { return }
                for line in lines { self.accept(line, into: &machine) }
                if machine.window.isEmpty { continue }
            }
            let window = machine.window
            let sentAt = ContinuousClock.now
            let outcomes = await self.sender.send(window, within: machine.retryTimeout(at: sentAt))
            try self.show(outcomes)
            let step = machine.didFinish(outcomes, sentAt: sentAt, now: .now)
            progress.show(machine.tally)
            switch step {
            case .proceed:
                backoff.succeeded()
            case .wait(let hint, let reason):
                progress.note("\(reason). Retrying.")
                try? await Task.sleep(for: backoff.next(atLeast: hint))
            case .stop(let failure):
                throw failure
            }
        }
    }

    private func accept(_ line: LineSplitter.Line, into machine: inout PublishMachine) {
        if line.isTooLong {
            machine.refuse(line: line.number, reason: "the line has more than \(LinePublisher.lineBytesMax) bytes")
        } else if self.wantsJSON, !line.bytes.isEmpty, !JSONValue.accepts(line.bytes) {
            machine.refuse(line: line.number, reason: "the line is not JSON")
        } else if !line.bytes.isEmpty {
            machine.accept([PublishEvent(line: line.number, messageID: UUID().uuidString.lowercased(), payload: line.bytes)])
        }
    }

    private func show(_ outcomes: [PublishOutcome]) throws {
        guard let responses else { return }
        for case .published(let response, _) in outcomes { try responses.write(response + [UInt8(ascii: "\n")]) }
    }
}
