import NIOHTTP1

/// Checks of the subscriber port that need no event.
struct PortChecks: Sendable {
    /// Sends requests to the subscriber port.
    var client: NodeClient
    var api: BaseURL
    var channel: String

    func all() async -> [Check] {
        await [self.readOnly(), self.headers(), self.ownOrigin(), self.foreignOrigin()]
    }

    /// Checks that the subscriber port refuses publish requests.
    private func readOnly() async -> Check {
        let name = "read only"
        return await Check.catching(name) {
            let response = try await self.client.post("/pub?id=\(self.channel)", Array("doctor".utf8))
            guard response.status >= 400 else {
                return .fail(name, "a publish on the subscriber port returned \(response.status)", do: "Check that --url is not the API port.")
            }
            return .ok(name, "the subscriber port refuses publish requests, as it should")
        }
    }

    /// Checks that the response has the headers that prevent caches and proxies from delaying events.
    private func headers() async -> Check {
        let name = "headers"
        return await Check.catching(name) {
            let response = try await self.client.head("/ev/\(self.channel)")
            let required = [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
            let wrong = required.filter { response.headers.first(name: $0.0)?.lowercased().hasPrefix($0.1) != true }
            guard wrong.isEmpty else {
                let list = wrong.map { "\($0.0) is \(response.headers.first(name: $0.0) ?? "missing") instead of \($0.1)" }.joined(separator: ", ")
                return .fail(name, list, do: "If --url leads to a proxy, configure the proxy to forward these headers and not to buffer responses.")
            }
            return .ok(name, "the headers forbid caches and proxies to store or delay events")
        }
    }

    private func ownOrigin() async -> Check {
        let name = "own page"
        return await Check.catching(name) {
            let origin = "\(self.api.isSecure ? "https" : "http")://\(self.api.authority)"
            let allowed = try await self.allowedOrigin(origin)
            guard allowed == origin || allowed == "*" else {
                return .warn(name, "the node's page at \(origin) cannot subscribe", do: "If you use this page, add \(origin) to the node's cors-origins.")
            }
            return .ok(name, "the node's page at \(origin) can subscribe")
        }
    }

    /// No page has this origin, because `.invalid` is reserved. A node refuses this origin without a line in the node's log.
    private static let foreignOrigin = "https://doctor.invalid"

    private func foreignOrigin() async -> Check {
        let name = "other pages"
        return await Check.catching(name) {
            guard let allowed = try await self.allowedOrigin(Self.foreignOrigin) else {
                return .ok(name, "pages can subscribe only if their origin is in the node's cors-origins")
            }
            guard allowed == "*" || allowed == Self.foreignOrigin else { return .ok(name, "only pages of \(allowed) can subscribe") }
            return .warn(
                name, "pages of any origin can subscribe", do: "If the events are not public, list the allowed origins in the node's cors-origins instead of *."
            )
        }
    }

    private func allowedOrigin(_ origin: String) async throws -> String? {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "GET")]
        let request = Request(method: .OPTIONS, path: "/ev/\(self.channel)", headers: headers)
        return try await self.client.send(request).headers.first(name: "access-control-allow-origin")
    }
}
