import AdminAPI
import JSON

/// Checks how long a ZooKeeper server continues to serve after it is cut off from the other servers. The server must stop before a session expires.
struct ZooKeeperCheck: Sendable {
    var limits: ZooKeeperLimits

    private static let name = "zookeeper limits"

    static func run(at node: NodeClient) async -> Check {
        do {
            let response = try await node.expect("/api/zookeeper")
            return ZooKeeperCheck(limits: try ZooKeeperLimits(try JSONValue(response.body, named: "the response", bytesMax: .max))).check
        } catch {
            return .skip(Self.name, "unknown: the node does not report the configuration of its ZooKeeper servers")
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
                "a server that is cut off from the other servers continues to serve for longer than a session of \(seconds(self.limits.sessionMilliseconds)) (syncLimit × tickTime): \(long.map { "\($0.0) for \(seconds($0.1))" }.joined(separator: ", "))",
                do:
                    "Lower syncLimit in zoo.cfg, or raise zookeeper-session-seconds. Until then a node that is connected to such a server detects the failure only after half a session."
            )
        }
        guard unknown.isEmpty else { return .skip(Self.name, "unknown for \(unknown.joined(separator: "; "))") }
        let longest = known.map(\.1).max() ?? 0
        guard longest > 0 else { return .ok(Self.name, "there is only one ZooKeeper server") }
        return .ok(
            Self.name,
            "a server that is cut off continues to serve for \(seconds(longest)), less than a session of \(seconds(self.limits.sessionMilliseconds))")
    }
}
