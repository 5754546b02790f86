/// One line on a terminal that says how it goes, and a summary at the end.
struct PublishProgress {
    private static let interval = Duration.milliseconds(200)

    private let terminal: Terminal
    private let start = ContinuousClock.now
    private var shownAt: ContinuousClock.Instant?
    private var lastNote: String?

    init(terminal: Terminal) {
        self.terminal = terminal
    }

    mutating func show(_ tally: PublishCourse.Tally) {
        guard self.terminal.isInteractive else { return }
        let now = ContinuousClock.now
        if let shownAt, now - shownAt < PublishProgress.interval { return }
        self.shownAt = now
        try? self.terminal.write("\r\u{1B}[K\(self.words(tally))".utf8)
    }

    /// Says something once, not at every attempt.
    mutating func note(_ text: String) {
        guard self.lastNote != text else { return }
        self.lastNote = text
        self.clear()
        self.terminal.writeLine(text)
    }

    func finish(_ tally: PublishCourse.Tally) {
        self.clear()
        self.terminal.writeLine(self.words(tally))
        if let refusal = tally.firstRefusal {
            self.terminal.writeLine("The first line that could not be published is line \(refusal.line): \(refusal.reason).")
        }
        if let line = tally.firstOvertakenLine {
            self.terminal.writeLine(
                "\(Readable.count(tally.overtaking)) events came before an earlier one, first line \(line), as the node refused it for a moment. "
                    + "With --concurrency 1 none can.")
        }
    }

    private func clear() {
        if self.terminal.isInteractive { try? self.terminal.write("\r\u{1B}[K".utf8) }
    }

    private func words(_ tally: PublishCourse.Tally) -> String {
        let seconds = max((ContinuousClock.now - self.start).seconds, 0.001)
        var words = ["\(Readable.count(tally.published)) published", Readable.rate(Double(tally.published) / seconds)]
        if tally.duplicates > 0 { words.append("\(Readable.count(tally.duplicates)) were there already") }
        if tally.retries > 0 { words.append("\(Readable.count(tally.retries)) retries") }
        words.append(self.errors(tally.refused))
        return words.joined(separator: ", ")
    }

    private func errors(_ count: Int) -> String {
        let text = "\(Readable.count(count)) failed"
        return count > 0 ? self.terminal.paint(text, .red) : text
    }
}
