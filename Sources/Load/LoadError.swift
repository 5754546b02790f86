/// The reason why a run cannot start or continue. The message says what to change.
struct LoadError: Error, CustomStringConvertible, Equatable {
    enum Code: Int32 {
        case failed = 1
        case unreachable = 3
        /// The same code that ArgumentParser uses.
        case usage = 64
    }

    var code: Code
    var message: String

    static func usage(_ message: String) -> LoadError { LoadError(code: .usage, message: message) }
    static func unreachable(_ message: String) -> LoadError { LoadError(code: .unreachable, message: message) }
    static func failed(_ message: String) -> LoadError { LoadError(code: .failed, message: message) }

    var description: String { "Error: \(self.message)." }
}
