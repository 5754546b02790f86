import ArgumentParser
import Options

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// How to reach the API port of one node.
struct APIOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The API port of the node. (env: REALERTIME_API_URL; default: http://127.0.0.1:8081)", valueName: "url"))
    var api: String?

    @OptionGroup var secret: TokenOptions

    func base() throws -> BaseURL {
        let text = try given("--api", self.api, "REALERTIME_API_URL") ?? "http://127.0.0.1:8081"
        guard !text.contains(",") else {
            throw ValidationError("--api is one URL here: this command is about one node, and \"\(harmless(text))\" are several.")
        }
        return try BaseURL(named: "--api", text)
    }
}

/// How to reach the API port of any node of a cluster.
struct AnyNodeOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The API port of a node; or of several, with commas between them: the first that can be reached is asked. (env: REALERTIME_API_URL; default: http://127.0.0.1:8081)",
            valueName: "url"))
    var api: String?

    @OptionGroup var secret: TokenOptions

    func bases() throws -> [BaseURL] {
        let text = try given("--api", self.api, "REALERTIME_API_URL") ?? "http://127.0.0.1:8081"
        return try text.split(separator: ",", omittingEmptySubsequences: false).map { try BaseURL(named: "--api", $0.trimming { $0 == " " }) }
    }
}

extension TokenOptions {
    /// The token that is given, or nil.
    func token() throws -> String? {
        do {
            return try self.token(from: ProcessInfo.processInfo.environment)
        } catch {
            throw ValidationError("\(harmless(error.description)).")
        }
    }
}

/// The value of an option, else of its variable. An empty flag is an error, such as an unset shell variable. An empty variable counts as not set.
func given(_ option: String, _ value: String?, _ variable: String) throws -> String? {
    if let value {
        guard !value.isEmpty else { throw ValidationError("\(option) is empty.") }
        return value
    }
    return Environment.value(variable)
}

enum Environment {
    /// A variable that is empty counts as not set, as for a node.
    static func value(_ name: String) -> String? {
        ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }
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

/// Shared parts of help texts. A paragraph is one line, which is wrapped to the terminal's width. Indented text is not wrapped, and fits 80 columns.
enum Help {
    static let exitStatus = """
        EXIT STATUS:
          0 all is well, 1 degraded, 2 critical or refused (also when the
          cluster has no controller), 3 the node cannot be reached, 64 wrong usage.
        """
}
