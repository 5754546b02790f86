import Logging
import NIOConcurrencyHelpers
import Pipeline

/// The origins whose pages may use this node through a browser. Pure.
package struct Origins: Sendable {
    private let allowsAll: Bool
    private let allowed: Set<String>

    init(_ origins: [String]) {
        self.allowsAll = origins.contains("*")
        self.allowed = Set(origins.map(Self.normalized))
    }

    /// Whether the text is `*`, or an origin as browsers send it: scheme, host and port.
    package static func isOrigin(_ text: String) -> Bool {
        if text == "*" { return true }
        guard let range = text.firstRange(of: "://"), range.lowerBound != text.startIndex else { return false }
        let host = text[range.upperBound...]
        return !host.isEmpty && !host.contains { "/?# @*".contains($0) }
    }

    func allows(_ origin: String) -> Bool { self.allowsAll || self.isListed(origin) }

    private func isListed(_ origin: String) -> Bool { self.allowed.contains(Self.normalized(origin)) }

    /// The form that browsers send (RFC 6454 §6.2): lower case, without the default port of the scheme.
    static func normalized(_ origin: String) -> String {
        let origin = origin.lowercased()
        for (scheme, port) in [("https://", ":443"), ("http://", ":80")] where origin.hasPrefix(scheme) && origin.hasSuffix(port) {
            return String(origin.dropLast(port.count))
        }
        return origin
    }

    /// Whether the page was loaded from the host and port to which it sends the request. Schemes are not compared, because a proxy may end TLS.
    static func isSame(_ origin: String, as head: RequestHead) -> Bool {
        guard let host = head.field("host"), let colon = origin.firstIndex(of: ":") else { return false }
        return Self.normalized(origin) == Self.normalized("\(origin[..<colon])://\(host)")
    }

    /// The CORS headers that allow a page to read the response. Empty if the origin is not allowed.
    func headers(for head: RequestHead) -> String {
        guard let origin = head.field("origin"), self.allows(origin) else { return "" }
        guard self.isListed(origin) else { return "Access-Control-Allow-Origin: *\r\n" }
        // A node uses no cookies, but a proxy in front of the node may use them. A page that sends cookies can read the response only with
        // `Access-Control-Allow-Credentials`.
        return "Access-Control-Allow-Origin: \(origin)\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n"
    }

    /// A message that says why a page is refused, and what to change. `cors-origins` cannot contain `null` (a sandboxed frame, a local file) or other texts
    /// that are not origins.
    static func refusal(of origin: String) -> String {
        guard origin != "*", Self.isOrigin(origin) else {
            return "the Origin \(String(origin.prefix(100)).debugDescription) cannot be in cors-origins; serve the page over http or https "
                + "(cors-origins: * allows this Origin to subscribe, but not to publish)"
        }
        return "pages of the origin \(origin.prefix(100)) are refused; add the origin to cors-origins if its pages may use this node"
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

/// Decides which refused origins are logged. Each origin is logged once. Their number is bounded, because a client can invent any number of origins. A pure
/// value.
struct RefusedOrigins {
    private var logged: Set<String> = []

    /// The log line for an origin. Nil if the origin was logged before, if the limit is reached, or if the origin ends in `.invalid`. The command `doctor`
    /// sends such an origin, and no page has one.
    mutating func sentence(for origin: String) -> String? {
        guard !origin.hasSuffix(".invalid"), self.logged.count < FixedLimits.loggedOriginsMax else { return nil }
        let origin = String(String.UnicodeScalarView(origin.unicodeScalars.prefix(100).filter { (0x21...0x7E).contains($0.value) }))
        guard self.logged.insert(origin).inserted else { return nil }
        let isLast = self.logged.count == FixedLimits.loggedOriginsMax
        return Origins.refusal(of: origin)
            + (isLast ? " (\(FixedLimits.loggedOriginsMax) origins were logged; further origins are only counted in realertime_refused_origins_total)" : "")
    }
}

/// Logs refused origins of all loops. The lock is taken only for a refusal.
final class RefusedOriginLog: Sendable {
    private let refused = NIOLockedValueBox(RefusedOrigins())
    private let logger: Logger

    init(_ logger: Logger) { self.logger = logger }

    func report(_ origin: String) {
        guard let sentence = self.refused.withLockedValue({ $0.sentence(for: origin) }) else { return }
        self.logger.warning("\(sentence)")
    }
}
