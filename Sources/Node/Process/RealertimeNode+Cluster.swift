import Coordination
import Gateway
import Link
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Partitioning
import Pipeline
import Relay
import Sockets

extension RealertimeNode {
    /// The number of partitions: of the cluster that exists, or of the new cluster that this node will create. A cluster that cannot be read now may have another
    /// number; the node then stops when it learns that.
    func partitionCount() async throws -> Int {
        let options = self.configuration.cluster
        guard let text = options.zookeeper else { return Partitions.countByDefault }
        let servers = try ZooKeeperServers(text)
        let found = await ClusterPartitionCount.read(
            cluster: options.name, chroot: servers.chroot, from: ClusterMember.session(options, servers), timeout: .seconds(3))
        if let found { return found }
        let remembered = ClusterMember.memory(self.configuration).load(cluster: options.name).0
        return remembered?.configuration.partitionCount ?? options.partitions
    }

    /// Binds the link. Other nodes dial this node only after ``ClusterMember/run(metrics:)`` has started. Returns nil for a node outside a cluster.
    func makeMember(
        _ gateway: Gateway, _ sequencers: Sequencers, _ relays: Relays, _ partitions: Partitions, _ descriptors: DescriptorShares,
        _ group: any EventLoopGroup, startedAt: Int64
    ) async throws -> ClusterMember? {
        let options = self.configuration.cluster
        guard let text = options.zookeeper, let address = options.link else { return nil }
        let servers = try ZooKeeperServers(text)
        var link = LinkConfiguration(address, secret: options.linkSecret.map { LinkSecret($0) })
        if let certificate = options.linkCertificate, let key = options.linkKey, let authority = options.linkAuthority {
            try link.useTLS(certificate: certificate, key: key, authority: authority)
        }
        link.limits = LinkLimits(self.configuration.limits, descriptors: descriptors.links)
        let logger = self.logger
        // While no ZooKeeper server is reachable, the C client logs about 20 lines a second.
        let limiter = NIOLockedValueBox(LineLimiter())
        ZooKeeperLog.forward { level, line in
            guard let left = limiter.withLockedValue({ $0.pass(at: .now) }) else { return }
            logger.log(
                level: level == .error ? .error : .warning, "\(line)",
                metadata: left > 0 ? ["from": "zookeeper", "left-out": "\(left)"] : ["from": "zookeeper"])
        }
        let links = Links(link, cluster: options.name, id: self.configuration.id, version: self.version, group: group, receiver: relays, logger: logger)
        let bound = try await links.start()
        let advertised = options.linkAdvertise ?? bound
        guard !advertised.isWildcard else {
            throw NodeError("the other nodes cannot connect to \(advertised): set link-advertise to an address and port of this machine")
        }
        return ClusterMember(
            self.configuration, servers: servers, link: advertised.description, api: self.shownAPI(gateway, advertised.host), version: self.version,
            startedAt: startedAt, links: links, sequencers: sequencers, relays: relays, partitions: partitions, logger: logger)
    }

    /// The address at which operators reach the API. If the API listens on all addresses, the host is the host of the link, because another machine cannot
    /// connect to 0.0.0.0.
    private func shownAPI(_ gateway: Gateway, _ host: String) -> String {
        guard self.configuration.api.isWildcard, let bound = ListenAddress(gateway.apiAddress) else { return gateway.apiAddress }
        return ListenAddress(host: host, port: bound.port).description
    }
}
