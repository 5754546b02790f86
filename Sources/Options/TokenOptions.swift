package import ArgumentParser

/// The API token: itself, or a file that contains it. The same for every command that sends it.
package struct TokenOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The node's api-token. As a flag, other users of this machine can see it. (env: REALERTIME_API_TOKEN)", valueName: "token"))
    package var apiToken: String?

    @Option(help: ArgumentHelp("A file whose first line is that token. (env: REALERTIME_API_TOKEN_FILE)", valueName: "file"))
    package var apiTokenFile: String?

    package init() {}

    package func validate() throws {
        if self.apiToken != nil, self.apiTokenFile != nil { throw ValidationError("--api-token and --api-token-file are both set: keep one.") }
    }

    /// A flag takes precedence over the environment; an empty variable counts as not set. The file is read once, as it may be a pipe.
    package func token(from environment: [String: String]) throws(TokenError) -> String? {
        func given(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        if let token = self.apiToken { return try Self.checked(token, "--api-token") }
        if let file = self.apiTokenFile { return try Self.token(in: file, "--api-token-file") }
        let (token, file) = (given("REALERTIME_API_TOKEN"), given("REALERTIME_API_TOKEN_FILE"))
        guard token == nil || file == nil else {
            throw TokenError("REALERTIME_API_TOKEN and REALERTIME_API_TOKEN_FILE are both set: keep one, or give a flag")
        }
        if let token { return try Self.checked(token, "REALERTIME_API_TOKEN") }
        if let file { return try Self.token(in: file, "REALERTIME_API_TOKEN_FILE") }
        return nil
    }

    private static func token(in path: String, _ option: String) throws(TokenError) -> String {
        do {
            return try self.checked(try TextFile.firstLine(of: path), option)
        } catch let error as TokenError {
            throw error
        } catch {
            throw TokenError("\(option) \(path) \(error)")
        }
    }

    private static func checked(_ token: String, _ option: String) throws(TokenError) -> String {
        guard !token.isEmpty else { throw TokenError("\(option) is empty: it must contain the token") }
        guard !token.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }), !token.hasPrefix(" "), !token.hasSuffix(" ") else {
            throw TokenError("\(option) has a space at its beginning or end, or a control character, which no HTTP header can carry")
        }
        return token
    }
}

/// Why there is no token, as a sentence without its full stop.
package struct TokenError: Error, Hashable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}
