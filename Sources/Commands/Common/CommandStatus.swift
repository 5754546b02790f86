import ArgumentParser

/// What a command's exit says. Wrong usage is 64, as ArgumentParser has it.
enum CommandStatus: Int32 {
    case ok = 0
    case degraded = 1
    case critical = 2
    case unreachable = 3

    var code: ExitCode { ExitCode(self.rawValue) }
}

/// Errors that are raised here on purpose, and are none of the network.
protocol OwnError: Error {}

/// Why a command ends without success: a sentence that says what to change, and the exit status.
struct Failure: OwnError, Equatable, CustomStringConvertible {
    var status: CommandStatus
    var message: String
    /// What happened, without the words around it, for a sentence of another's.
    var cause: String?
    /// The node cannot have received anything.
    var isBeforeSending = false

    init(_ status: CommandStatus, _ message: String, cause: String? = nil) {
        self.status = status
        self.message = message
        self.cause = cause
    }

    var description: String { self.message }
}

/// Runs a command's body and turns how it failed into a sentence on standard error and an exit status.
func reporting(_ body: () async throws -> CommandStatus) async throws {
    do {
        let status = try await body()
        if status != .ok { throw status.code }
    } catch let failure as Failure {
        Terminal.standardError.say(failure.message, lead: "Error: ")
        throw failure.status.code
    } catch is OutputClosed {
        // Who reads has seen enough, as `head` does.
    }
}
