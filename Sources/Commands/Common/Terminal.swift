#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The reader of the output has closed the pipe, or the terminal is gone.
struct OutputClosedError: OwnError {}

/// Standard output or standard error: whether it is a terminal, and unbuffered writes.
struct Terminal: Sendable {
    enum Colour: String {
        case red = "31"
        case green = "32"
        case yellow = "33"
        case dim = "2"
        case bold = "1"
    }

    static let standardOutput = Terminal(descriptor: STDOUT_FILENO)
    static let standardError = Terminal(descriptor: STDERR_FILENO)

    let descriptor: Int32
    /// Whether the output is a terminal.
    let isInteractive: Bool
    let hasColours: Bool
    /// The environment variable COLUMNS.
    private let columns: Int?
    /// Whether tables show all columns, even if the terminal is too narrow.
    var isWide = false

    init(descriptor: Int32) {
        let environment = ProcessInfo.processInfo.environment
        self.init(
            descriptor: descriptor, isInteractive: isatty(descriptor) == 1, noColour: environment["NO_COLOR"], kind: environment["TERM"],
            columns: environment["COLUMNS"].flatMap { Int($0) })
    }

    init(descriptor: Int32, isInteractive: Bool, noColour: String?, kind: String?, columns: Int? = nil) {
        self.descriptor = descriptor
        self.isInteractive = isInteractive
        self.hasColours = isInteractive && (noColour ?? "").isEmpty && kind != "dumb"
        self.columns = columns
    }

    /// The width of a line: COLUMNS, or without COLUMNS the current width of the terminal. Nil (no limit) for a file or a pipe.
    var width: Int? {
        guard self.isInteractive else { return nil }
        if let columns, columns > 0 { return max(columns, Self.widthMin) }
        return max(self.size.map { Int($0.ws_col) }.flatMap { $0 > 0 ? $0 : nil } ?? 80, Self.widthMin)
    }

    /// The width of a table row.
    var tableWidth: Int? { self.isWide ? nil : self.width }

    /// The minimum width for any layout.
    private static let widthMin = 20

    /// The number of lines on the screen.
    var rows: Int { self.size.map { Int($0.ws_row) }.flatMap { $0 > 3 ? $0 : nil } ?? .max }

    private var size: winsize? {
        var size = winsize()
        return ioctl(self.descriptor, UInt(TIOCGWINSZ), &size) == 0 ? size : nil
    }

    /// The same terminal for tables that show all columns.
    func wide(_ isWide: Bool) -> Terminal {
        var terminal = self
        terminal.isWide = isWide
        return terminal
    }

    func paint(_ text: String, _ colour: Colour) -> String {
        self.hasColours && !text.isEmpty ? "\u{1B}[\(colour.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// Whether nothing reads the output any more: the reader has closed the pipe, or the terminal is gone.
    var isClosed: Bool {
        var state = pollfd(fd: self.descriptor, events: 0, revents: 0)
        return poll(&state, 1, 0) > 0 && state.revents & Int16(POLLERR | POLLHUP | POLLNVAL) != 0
    }

    /// Writes all bytes before it returns, without a buffer. So a crash loses no earlier output.
    func write(_ bytes: some Collection<UInt8>) throws(OutputClosedError) {
        var rest = ContiguousArray(bytes)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { write_(self.descriptor, $0.baseAddress, $0.count) }
            if written >= 0 {
                rest = rest.dropFirst(written)
            } else if errno == EAGAIN || errno == EWOULDBLOCK {
                var ready = pollfd(fd: self.descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&ready, 1, -1)
            } else if errno != EINTR {
                throw OutputClosedError()
            }
        }
    }

    /// Writes a line. A closed output is not an error.
    func writeLine(_ text: String) {
        try? self.write("\(text)\n".utf8)
    }

    /// Prints a sentence for a person, with `lead` in colour before it, wrapped to the terminal and escaped.
    func printSentence(_ sentence: String, lead: String = "", _ colour: Colour = .red) {
        self.writeLine(self.sentence(sentence, lead: lead, colour))
    }

    /// The text that ``printSentence(_:lead:_:)`` prints.
    func sentence(_ sentence: String, lead: String = "", _ colour: Colour = .red) -> String {
        let lines = sanitized(sentence, keeping: ["\n"]).split(separator: "\n", omittingEmptySubsequences: false).flatMap {
            wrapped(String($0), to: self.width.map { $0 - lead.count })
        }
        return self.paint(lead, colour) + lines.joined(separator: "\n" + String(repeating: " ", count: lead.count))
    }

    /// A dimmed line below a table.
    func footer(_ sentence: String) -> String { self.sentence(sentence).split(separator: "\n").map { self.paint(String($0), .dim) }.joined(separator: "\n") }

    /// Replaces the line at the cursor. A long text is cut, because a wrapped line could not be replaced. Prints nothing to a file or a pipe.
    func replaceLine(_ text: String) {
        guard self.isInteractive else { return }
        try? self.write("\r\u{1B}[K\(cut(text, to: self.width.map { $0 - 1 }))".utf8)
    }
}

/// Calls the system's `write`, because inside ``Terminal`` the method `write` hides the system call.
private func write_(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    #if canImport(Glibc)
        Glibc.write(descriptor, bytes, count)
    #elseif canImport(Musl)
        Musl.write(descriptor, bytes, count)
    #else
        Darwin.write(descriptor, bytes, count)
    #endif
}
