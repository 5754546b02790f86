import NIOHTTP1

/// Checks of the subscriber port that need no event.
struct PortChecks: Sendable {
    /// At the subscriber port.
    var client: NodeClient
    var api: BaseURL
    var channel: String

    func all() async -> [Check] {
        await [self.readOnly(), self.headers(), self.ownOrigin(), self.foreignOrigin()]
    }

    /// Nothing can publish here.
    private func readOnly() async -> Check {
        let name = "read only"
        return await self.checking(name) {
            let answer = try await self.client.post("/pub?id=\(self.channel)", Array("doctor".utf8))
            guard answer.status >= 400 else {
                return .fail(name, "a publish on the subscriber port was answered with \(answer.status)", do: "Check that --url is not the API port.")
            }
            return .ok(name, "the subscriber port does not publish")
        }
    }

    /// The headers that prevent caches and proxies from delaying events.
    private func headers() async -> Check {
        let name = "headers"
        return await self.checking(name) {
            let answer = try await self.client.head("/ev/\(self.channel)")
            let wanted = [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
            let wrong = wanted.filter { answer.headers.first(name: $0.0)?.lowercased().hasPrefix($0.1) != true }
            guard wrong.isEmpty else {
                let words = wrong.map { "\($0.0) is \(answer.headers.first(name: $0.0) ?? "not there") instead of \($0.1)" }.joined(separator: ", ")
                return .fail(name, words, do: "If a proxy is between, let it pass these headers and not buffer.")
            }
            return .ok(name, "nothing between may cache or buffer")
        }
    }

    private func ownOrigin() async -> Check {
        let name = "own page"
        return await self.checking(name) {
            let origin = "\(self.api.isSecure ? "https" : "http")://\(self.api.authority)"
            let allowed = try await self.allowedOrigin(origin)
            guard allowed == origin || allowed == "*" else {
                return .warn(name, "the page at \(origin) may not subscribe", do: "Add \(origin) to cors-origins, if the node's own page is to work there.")
            }
            return .ok(name, "the page at \(origin) may subscribe")
        }
    }

    /// No page has this origin: `.invalid` is reserved. A node refuses it without a line in its log.
    private static let foreignOrigin = "https://doctor.invalid"

    private func foreignOrigin() async -> Check {
        let name = "other pages"
        return await self.checking(name) {
            guard let allowed = try await self.allowedOrigin(Self.foreignOrigin) else {
                return .ok(name, "pages of origins that are not in cors-origins may not subscribe")
            }
            guard allowed == "*" || allowed == Self.foreignOrigin else { return .ok(name, "only \(allowed) may subscribe") }
            return .warn(name, "pages of any origin may subscribe", do: "If events are not for everybody, list the origins in cors-origins instead of *.")
        }
    }

    private func allowedOrigin(_ origin: String) async throws -> String? {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "GET")]
        return try await self.client.send(.OPTIONS, "/ev/\(self.channel)", headers: headers).headers.first(name: "access-control-allow-origin")
    }

    private func checking(_ name: String, _ body: () async throws -> Check) async -> Check {
        do {
            return try await body()
        } catch {
            return .fail(name, "\(error)", do: "See the node's log.")
        }
    }
}
