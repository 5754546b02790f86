import ArgumentParser

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

/// The API token: itself, or a file that holds it.
struct TokenOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "What the node has as its api-token. As a flag other users of this machine can see it. (env: REALERTIME_API_TOKEN)", valueName: "token"))
    var apiToken: String?

    @Option(help: ArgumentHelp("A file whose first line is that token. (env: REALERTIME_API_TOKEN_FILE)", valueName: "file"))
    var apiTokenFile: String?

    func validate() throws {
        if self.apiToken != nil, self.apiTokenFile != nil { throw ValidationError("--api-token and --api-token-file say the same thing: give one.") }
    }

    /// A flag takes precedence over the environment. Read once, because the file may be a pipe.
    func token() throws -> String? {
        if let token = self.apiToken { return try Self.checked(token, "--api-token") }
        if let file = self.apiTokenFile { return try Self.checked(Self.firstLine(of: file, "--api-token-file"), "--api-token-file") }
        let (token, file) = (Environment.value("REALERTIME_API_TOKEN"), Environment.value("REALERTIME_API_TOKEN_FILE"))
        guard token == nil || file == nil else {
            throw ValidationError("REALERTIME_API_TOKEN and REALERTIME_API_TOKEN_FILE are both set: keep one, or give a flag.")
        }
        if let token { return try Self.checked(token, "REALERTIME_API_TOKEN") }
        return try file.map { try Self.checked(Self.firstLine(of: $0, "REALERTIME_API_TOKEN_FILE"), "REALERTIME_API_TOKEN_FILE") }
    }

    /// Only the end of the line is removed: a space is part of a secret.
    private static func firstLine(of path: String, _ option: String) throws -> String {
        do {
            return String(try TextFile.read(path).prefix { $0 != "\n" && $0 != "\r\n" })
        } catch {
            throw ValidationError("\(option) \(harmless(path)) \(error.reason).")
        }
    }

    private static func checked(_ token: String, _ option: String) throws -> String {
        guard !token.isEmpty else { throw ValidationError("\(option) holds no token: it is empty.") }
        guard !token.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }), !token.hasPrefix(" "), !token.hasSuffix(" ") else {
            throw ValidationError("\(option) has a space at its beginning or end, or a control character, which no HTTP header can carry.")
        }
        return token
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
          0 all is well, 1 degraded, 2 critical or refused,
          3 the node cannot be reached, 64 wrong usage.
        """
}
