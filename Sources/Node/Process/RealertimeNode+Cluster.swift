import Coordination
import Logging
import NIOConcurrencyHelpers
import NIOCore

extension RealertimeNode {
    /// Nil for a node that is alone. Binds the link; nobody hears of this node before it runs.
    func makeMember(_ shared: NodeShared, _ group: any EventLoopGroup, _ startedAt: Int64) async throws -> ClusterMember? {
        let options = self.configuration.cluster
        guard let servers = options.zookeeper, let address = options.link else { return nil }
        var link = LinkConfiguration(address, secret: options.linkSecret.map { LinkSecret($0) })
        if let certificate = options.linkCertificate, let key = options.linkKey, let authority = options.linkAuthority {
            try link.useTLS(certificate: certificate, key: key, authority: authority)
        }
        link.limits = LinkLimits(self.configuration.limits)
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
        return ClusterMember(
            self.configuration, servers: servers, link: advertised.description, api: shared.boundAddresses.api, version: shared.version, startedAt: startedAt,
            links: links, logger: logger)
    }
}

extension NodeInspector {
    /// What the cluster hears of this node.
    func figures() async -> NodeFigures {
        let snapshot = await self.snapshot()
        var figures = NodeFigures()
        figures.connections = snapshot.counts.subscribers
        figures.publishedPerSecond = snapshot.publishedPerSecond
        figures.deliveredPerSecond = snapshot.deliveredPerSecond
        // What its session does is in its report already, and is judged with the sessions of all others.
        var process = snapshot
        process.member = nil
        let (health, reasons) = process.health
        figures.health = health.rawValue
        figures.reasons = Array(reasons.prefix(10))
        return figures
    }
}
