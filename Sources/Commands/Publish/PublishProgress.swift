/// One line of progress on a terminal, and a summary at the end.
struct PublishProgress {
    private static let interval = Duration.milliseconds(200)

    private let terminal: Terminal
    private let start = ContinuousClock.now
    private var shownAt: ContinuousClock.Instant?
    private var lastNote: String?

    init(terminal: Terminal) {
        self.terminal = terminal
    }

    mutating func show(_ tally: PublishMachine.Tally) {
        guard self.terminal.isInteractive else { return }
        let now = ContinuousClock.now
        if let shownAt, now - shownAt < PublishProgress.interval { return }
        self.shownAt = now
        self.terminal.replaceLine(self.words(tally))
    }

    /// Prints a message once, not at every attempt.
    mutating func note(_ text: String) {
        guard self.lastNote != text else { return }
        self.lastNote = text
        self.clear()
        self.terminal.say(text)
    }

    func finish(_ tally: PublishMachine.Tally) {
        self.clear()
        self.terminal.say(self.words(tally))
        if let refusal = tally.firstRefusal {
            self.terminal.say("The first line that could not be published is line \(refusal.line): \(refusal.reason).")
        }
        if let line = tally.firstOvertakenLine {
            self.terminal.say(
                "\(Readable.count(tally.overtaking)) events came before an earlier one, first line \(line), as the node refused it for a moment. "
                    + "With --concurrency 1 none can.")
        }
    }

    private func clear() {
        self.terminal.replaceLine("")
    }

    private func words(_ tally: PublishMachine.Tally) -> String {
        let seconds = max((ContinuousClock.now - self.start).seconds, 0.001)
        var words = ["\(Readable.count(tally.published)) published", Readable.rate(Double(tally.published) / seconds)]
        if tally.duplicates > 0 { words.append("\(Readable.count(tally.duplicates)) were there already") }
        if tally.retries > 0 { words.append("\(Readable.count(tally.retries)) retries") }
        words.append("\(Readable.count(tally.refused)) failed")
        return words.joined(separator: ", ")
    }
}
