import AdminAPI
import Coordination
import Link
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Sockets

extension RealertimeNode {
    /// Nil for a node that is alone. Binds the link; nobody hears of this node before it runs.
    func makeMember(_ shared: NodeShared, _ group: any EventLoopGroup, _ startedAt: Int64) async throws -> ClusterMember? {
        let options = self.configuration.cluster
        guard let text = options.zookeeper, let address = options.link else { return nil }
        let servers = try ZooKeeperServers(text)
        var link = LinkConfiguration(address, secret: options.linkSecret.map { LinkSecret($0) })
        if let certificate = options.linkCertificate, let key = options.linkKey, let authority = options.linkAuthority {
            try link.useTLS(certificate: certificate, key: key, authority: authority)
        }
        link.limits = LinkLimits(self.configuration.limits, descriptors: shared.descriptors.links)
        let logger = self.logger
        // While its servers are away the client says so twenty times a second.
        let limiter = NIOLockedValueBox(LineLimiter())
        ZooKeeperLog.forward { level, line in
            guard let left = limiter.withLockedValue({ $0.pass(at: .now) }) else { return }
            logger.log(
                level: level == .error ? .error : .warning, "\(line)",
                metadata: left > 0 ? ["from": "zookeeper", "left-out": "\(left)"] : ["from": "zookeeper"])
        }
        let links = Links(link, cluster: options.name, id: self.configuration.id, version: shared.version, group: group, logger: logger)
        let bound = try await links.start()
        let advertised = options.linkAdvertise ?? bound
        guard !advertised.isWildcard else {
            throw NodeError("the other nodes cannot dial \(advertised): set link-advertise to an address and port of this machine")
        }
        return ClusterMember(
            self.configuration, servers: servers, link: advertised.description, api: self.shownAPI(shared, advertised.host), version: shared.version,
            startedAt: startedAt,
            links: links, logger: logger)
    }

    /// Where operators reach the API. One that listens everywhere is at the host of the link: no other machine gets to 0.0.0.0.
    private func shownAPI(_ shared: NodeShared, _ host: String) -> String {
        guard self.configuration.api.isWildcard, let bound = ListenAddress(shared.boundAddresses.api) else { return shared.boundAddresses.api }
        return ListenAddress(host: host, port: bound.port).description
    }
}

extension NodeInspector {
    /// What the cluster hears of this node.
    func figures() async -> NodeFigures {
        let snapshot = await self.snapshot()
        var figures = NodeFigures()
        figures.uptimeSeconds = snapshot.shared.uptimeSeconds
        figures.connections = snapshot.counts.subscribers
        figures.publishedPerSecond = snapshot.publishedPerSecond
        figures.deliveredPerSecond = snapshot.deliveredPerSecond
        // What its session does is in its report already, and is judged with the sessions of all others.
        var process = snapshot
        process.member = nil
        let (health, reasons) = process.health
        figures.health = health
        figures.reasons = Array(reasons.prefix(10))
        return figures
    }
}
