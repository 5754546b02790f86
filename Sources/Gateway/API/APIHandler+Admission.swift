import Pipeline

/// The checks before a request is executed: method, origin, token and content coding.
extension APIHandler {
    /// Throws if the path does not support the method.
    func check(_ head: RequestHead, methods: [RequestHead.Method], allow: String) throws(HTTPError) {
        guard methods.contains(head.method) else { throw .methodNotAllowed(allow) }
    }

    func admit(_ head: RequestHead, methods: [RequestHead.Method], allow: String) throws(HTTPError) {
        try self.check(head, methods: methods, allow: allow)
        // A browser adds an `Origin` header to every request from a page of another origin. Without this check, any page that a person on this machine
        // visits could publish.
        if let origin = self.refusedOrigin(head) {
            self.originRefused(origin)
            throw HTTPError(.forbidden, "forbidden_origin", Origins.refusal(of: origin))
        }
        try self.checkToken(head)
        if methods.contains(.post) { try Self.checkCoding(head) }
    }

    func originRefused(_ origin: String) {
        self.loop.metrics.refusedOrigins += 1
        self.services.refusedOrigins.report(origin)
    }

    func refusedOrigin(_ head: RequestHead) -> String? {
        guard let origin = head.field("origin"), !self.services.origins.allows(origin), !Self.isOwn(origin, head) else { return nil }
        return origin
    }

    /// Payloads are delivered unchanged, and a subscriber could not detect that a payload is compressed.
    private static func checkCoding(_ head: RequestHead) throws(HTTPError) {
        guard let codings = head.list("content-encoding") else { return }
        guard codings.split(separator: ",").allSatisfy({ $0.trimmingSpaces().asciiLowercased() == "identity" }) else {
            throw HTTPError(
                .unsupportedMediaType, "unsupported_encoding",
                "Content-Encoding \(codings.prefix(100)) is not supported; send the body without Content-Encoding", header: "Accept-Encoding: identity\r\n")
        }
    }

    private func checkToken(_ head: RequestHead) throws(HTTPError) {
        guard let token = self.services.token else { return }
        let bearer = head.field("authorization").flatMap { $0.lowercased().hasPrefix("bearer ") ? String($0.dropFirst(7).trimmingSpaces()) : nil }
        guard let given = bearer ?? head.field("x-api-key"), Self.isEqual(given, token) else {
            throw HTTPError(
                .unauthorized, "unauthorized", "send the API token as Authorization: Bearer TOKEN or X-API-Key: TOKEN",
                header: "WWW-Authenticate: Bearer\r\n")
        }
    }

    /// Whether the page was loaded from this port, under a loopback name.
    private static func isOwn(_ origin: String, _ head: RequestHead) -> Bool {
        guard let host = head.field("host")?.lowercased() else { return false }
        // An IPv6 address is in brackets. A colon inside the brackets does not begin the port.
        let name = host.hasSuffix("]") ? host[...] : host.lastIndex(of: ":").map { host[..<$0] } ?? host[...]
        // Other names are refused, because an attacker's DNS can point any name to this machine (DNS rebinding).
        guard ["127.0.0.1", "localhost", "[::1]"].contains(name) else { return false }
        return Origins.normalized(origin) == Origins.normalized("http://\(host)")
    }

    /// Compares in constant time, so that the duration does not reveal how many characters are correct.
    private static func isEqual(_ left: String, _ right: String) -> Bool {
        let left = Array(left.utf8)
        let right = Array(right.utf8)
        var difference = UInt8(left.count == right.count ? 0 : 1)
        for index in right.indices { difference |= right[index] ^ (index < left.count ? left[index] : 0) }
        return difference == 0
    }
}
