import TestKit

/// Three ZooKeeper servers that elect a leader.
final class ZooKeeperEnsemble: Sendable {
    let servers: [ZooKeeperServer]

    /// - Parameter syncLimit: how long a follower without contact to the leader continues to serve, in ticks of 250 ms.
    init(syncLimit: Int = 12) {
        let ports = LoopbackSocket.freePorts(9)
        let peers = (0..<3).map { "server.\($0 + 1)=127.0.0.1:\(ports[3 + $0]):\(ports[6 + $0])" }
        self.servers = (0..<3).map { ZooKeeperServer(port: ports[$0], id: $0 + 1, peers: peers, syncLimit: syncLimit) }
    }

    /// The addresses of all servers, for a client.
    var addresses: String {
        self.servers.map(\.address).joined(separator: ",")
    }

    /// Starts all servers and waits until they serve. No server may be running.
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
