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

/// The reader of standard output has closed it.
struct OutputClosed: OwnError {}

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
    /// Whether it is a terminal.
    let isInteractive: Bool
    let hasColours: Bool
    /// COLUMNS of the environment.
    private let columns: Int?
    /// Tables show all columns, for any width of the terminal.
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

    /// The width of a line: COLUMNS, else the terminal's width, which may change. Nil without a terminal: then nothing has to fit.
    var width: Int? {
        guard self.isInteractive else { return nil }
        if let columns, columns > 0 { return max(columns, Self.widthMin) }
        return max(self.size.map { Int($0.ws_col) }.flatMap { $0 > 0 ? $0 : nil } ?? 80, Self.widthMin)
    }

    /// The width of a table row.
    var tableWidth: Int? { self.isWide ? nil : self.width }

    /// The least width for any layout.
    private static let widthMin = 20

    /// Lines on the screen.
    var rows: Int { self.size.map { Int($0.ws_row) }.flatMap { $0 > 3 ? $0 : nil } ?? .max }

    private var size: winsize? {
        var size = winsize()
        return ioctl(self.descriptor, UInt(TIOCGWINSZ), &size) == 0 ? size : nil
    }

    /// For tables that show all columns.
    func wide(_ isWide: Bool) -> Terminal {
        var terminal = self
        terminal.isWide = isWide
        return terminal
    }

    func paint(_ text: String, _ colour: Colour) -> String {
        self.hasColours && !text.isEmpty ? "\u{1B}[\(colour.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// Whether it is no longer read: the other end of the pipe is closed, or the terminal has gone.
    var isClosed: Bool {
        var state = pollfd(fd: self.descriptor, events: 0, revents: 0)
        return poll(&state, 1, 0) > 0 && state.revents & Int16(POLLERR | POLLHUP | POLLNVAL) != 0
    }

    /// Writes everything before it returns, so that the caller knows that it was shown.
    func write(_ bytes: some Collection<UInt8>) throws(OutputClosed) {
        var rest = ContiguousArray(bytes)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { write_(self.descriptor, $0.baseAddress, $0.count) }
            if written >= 0 {
                rest = rest.dropFirst(written)
            } else if errno == EAGAIN || errno == EWOULDBLOCK {
                var ready = pollfd(fd: self.descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&ready, 1, -1)
            } else if errno != EINTR {
                throw OutputClosed()
            }
        }
    }

    /// For notices: a closed output is not an error.
    func writeLine(_ text: String) {
        try? self.write("\(text)\n".utf8)
    }

    /// Prints a sentence for a person, with `lead` in colour before it, wrapped to the terminal and escaped.
    func say(_ sentence: String, lead: String = "", _ colour: Colour = .red) {
        self.writeLine(self.sentence(sentence, lead: lead, colour))
    }

    /// The same as text.
    func sentence(_ sentence: String, lead: String = "", _ colour: Colour = .red) -> String {
        let lines = harmless(sentence, keeping: ["\n"]).split(separator: "\n", omittingEmptySubsequences: false).flatMap {
            wrapped(String($0), to: self.width.map { $0 - lead.count })
        }
        return self.paint(lead, colour) + lines.joined(separator: "\n" + String(repeating: " ", count: lead.count))
    }

    /// What stands below a table.
    func footer(_ sentence: String) -> String { self.sentence(sentence).split(separator: "\n").map { self.paint(String($0), .dim) }.joined(separator: "\n") }

    /// Replaces the line that the cursor is on, on a terminal only; cut where it would wrap.
    func replaceLine(_ text: String) {
        guard self.isInteractive else { return }
        try? self.write("\r\u{1B}[K\(cut(text, to: self.width.map { $0 - 1 }))".utf8)
    }
}

/// The system's `write`, which a method named `write` hides.
private func write_(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    #if canImport(Glibc)
        Glibc.write(descriptor, bytes, count)
    #elseif canImport(Musl)
        Musl.write(descriptor, bytes, count)
    #else
        Darwin.write(descriptor, bytes, count)
    #endif
}
