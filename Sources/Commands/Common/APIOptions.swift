import ArgumentParser
import Options

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The options for the API port of one node.
struct APIOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The URL of the node's API port. (env: REALERTIME_API_URL; default: http://127.0.0.1:8081)", valueName: "url"))
    var api: String?

    @OptionGroup var secret: TokenOptions

    func base() throws -> BaseURL {
        let text = try apiText(self.api)
        guard !text.contains(",") else {
            throw ValidationError("--api must be one URL, because this command works with one node. \"\(sanitized(text))\" has several URLs.")
        }
        return try BaseURL(named: "--api", text)
    }
}

/// The options for the API port of any node of a cluster.
struct AnyNodeOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The URL of a node's API port. To give several nodes, separate their URLs with commas: the command uses the first node that it can reach. (env: REALERTIME_API_URL; default: http://127.0.0.1:8081)",
            valueName: "url"))
    var api: String?

    @OptionGroup var secret: TokenOptions

    func bases() throws -> [BaseURL] {
        let text = try apiText(self.api)
        return try text.split(separator: ",", omittingEmptySubsequences: false).map { try BaseURL(named: "--api", $0.trimming { $0 == " " }) }
    }
}

private func apiText(_ option: String?) throws -> String { try optionOrVariable("--api", option, "REALERTIME_API_URL") ?? "http://127.0.0.1:8081" }

extension TokenOptions {
    /// The API token. Nil if no token is set.
    func token() throws -> String? {
        do {
            return try self.token(from: ProcessInfo.processInfo.environment)
        } catch {
            throw ValidationError("\(sanitized(error.description)).")
        }
    }
}

/// The value of an option. Without the option, the value of its environment variable. An empty option is an error, because often it comes from a shell
/// variable that is not set.
func optionOrVariable(_ option: String, _ value: String?, _ variable: String) throws -> String? {
    if let value {
        guard !value.isEmpty else { throw ValidationError("\(option) is empty.") }
        return value
    }
    return ProcessInfo.processInfo.environment.nonEmpty(variable)
}

extension StringProtocol {
    /// The text without the unwanted characters at both ends.
    func trimming(_ isUnwanted: (Character) -> Bool) -> String {
        String(String(self.drop(while: isUnwanted).reversed()).drop(while: isUnwanted).reversed())
    }
}

enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    case table
    case json
}

/// Parts that several help texts share. A paragraph is one line, which is wrapped to the terminal's width. Indented text is not wrapped, so it fits 80 columns.
enum Help {
    static let exitStatus = """
        EXIT STATUS:
          0 healthy
          1 degraded
          2 critical, or the request was refused, or there is no controller
          3 the node cannot be reached
          64 wrong usage
        """
    /// The exit status of commands that change the cluster.
    static let changeExitStatus = """
        EXIT STATUS:
          0 success
          2 the request was refused, or there is no controller
          3 the node cannot be reached
          64 wrong usage
        """
    /// The exit status of commands that change the cluster and wait until the change is complete.
    static let waitExitStatus = """
        EXIT STATUS:
          0 success
          1 the command stopped waiting before the operation was complete
          2 the request was refused or cancelled, or there is no controller
          3 the node cannot be reached
          64 wrong usage
        """
    static let watch = "Print the output again every second, until Ctrl-C. On a terminal, new output replaces the previous output."
}
