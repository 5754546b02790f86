/// Shows one line of progress on a terminal, and a summary at the end.
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
        self.terminal.replaceLine(self.text(tally))
    }

    /// Prints a message unless it is equal to the last printed message.
    mutating func note(_ text: String) {
        guard self.lastNote != text else { return }
        self.lastNote = text
        self.clear()
        self.terminal.printSentence(text)
    }

    func finish(_ tally: PublishMachine.Tally) {
        self.clear()
        self.terminal.printSentence(self.text(tally))
        if let refusal = tally.firstRefusal {
            self.terminal.printSentence("Line \(refusal.line) is the first refused line: \(refusal.reason).")
        }
        if let line = tally.firstOvertakenLine {
            self.terminal.printSentence(
                "\(Readable.count(tally.overtaking, "event")) overtook an earlier event, because the node refused the earlier event temporarily. "
                    + "The first overtaken event is line \(line). To prevent this, use --concurrency 1.")
        }
    }

    private func clear() {
        self.terminal.replaceLine("")
    }

    private func text(_ tally: PublishMachine.Tally) -> String {
        let seconds = max((ContinuousClock.now - self.start).seconds, 0.001)
        var parts = ["\(Readable.count(tally.published)) published", Readable.rate(Double(tally.published) / seconds)]
        if tally.duplicates > 0 { parts.append(Readable.count(tally.duplicates, "duplicate")) }
        if tally.retries > 0 { parts.append("\(Readable.count(tally.retries)) \(tally.retries == 1 ? "retry" : "retries")") }
        parts.append("\(Readable.count(tally.refused)) refused")
        return parts.joined(separator: ", ")
    }
}
