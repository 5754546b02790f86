import ArgumentParser

/// `http://host:port`, optionally with a path prefix.
struct BaseURL: Sendable, Equatable, CustomStringConvertible {
    var isSecure: Bool
    /// A host name or an IP address, without brackets.
    var host: String
    var port: Int
    var path: String

    /// `localhost:8081` means `http://localhost:8081`, because tables and logs show addresses in the short form.
    init(named option: String, _ text: String) throws {
        var rest = text[...]
        var isSecure = false
        if let end = text.firstRange(of: "://") {
            let scheme = text[..<end.lowerBound].lowercased()
            guard scheme == "http" || scheme == "https" else { throw Self.refusal(option, text, "it must begin with http:// or https://") }
            isSecure = scheme == "https"
            rest = text[end.upperBound...]
        }
        guard !rest.contains(where: { $0 == "?" || $0 == "#" }) else { throw Self.refusal(option, text, "it must contain no ? and no #") }
        guard rest.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { throw Self.refusal(option, text, "it must be printable ASCII without spaces") }
        let authority = rest.prefix { $0 != "/" }
        guard !authority.contains("@") else { throw Self.refusal(option, "…", "it must contain no user name. Give the API token with --api-token-file") }
        let (host, port) = try Self.split(authority, option, text)
        self.isSecure = isSecure
        self.host = host
        self.port = port ?? (isSecure ? 443 : 80)
        self.path = String(rest[authority.endIndex...])
        while self.path.hasSuffix("/") { self.path.removeLast() }
    }

    private static func split(_ authority: Substring, _ option: String, _ text: String) throws -> (host: String, port: Int?) {
        var host = authority
        var digits: Substring?
        if host.hasPrefix("[") {
            guard let end = host.firstIndex(of: "]") else { throw self.refusal(option, text, "the bracket of the IPv6 address is not closed") }
            let after = host[host.index(after: end)...]
            guard after.isEmpty || after.hasPrefix(":") else { throw self.refusal(option, text, "only a port may follow the bracket") }
            digits = after.isEmpty ? nil : after.dropFirst()
            host = host[..<end].dropFirst()
            guard host.contains(":"), host.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." }) else {
                throw self.refusal(option, text, "the brackets must contain an IPv6 address")
            }
        } else {
            if let colon = host.firstIndex(of: ":") {
                digits = host[host.index(after: colon)...]
                host = host[..<colon]
                guard digits?.contains(":") == false else { throw self.refusal(option, text, "an IPv6 address must be in brackets") }
            }
            guard !host.isEmpty, host.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "." || $0 == "-" || $0 == "_" }) else {
                throw self.refusal(option, text, "it must contain a host name or an IP address")
            }
        }
        guard let digits else { return (String(host), nil) }
        guard let port = Int(digits), (1...65_535).contains(port), digits.allSatisfy(\.isNumber) else {
            throw self.refusal(option, text, "the port must be a number from 1 to 65535")
        }
        return (String(host), port)
    }

    private static func refusal(_ option: String, _ text: String, _ rule: String) -> ValidationError {
        let example = "http://127.0.0.1:\(option == "--url" ? 8080 : 8081)"
        return ValidationError("\(option) \"\(sanitized(text))\" is not a URL such as \(example): \(rule).")
    }

    /// The value of a `Host` header.
    var authority: String {
        let host = self.host.contains(":") ? "[\(self.host)]" : self.host
        return self.port == (self.isSecure ? 443 : 80) ? host : "\(host):\(self.port)"
    }

    var description: String { "\(self.isSecure ? "https" : "http")://\(self.authority)\(self.path)" }
}
