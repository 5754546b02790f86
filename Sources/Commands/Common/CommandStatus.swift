import ArgumentParser

/// The exit status of a command. Wrong usage is 64, as in ArgumentParser.
enum CommandStatus: Int32 {
    case ok = 0
    case degraded = 1
    case critical = 2
    case unreachable = 3

    var code: ExitCode { ExitCode(self.rawValue) }
}

/// Errors that the commands raise themselves, in contrast to network errors.
protocol OwnError: Error {}

/// Why a command fails: a message that says what to change, and the exit status.
struct Failure: OwnError, Equatable, CustomStringConvertible {
    var status: CommandStatus
    var message: String
    /// The bare cause, for use inside another message.
    var cause: String?
    /// The node certainly received nothing.
    var isBeforeSending = false

    init(_ status: CommandStatus, _ message: String, cause: String? = nil) {
        self.status = status
        self.message = message
        self.cause = cause
    }

    var description: String { self.message }
}

/// Runs a command's body, and turns a failure into a message on standard error and an exit status.
func reporting(_ body: () async throws -> CommandStatus) async throws {
    do {
        let status = try await body()
        if status != .ok { throw status.code }
    } catch let failure as Failure {
        Terminal.standardError.say(failure.message, lead: "Error: ")
        throw failure.status.code
    } catch is OutputClosed {
        // The reader has closed the pipe, as `head` does.
    }
}
