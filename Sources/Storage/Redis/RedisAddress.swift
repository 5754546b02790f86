/// Where a Redis server is and how to log in: `redis[s]://[user][:password]@host[:6379][/database]`.
package struct RedisAddress: Hashable, Sendable {
    package let isTLS: Bool
    /// A name, an IPv4 address, or an IPv6 address without its brackets.
    package let host: String
    package let port: Int
    package let user: String?
    let password: String?
    /// Nil means that no `SELECT` is sent, which is database 0.
    package let database: Int?

    /// - Parameter password: used if the URL has none.
    package init(_ url: String, password: String? = nil) throws(RedisAddressError) {
        let rest: Substring
        if url.hasPrefix("redis://") {
            (self.isTLS, rest) = (false, url.dropFirst(8))
        } else if url.hasPrefix("rediss://") {
            (self.isTLS, rest) = (true, url.dropFirst(9))
        } else {
            throw RedisAddressError("a URL of Redis begins with redis:// or, for TLS, with rediss://")
        }
        // A password may contain an at sign, a slash or a question mark that was not encoded. A host and a database may not contain an at sign.
        let place: Substring
        if let at = rest.lastIndex(of: "@") {
            (self.user, self.password) = try Self.login(rest[..<at], password)
            place = rest[rest.index(after: at)...]
        } else {
            (self.user, self.password) = (nil, password)
            place = rest
        }
        let end = place.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? place.endIndex
        (self.host, self.port) = try Self.hostAndPort(place[..<end])
        self.database = try Self.database(place[end...])
    }

    /// `host:port`, for messages.
    package var hostAndPort: String { self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)" }

    // MARK: - Parts

    // No message here quotes anything of the part before the at sign.
    private static func login(_ text: Substring, _ other: String?) throws(RedisAddressError) -> (user: String?, password: String?) {
        guard let colon = text.firstIndex(of: ":") else {
            if let other, !text.isEmpty, let user = Self.decoded(text) { return (user, other) }
            throw RedisAddressError("the URL of Redis has a user and no password: write redis://user:password@host, or redis://:password@host without a user")
        }
        guard let user = Self.decoded(text[..<colon]), let password = Self.decoded(text[text.index(after: colon)...]) else {
            throw RedisAddressError("the user or the password in the URL of Redis has a % that two hexadecimal digits do not follow: write % as %25")
        }
        guard !password.isEmpty else { throw RedisAddressError("the password in the URL of Redis is empty") }
        return (user.isEmpty ? nil : user, password)
    }

    private static func hostAndPort(_ text: Substring) throws(RedisAddressError) -> (host: String, port: Int) {
        let host: Substring
        let rest: Substring
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw RedisAddressError("an IPv6 address in the URL of Redis has no closing bracket") }
            host = text[text.index(after: text.startIndex)..<end]
            rest = text[text.index(after: end)...]
            guard host.contains(":"), host.utf8.allSatisfy({ $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".") || Character(UnicodeScalar($0)).isHexDigit })
            else { throw RedisAddressError("the brackets in the URL of Redis hold no IPv6 address") }
        } else {
            host = text.prefix { $0 != ":" }
            rest = text[host.endIndex...]
        }
        guard !host.isEmpty else { throw RedisAddressError("the URL of Redis has no host") }
        guard host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "%") }) else {
            throw RedisAddressError("the host in the URL of Redis may have only letters, digits, dots and hyphens")
        }
        guard !rest.isEmpty else { return (String(host), 6379) }
        let digits = rest.dropFirst()
        guard rest.hasPrefix(":"), Self.isDecimal(digits), let port = Int(digits), (1...65535).contains(port) else {
            throw RedisAddressError("the port in the URL of Redis is not a number from 1 to 65535 (an IPv6 address needs brackets)")
        }
        return (String(host), port)
    }

    private static func database(_ text: Substring) throws(RedisAddressError) -> Int? {
        guard !text.isEmpty, text != "/" else { return nil }
        let digits = text.dropFirst()
        guard text.hasPrefix("/"), Self.isDecimal(digits), let database = Int(digits) else {
            throw RedisAddressError("after its host and port, the URL of Redis may have only a slash and the number of a database")
        }
        return database
    }

    /// `Int` also reads signs.
    private static func isDecimal(_ text: Substring) -> Bool { !text.isEmpty && text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } }

    /// Nil if a percent sign is not followed by two hexadecimal digits, or the result is not UTF-8.
    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(Self.hexadecimal), let low = rest.popFirst().flatMap(Self.hexadecimal) else { return nil }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func hexadecimal(_ byte: UInt8) -> UInt8? { Character(UnicodeScalar(byte)).hexDigitValue.map(UInt8.init) }
}

/// Never has the password, so that an address can be logged.
extension RedisAddress: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String {
        let user = self.user.map { "\($0)@" } ?? ""
        let database = self.database.map { "/\($0)" } ?? ""
        return "\(self.isTLS ? "rediss" : "redis")://\(user)\(self.hostAndPort)\(database)"
    }

    package var debugDescription: String { self.description }

    package var customMirror: Mirror { Mirror(self, children: ["description": self.description]) }
}

/// What is wrong with a URL, as a sentence that does not quote the password.
package struct RedisAddressError: Error, Equatable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}
