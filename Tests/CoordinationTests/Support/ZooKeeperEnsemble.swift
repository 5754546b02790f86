import TestKit

/// Three servers that elect a leader.
final class ZooKeeperEnsemble: Sendable {
    let servers: [ZooKeeperServer]

    /// - Parameter syncLimit: how many quarters of a second a follower serves on that does not hear the leader.
    init(syncLimit: Int = 12) {
        let ports = LoopbackSocket.freePorts(9)
        let peers = (0..<3).map { "server.\($0 + 1)=127.0.0.1:\(ports[3 + $0]):\(ports[6 + $0])" }
        self.servers = (0..<3).map { ZooKeeperServer(port: ports[$0], id: $0 + 1, peers: peers, syncLimit: syncLimit) }
    }

    /// For a client: all of them.
    var addresses: String {
        self.servers.map(\.address).joined(separator: ",")
    }

    /// Starts those that do not run and waits until all serve.
    func start() async throws {
        for server in self.servers { try server.launch() }
        for server in self.servers { try await server.waitUntilServing() }
    }

    func kill() {
        for server in self.servers { server.kill() }
    }

    var follower: ZooKeeperServer? {
        self.servers.first { $0.mode == "follower" }
    }

    var leader: ZooKeeperServer? {
        self.servers.first { $0.mode == "leader" }
    }
}
