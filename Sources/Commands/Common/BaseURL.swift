import ArgumentParser

/// `http://host:port`, optionally with a path prefix.
struct BaseURL: Sendable, Equatable, CustomStringConvertible {
    var isSecure: Bool
    /// A host name or an IP address, without brackets.
    var host: String
    var port: Int
    var path: String

    /// `localhost:8081` means `http://localhost:8081`, because tables and logs print addresses in that form.
    init(named option: String, _ text: String) throws {
        var rest = text[...]
        var isSecure = false
        if let end = text.firstRange(of: "://") {
            let scheme = text[..<end.lowerBound].lowercased()
            guard scheme == "http" || scheme == "https" else { throw Self.refusal(option, text, "begins with http:// or https://") }
            isSecure = scheme == "https"
            rest = text[end.upperBound...]
        }
        guard !rest.contains(where: { $0 == "?" || $0 == "#" }) else { throw Self.refusal(option, text, "has no ? and no #") }
        guard rest.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { throw Self.refusal(option, text, "is printable ASCII without spaces") }
        let authority = rest.prefix { $0 != "/" }
        guard !authority.contains("@") else { throw Self.refusal(option, "…", "has no user name: a token is given with --api-token-file") }
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
            guard let end = host.firstIndex(of: "]") else { throw self.refusal(option, text, "closes the bracket of an IPv6 address") }
            let after = host[host.index(after: end)...]
            guard after.isEmpty || after.hasPrefix(":") else { throw self.refusal(option, text, "has only a port behind the bracket") }
            digits = after.isEmpty ? nil : after.dropFirst()
            host = host[..<end].dropFirst()
            guard host.contains(":"), host.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." }) else {
                throw self.refusal(option, text, "has an IPv6 address in its brackets")
            }
        } else {
            if let colon = host.firstIndex(of: ":") {
                digits = host[host.index(after: colon)...]
                host = host[..<colon]
                guard digits?.contains(":") == false else { throw self.refusal(option, text, "has an IPv6 address in brackets") }
            }
            guard !host.isEmpty, host.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "." || $0 == "-" || $0 == "_" }) else {
                throw self.refusal(option, text, "has a host name or an IP address")
            }
        }
        guard let digits else { return (String(host), nil) }
        guard let port = Int(digits), (1...65_535).contains(port), digits.allSatisfy(\.isNumber) else {
            throw self.refusal(option, text, "has a port from 1 to 65535")
        }
        return (String(host), port)
    }

    private static func refusal(_ option: String, _ text: String, _ rule: String) -> ValidationError {
        let example = "http://127.0.0.1:\(option == "--url" ? 8080 : 8081)"
        return ValidationError("\(option) cannot be \"\(harmless(text))\": a URL like \(example) \(rule).")
    }

    /// In the form of a `Host` header.
    var authority: String {
        let host = self.host.contains(":") ? "[\(self.host)]" : self.host
        return self.port == (self.isSecure ? 443 : 80) ? host : "\(host):\(self.port)"
    }

    var description: String { "\(self.isSecure ? "https" : "http")://\(self.authority)\(self.path)" }
}
