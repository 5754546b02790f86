package import ArgumentParser

/// The options for the API token: the token, or a file that contains it. All commands that send the token have these options.
package struct TokenOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The API token of the node. Other users of this machine can see the value of this option. (env: REALERTIME_API_TOKEN)", valueName: "token"))
    package var apiToken: String?

    @Option(help: ArgumentHelp("A file whose first line is the API token. (env: REALERTIME_API_TOKEN_FILE)", valueName: "file"))
    package var apiTokenFile: String?

    package init() {}

    package func validate() throws {
        if self.apiToken != nil, self.apiTokenFile != nil { throw ValidationError("--api-token and --api-token-file are both set: keep one.") }
    }

    /// The token, or nil if none is set. An option takes precedence over the environment. Call once, because the file may be a pipe.
    package func token(from environment: [String: String]) throws(TokenError) -> String? {

        if let token = self.apiToken { return try Self.checked(token, "--api-token") }
        if let file = self.apiTokenFile { return try Self.token(in: file, "--api-token-file") }
        let (token, file) = (environment.nonEmpty("REALERTIME_API_TOKEN"), environment.nonEmpty("REALERTIME_API_TOKEN_FILE"))
        guard token == nil || file == nil else {
            throw TokenError("REALERTIME_API_TOKEN and REALERTIME_API_TOKEN_FILE are both set: keep one, or use --api-token or --api-token-file")
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
            throw TokenError("\(option) begins or ends with a space, or contains a control character: an HTTP header cannot contain this token")
        }
        return token
    }
}

extension [String: String] {
    /// The value of an environment variable. An empty variable counts as not set.
    package func nonEmpty(_ name: String) -> String? { self[name].flatMap { $0.isEmpty ? nil : $0 } }
}

/// The reason why the token cannot be used, as a sentence without a full stop.
package struct TokenError: Error, Hashable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}
