/// Which pages may read from this node through a browser. Pure.
struct Origins: Sendable {
    private let allowsAll: Bool
    private let allowed: Set<String>

    init(_ origins: [String]) {
        self.allowsAll = origins.contains("*")
        self.allowed = Set(origins.map { $0.lowercased() })
    }

    func allows(_ origin: String) -> Bool {
        self.allowsAll || self.allowed.contains(origin.lowercased())
    }

    /// Whether the page comes from the very host and port that it asks: the browser's own rule, behind a proxy too.
    static func isSame(_ origin: String, as head: RequestHead) -> Bool {
        guard let host = head.field("host"), let scheme = origin.firstIndex(of: ":") else { return false }
        return origin[scheme...].dropFirst(3).lowercased() == host.lowercased()
    }

    /// The lines that let a browser read the answer; empty without an allowed origin.
    func headers(for head: RequestHead) -> String {
        guard let origin = head.field("origin"), self.allows(origin) else { return "" }
        // No credentials: nothing here is decided by a cookie.
        return "Access-Control-Allow-Origin: \(self.allowsAll ? "*" : origin)\r\n\(self.allowsAll ? "" : "Vary: Origin\r\n")"
    }

    func preflightHeaders(for head: RequestHead, methods: String) -> String {
        let headers = self.headers(for: head)
        guard !headers.isEmpty else { return "" }
        return headers + "Access-Control-Allow-Methods: \(methods)\r\n"
            + "Access-Control-Allow-Headers: Last-Event-ID, Content-Type, Event-Type, Message-Id, Authorization, X-API-Key\r\nAccess-Control-Max-Age: 600\r\n"
    }
}
