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

/// Standard output was closed by who read it.
struct OutputClosed: OwnError {}

/// Standard output or standard error: whether a person looks at it, and writing to it at once.
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
    /// Whether a person looks at it.
    let isInteractive: Bool
    let hasColours: Bool

    init(descriptor: Int32) {
        let environment = ProcessInfo.processInfo.environment
        self.init(
            descriptor: descriptor, isInteractive: isatty(descriptor) == 1, noColour: environment["NO_COLOR"], kind: environment["TERM"])
    }

    init(descriptor: Int32, isInteractive: Bool, noColour: String?, kind: String?) {
        self.descriptor = descriptor
        self.isInteractive = isInteractive
        self.hasColours = isInteractive && (noColour ?? "").isEmpty && kind != "dumb"
    }

    func paint(_ text: String, _ colour: Colour) -> String {
        self.hasColours ? "\u{1B}[\(colour.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// Whether who read it is gone.
    var isClosed: Bool {
        var state = pollfd(fd: self.descriptor, events: 0, revents: 0)
        return poll(&state, 1, 0) > 0 && state.revents & Int16(POLLERR) != 0
    }

    /// Writes all of it before it returns, so that what was shown can be said to have been shown.
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

    /// For notices: that nobody can read them is no reason to stop.
    func writeLine(_ text: String) {
        try? self.write("\(text)\n".utf8)
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
