import AdminAPI
import AsyncHTTPClient
import NIOConcurrencyHelpers
import SubscriberAPI

/// Checks that an event published at any node of the cluster arrives at every node: subscribes at all nodes, then publishes once at each.
struct ClusterDelivery: Sendable {
    private static let name = "between nodes"

    /// The results so far. A pure value, so that its judgement can be tested.
    struct Progress: Sendable, Equatable {
        /// The nodes that take part.
        var nodes: [String]
        /// Nodes that this machine cannot reach, with the reason.
        var unreachable: [String: String] = [:]
        var subscribed: Set<String> = []
        /// Why a subscription failed or ended.
        var ended: [String: String] = [:]
        var published: Set<String> = []
        /// Why a publish was refused.
        var refused: [String: String] = [:]
        /// The nodes whose events have arrived, by receiving node.
        var received: [String: Set<String>] = [:]

        var allSubscribed: Bool { self.subscribed.count + self.ended.count >= self.nodes.count }

        var isComplete: Bool {
            self.published.count + self.refused.count == self.nodes.count
                && self.nodes.allSatisfy { self.ended[$0] != nil || self.published.isSubset(of: self.received[$0] ?? []) }
        }

        func check(milliseconds: String) -> Check {
            let absent = self.unreachable.keys.sorted().map { "\($0): \(self.unreachable[$0]!)" }.joined(separator: "; ")
            guard self.nodes.count > 1 else {
                return .skip(ClusterDelivery.name, "this machine reaches fewer than two nodes of the cluster" + (absent.isEmpty ? "" : " (\(absent))"))
            }
            var problems: [String] = []
            for node in self.nodes {
                if let reason = self.ended[node] {
                    problems.append("a subscription at \(node) ended: \(reason)")
                } else if !self.subscribed.contains(node) {
                    problems.append("a subscription at \(node) got no cursor in time")
                }
                if let reason = self.refused[node] { problems.append("a publish at \(node) failed: \(reason)") }
            }
            for node in self.published.sorted() {
                let missing = self.nodes.filter { self.subscribed.contains($0) && self.ended[$0] == nil && self.received[$0]?.contains(node) != true }
                if !missing.isEmpty { problems.append("an event published at \(node) did not arrive in time at \(missing.joined(separator: ", "))") }
            }
            guard problems.isEmpty else {
                return .fail(
                    ClusterDelivery.name, problems.joined(separator: "; "),
                    do: "Run doctor with the --api of these nodes: see whether their links and data connections are up, and who owns the partitions.")
            }
            let text = "an event published at each of \(self.nodes.count) nodes arrived at all of them within \(milliseconds)"
            return .ok(ClusterDelivery.name, absent.isEmpty ? text : "\(text); this machine cannot reach \(absent)")
        }
    }

    private let places: [(id: String, probe: Probe)]
    private let progress: NIOLockedValueBox<Progress>
    private let timeout: Duration

    /// Nil for a node outside a cluster, and for a cluster of one node.
    static func run(at node: NodeClient, http: HTTPClient, channel: String) async -> Check? {
        guard let members = try? await ClusterClient(node: node).fetch(ClusterMembers.self).report else { return nil }
        let living = members.members.filter { $0.incarnation != nil && $0.state != "joining" }
        guard living.count > 1 else { return nil }
        var places: [(id: String, probe: Probe)] = []
        var progress = Progress(nodes: [])
        for member in living {
            do {
                let probe = try await Self.probe(member, node, http, channel)
                places.append((member.id, probe))
                progress.nodes.append(member.id)
            } catch {
                progress.unreachable[member.id] = "\(error)"
            }
        }
        let delivery = ClusterDelivery(places: places, progress: NIOLockedValueBox(progress), timeout: node.timeout)
        let milliseconds = places.count > 1 ? await delivery.run() : ""
        return delivery.progress.withLockedValue { $0.check(milliseconds: milliseconds) }
    }

    /// A node that listens on all addresses is reached at the host of its link address.
    private static func probe(_ member: ClusterMembers.Member, _ node: NodeClient, _ http: HTTPClient, _ channel: String) async throws -> Probe {
        var api = try BaseURL(named: "api", "http://\(member.api)")
        if let link = try? BaseURL(named: "link", "http://\(member.link)"), Self.isWildcard(api.host) { api.host = link.host }
        let client = NodeClient(base: api, token: node.token, http: http, timeout: node.timeout)
        let status = try NodeStatus(json: await client.expect(NodeStatus.path).body)
        guard status.node.id == member.id else { throw CommandError(.critical, "\(api) is the node \(status.node.id)") }
        var listen = try BaseURL(named: "listen", "http://\(status.listen)")
        if Self.isWildcard(listen.host) { listen.host = api.host }
        return Probe(node: client, subscriber: listen, http: http, channel: channel, timeout: node.timeout)
    }

    private static func isWildcard(_ host: String) -> Bool { host == "0.0.0.0" || host == "::" }

    /// Returns the time from the first publish to the last receipt.
    private func run() async -> String {
        await withTaskGroup(of: Void.self) { group in
            for place in self.places { group.addTask { await self.receive(at: place.id, place.probe) } }
            await self.wait { $0.allSubscribed }
            let start = ContinuousClock.now
            for place in self.places { group.addTask { await self.publish(at: place.id, place.probe) } }
            await self.wait { $0.isComplete }
            group.cancelAll()
            return Readable.milliseconds(ContinuousClock.now - start)
        }
    }

    /// Returns when the condition is true, or at the time limit.
    private func wait(for condition: (Progress) -> Bool) async {
        let deadline = ContinuousClock.now + self.timeout
        while ContinuousClock.now < deadline, !self.progress.withLockedValue({ condition($0) }) { try? await Task.sleep(for: .milliseconds(5)) }
    }

    private func receive(at node: String, _ probe: Probe) async {
        do {
            try await Subscription(base: probe.subscriber, channels: [probe.channel], transport: .stream, http: probe.http).connect(since: nil) { delivery in
                self.progress.withLockedValue { progress in
                    switch delivery {
                    case .cursor: _ = progress.subscribed.insert(node)
                    case .event(let envelope): _ = progress.received[node, default: []].insert(String(decoding: envelope.text, as: UTF8.self))
                    case .gap: progress.ended[node] = "a gap was delivered"
                    case .connected, .retry, .heartbeat: break
                    }
                }
            }
            self.end(node, "the node ended the connection")
        } catch {
            self.end(node, (error as? DisconnectedError)?.reason ?? "\(error)")
        }
    }

    /// After the last receipt the subscriptions are cancelled, which is no problem.
    private func end(_ node: String, _ reason: String) {
        guard !Task.isCancelled else { return }
        self.progress.withLockedValue { $0.ended[node] = reason }
    }

    private func publish(at node: String, _ probe: Probe) async {
        do {
            try await probe.publish(node)
            self.progress.withLockedValue { _ = $0.published.insert(node) }
        } catch {
            guard !Task.isCancelled else { return }
            self.progress.withLockedValue { $0.refused[node] = "\(error)" }
        }
    }
}
