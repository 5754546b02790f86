/// Shows something again every second until Ctrl-C: in place on a terminal, else one after the other.
struct Watch: Sendable {
    var output: OutputFormat
    var terminal = Terminal.standardOutput

    private var isInPlace: Bool { self.terminal.isInteractive && self.output == .table }

    /// The status that was seen last.
    func run(_ look: @escaping @Sendable () async throws -> (CommandStatus, String)) async throws -> CommandStatus {
        let last = LastStatus()
        // Clear, and cut long lines off rather than wrap them, which would move what is below.
        if self.isInPlace { try self.terminal.write("\u{1B}[2J\u{1B}[?7l".utf8) }
        defer { if self.isInPlace { try? self.terminal.write("\u{1B}[?7h".utf8) } }
        _ = try await untilInterrupted(orClosed: self.terminal) { try await self.repeatedly(look, last) }
        return await last.status
    }

    private func repeatedly(_ look: @Sendable () async throws -> (CommandStatus, String), _ last: LastStatus) async throws {
        while !Task.isCancelled {
            do {
                let (status, text) = try await look()
                await last.set(status)
                try self.show(text)
            } catch let failure as Failure where failure.status == .unreachable {
                await last.set(.unreachable)
                Terminal.standardError.say(failure.message)
            } catch is CancellationError {
                return
            }
            try? await Task.sleep(for: .seconds(1))
        }
    }

    private func show(_ text: String) throws {
        guard self.isInPlace else { return try self.terminal.write((self.output == .table ? "\(text)\n\n" : "\(text)\n").utf8) }
        // Home, each line to its end, and what is left below: no flicker, as nothing is ever blank. What is below the screen would scroll it.
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let rows = self.terminal.rows
        if lines.count >= rows {
            let hidden = lines.count - (rows - 2)
            lines = lines.prefix(rows - 2) + ["… \(hidden) more lines"]
        }
        try self.terminal.write(("\u{1B}[H" + lines.map { "\($0)\u{1B}[K\n" }.joined() + "\u{1B}[J").utf8)
    }
}

/// What was seen last.
private actor LastStatus {
    private(set) var status = CommandStatus.unreachable

    func set(_ status: CommandStatus) {
        self.status = status
    }
}
