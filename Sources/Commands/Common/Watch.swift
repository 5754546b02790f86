/// Prints a report every second until Ctrl-C. On a terminal each report replaces the previous report.
struct Watch: Sendable {
    var output: OutputFormat
    var terminal = Terminal.standardOutput

    private var isInPlace: Bool { self.terminal.isInteractive && self.output == .table }

    /// Returns the exit status of the last report.
    func run(_ fetch: @escaping @Sendable () async throws -> (CommandStatus, String)) async throws -> CommandStatus {
        let last = LastStatus()
        // Clear the screen, and turn off wrapping: a wrapped line would move the lines below it.
        if self.isInPlace { try self.terminal.write("\u{1B}[2J\u{1B}[?7l".utf8) }
        defer { if self.isInPlace { try? self.terminal.write("\u{1B}[?7h".utf8) } }
        _ = try await untilInterrupted(orClosed: self.terminal) { try await self.fetchRepeatedly(fetch, last) }
        return await last.status
    }

    private func fetchRepeatedly(_ fetch: @Sendable () async throws -> (CommandStatus, String), _ last: LastStatus) async throws {
        while !Task.isCancelled {
            do {
                let (status, text) = try await fetch()
                await last.set(status)
                try self.show(text)
            } catch let failure as CommandError where failure.status == .unreachable {
                await last.set(.unreachable)
                Terminal.standardError.printSentence(failure.message)
            } catch is CancellationError {
                return
            }
            try? await Task.sleep(for: .seconds(1))
        }
    }

    private func show(_ text: String) throws {
        guard self.isInPlace else { return try self.terminal.write((self.output == .table ? "\(text)\n\n" : "\(text)\n").utf8) }
        // Overwrite line by line, because clearing the screen would flicker. Lines that do not fit on the screen are left out, because they would scroll it.
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let rows = self.terminal.rows
        if lines.count >= rows {
            let hidden = lines.count - (rows - 2)
            lines = lines.prefix(rows - 2) + ["… \(hidden) more lines"]
        }
        try self.terminal.write(("\u{1B}[H" + lines.map { "\($0)\u{1B}[K\n" }.joined() + "\u{1B}[J").utf8)
    }
}

/// The exit status of the last report.
private actor LastStatus {
    private(set) var status = CommandStatus.unreachable

    func set(_ status: CommandStatus) {
        self.status = status
    }
}
