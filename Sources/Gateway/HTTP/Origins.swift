import Logging
import NIOConcurrencyHelpers

/// Which pages may read from this node through a browser. Pure.
package struct Origins: Sendable {
    private let allowsAll: Bool
    private let allowed: Set<String>

    init(_ origins: [String]) {
        self.allowsAll = origins.contains("*")
        self.allowed = Set(origins.map(Self.normalized))
    }

    /// The form that browsers send: scheme, host and port only.
    package static func isOrigin(_ text: String) -> Bool {
        if text == "*" { return true }
        guard let range = text.firstRange(of: "://"), range.lowerBound != text.startIndex else { return false }
        let host = text[range.upperBound...]
        return !host.isEmpty && !host.contains { "/?# @*".contains($0) }
    }

    func allows(_ origin: String) -> Bool { self.allowsAll || self.isListed(origin) }

    private func isListed(_ origin: String) -> Bool { self.allowed.contains(Self.normalized(origin)) }

    /// In the form that browsers send (RFC 6454 §6.2): lower case, without the scheme's default port.
    static func normalized(_ origin: String) -> String {
        let origin = origin.lowercased()
        for (scheme, port) in [("https://", ":443"), ("http://", ":80")] where origin.hasPrefix(scheme) && origin.hasSuffix(port) {
            return String(origin.dropLast(port.count))
        }
        return origin
    }

    /// Whether the page comes from the requested host and port: the browser's own rule. Works behind a proxy too.
    static func isSame(_ origin: String, as head: RequestHead) -> Bool {
        guard let host = head.field("host"), let colon = origin.firstIndex(of: ":") else { return false }
        return Self.normalized(origin) == Self.normalized("\(origin[..<colon])://\(host)")
    }

    /// The headers that let a browser's page read the response. Empty without an allowed origin.
    func headers(for head: RequestHead) -> String {
        guard let origin = head.field("origin"), self.allows(origin) else { return "" }
        guard self.isListed(origin) else { return "Access-Control-Allow-Origin: *\r\n" }
        // The node uses no cookies, but a proxy in front may. A page that sends cookies can read nothing without the second header.
        return "Access-Control-Allow-Origin: \(origin)\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n"
    }

    /// Why a page may not connect, and what to change. `null` (a sandboxed frame, a local file) and other texts that are not origins cannot be listed.
    static func refusal(of origin: String) -> String {
        guard origin != "*", Self.isOrigin(origin) else {
            return "an Origin of \(String(origin.prefix(100)).debugDescription) cannot be listed in cors-origins (only * covers it, and only to subscribe); "
                + "serve the page over http or https"
        }
        return "pages of \(origin.prefix(100)) are refused; add it to cors-origins if they may use this node"
    }

    func preflightHeaders(for head: RequestHead, methods: String) -> String {
        let headers = self.headers(for: head)
        guard !headers.isEmpty else { return "" }
        // EventSource polyfills send Cache-Control and Last-Event-ID.
        return headers + "Access-Control-Allow-Methods: \(methods)\r\n"
            + "Access-Control-Allow-Headers: Last-Event-ID, Cache-Control, Content-Type, Event-Type, Message-Id, Authorization, X-API-Key\r\n"
            + "Access-Control-Max-Age: 600\r\n"
    }
}

/// The log lines for refused origins, each once. Bounded, because a client can invent any number of origins. A pure value.
struct RefusedOrigins {
    static let originsMax = 100

    private var logged: Set<String> = []

    /// Nil for an origin that was logged before, above the limit, and for one under `.invalid`: no page has that, and `doctor` asks whether it is refused.
    mutating func sentence(for origin: String) -> String? {
        guard !origin.hasSuffix(".invalid"), self.logged.count < Self.originsMax else { return nil }
        let origin = String(String.UnicodeScalarView(origin.unicodeScalars.prefix(100).filter { (0x21...0x7E).contains($0.value) }))
        guard self.logged.insert(origin).inserted else { return nil }
        let isLast = self.logged.count == Self.originsMax
        return Origins.refusal(of: origin)
            + (isLast ? " (\(Self.originsMax) origins were refused; more are counted in realertime_refused_origins_total and not logged)" : "")
    }
}

/// Logs refused origins, for all loops. Behind a lock, which only a refusal takes.
final class RefusedOriginLog: Sendable {
    private let refused = NIOLockedValueBox(RefusedOrigins())
    private let logger: Logger

    init(_ logger: Logger) { self.logger = logger }

    func report(_ origin: String) {
        guard let sentence = self.refused.withLockedValue({ $0.sentence(for: origin) }) else { return }
        self.logger.warning("\(sentence)")
    }
}
