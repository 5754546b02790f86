import ArgumentParser

/// The exit status of a command. ArgumentParser exits with 64 after wrong usage.
enum CommandStatus: Int32 {
    case ok = 0
    case degraded = 1
    case critical = 2
    case unreachable = 3

    var code: ExitCode { ExitCode(self.rawValue) }
}

/// An error of this module, not of the network. Code that translates network errors rethrows it unchanged.
protocol OwnError: Error {}

/// Ends a command with an exit status and a message that says what to change.
struct CommandError: OwnError, Equatable, CustomStringConvertible {
    var status: CommandStatus
    var message: String
    /// The cause without advice, for use inside another message.
    var cause: String?
    /// Whether the error occurred before the request was sent, so that the node cannot have received the request.
    var isBeforeSending = false

    init(_ status: CommandStatus, _ message: String, cause: String? = nil) {
        self.status = status
        self.message = message
        self.cause = cause
    }

    var description: String { self.message }
}

extension CommandStatus {
    func worse(_ other: CommandStatus) -> CommandStatus { self.rawValue >= other.rawValue ? self : other }
}

/// Runs a command's body. Prints an error on standard error and exits with its status.
func reporting(_ body: () async throws -> CommandStatus) async throws {
    do {
        let status = try await body()
        if status != .ok { throw status.code }
    } catch let failure as CommandError {
        Terminal.standardError.printSentence(failure.message, lead: "Error: ")
        throw failure.status.code
    } catch is OutputClosedError {
        // The reader has closed the pipe, as `head` does. This is not an error.
    }
}
