import AdminAPI
import JSON

/// Whether a ZooKeeper server that is cut off from the others continues to serve for longer than a session lasts.
struct ZooKeeperCheck: Sendable {
    var limits: ZooKeeperLimits

    private static let name = "zookeeper limits"

    static func look(at node: NodeClient) async -> Check {
        do {
            let answer = try await node.expectOK(node.get("/api/zookeeper"), for: "/api/zookeeper")
            return ZooKeeperCheck(limits: try ZooKeeperLimits(try JSONValue(answer.body, named: "the response", bytesMax: .max))).check
        } catch {
            return .skip(Self.name, "not known: the node does not say how its ZooKeeper is set")
        }
    }

    var check: Check {
        func seconds(_ milliseconds: Int) -> String { "\(Readable.fixed(Double(milliseconds) / 1000, 1)) s" }
        let known = self.limits.servers.compactMap { server in server.syncLimitMilliseconds.map { (server.address, $0) } }
        let unknown = self.limits.servers.compactMap { server in server.unknown.map { "\(server.address): \($0)" } }
        let long = known.filter { $0.1 >= self.limits.sessionMilliseconds }
        guard long.isEmpty else {
            return .warn(
                Self.name,
                "cut off from the others, \(long.map { "\($0.0) serves on for \(seconds($0.1))" }.joined(separator: ", ")) (syncLimit × tickTime), and a session lasts \(seconds(self.limits.sessionMilliseconds))",
                do: "Lower syncLimit in zoo.cfg, or raise zookeeper-session-seconds. Until then a node behind such a server notices after half a session.")
        }
        guard unknown.isEmpty else { return .skip(Self.name, "not known of \(unknown.joined(separator: "; "))") }
        let longest = known.map(\.1).max() ?? 0
        guard longest > 0 else { return .ok(Self.name, "there is one server, and no other to be cut off from") }
        return .ok(Self.name, "a server that is cut off serves on for \(seconds(longest)), less than a session of \(seconds(self.limits.sessionMilliseconds))")
    }
}
