import AdminAPI
import Coordination
import Link
import Logging
import NIOCore
import Partitioning
import Storage

/// This node as a member of a cluster: its session, its links and its coordinator, from joining to leaving.
///
/// No event passes through this class on its way from a publisher to a subscriber.
final class ClusterMember: Sendable {
    let coordinator: ClusterCoordinator
    private let links: Links
    private let servers: ZooKeeperServers
    private let sessionSeconds: Int
    /// Why `cluster.json` of the previous process could not be used. Nil if there was no problem.
    private let problem: String?
    private let logger: Logger

    /// The link must be bound before this call, because its address is published to the other nodes.
    init(
        _ configuration: NodeConfiguration, servers: ZooKeeperServers, link: String, api: String, version: String, startedAt: Int64, links: Links,
        logger: Logger
    ) {
        let options = configuration.cluster
        var settings = ClusterSettings(
            cluster: options.name, id: configuration.id, zone: options.zone, weight: options.weight, link: link, api: api, version: version,
            startedAt: startedAt)
        settings.chroot = servers.chroot
        settings.servers = options.zookeeper ?? ""
        settings.sessionFault = { ZooKeeperLog.fault.map { " (\($0))" } ?? "" }
        settings.isolatedMin = .seconds(options.sessionSeconds + 5)
        settings.partitionCount = options.partitions
        settings.duplicateWait = .seconds(options.sessionSeconds + 5)
        settings.wallClock = WallClock.now
        var session = ZooKeeperConfiguration(servers: servers.clientText)
        session.sessionTimeout = .seconds(options.sessionSeconds)
        session.isCautious = true
        if let user = options.user, let password = options.password { session.credentials = ZooKeeperCredentials(user: user, password: password) }
        self.links = links
        self.servers = servers
        self.sessionSeconds = options.sessionSeconds
        self.logger = logger
        let memory = ClusterMemoryFile(folder: configuration.data)
        let (remembered, problem) = memory.load(cluster: options.name)
        self.coordinator = ClusterCoordinator(
            settings: settings, client: ZooKeeperClient(configuration: session), transport: LinkTransport(links: links), storage: UnsharedLog(),
            memory: memory,
            remembered: remembered
        ) { event in
            logger.log(
                level: event.kind == .alarm || event.kind == .sessionLost || event.kind == .waiting ? .warning : .info, "\(event.text)",
                metadata: ["event": "\(event.kind.rawValue)", "node": "\(event.node)", "view": "\(event.viewVersion)"])
        }
        self.problem = problem
    }

    /// Runs the member until ``leave()``. Throws if the cluster refuses this node.
    func run(metrics: @escaping @Sendable () async -> NodeMetrics) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [links, coordinator, problem] in
                if let problem { await coordinator.deliver(.fault(problem)) }
                // Events that are not read stay in the inbox of the links. If the inbox is full, the links stop reading from their sockets.
                for await event in links.events { if let event = Self.machineEvent(event) { await coordinator.deliver(event) } }
            }
            group.addTask { [coordinator] in
                while !Task.isCancelled {
                    await coordinator.deliver(.metrics(await metrics()))
                    try? await Task.sleep(for: .seconds(1))
                }
            }
            let refusal: ClusterRefusal?
            do throws(ClusterRefusal) {
                try await self.coordinator.run()
                refusal = nil
            } catch {
                refusal = error
            }
            // Ends the stream `links.events`, so that the first task ends.
            await self.links.close()
            group.cancelAll()
            if let refusal { throw refusal }
        }
    }

    func status() async -> MemberStatus {
        MemberStatus(summary: await self.coordinator.summary, links: self.links.states, dropped: self.links.dropped)
    }

    /// How long each ZooKeeper server serves clients without the other servers, and the timeout of this node's session.
    func zooKeeperLimits() async -> ZooKeeperLimits {
        let granted = await self.coordinator.sessionTimeout ?? .seconds(self.sessionSeconds)
        let milliseconds = Int(granted.components.seconds) * 1000 + Int(granted.components.attoseconds / 1_000_000_000_000_000)
        return await ZooKeeperLimits.read(from: self.servers, sessionMilliseconds: milliseconds, self.links.group)
    }

    /// Begins to release all partitions and the membership. When the release is complete, ``run(metrics:)`` returns.
    func leave() { self.coordinator.leave() }

    private static func machineEvent(_ event: LinkEvent) -> ClusterMachine.Event? {
        switch event {
        case .up(let peer, .outgoing): .linkUp(peer)
        case .down(let peer, .outgoing, let loss): .linkDown(peer, isRefused: loss == .refused, reason: loss.description)
        // Each node reports the links that it dials.
        case .up(_, .incoming), .down(_, .incoming, _): nil
        case .received(let peer, _, let payload): .received(from: peer, payload: payload)
        case .viewVersion(let peer, let version): .peerView(peer, version: version)
        }
    }
}

/// Passes the coordinator's effects to the links. A call to the links takes a lock and never waits for a socket. So the coordinator calls directly, in order.
private struct LinkTransport: ClusterTransport {
    let links: Links

    func setPeers(_ peers: [ClusterMachine.Peer], incarnation: Int64, viewVersion: Int64) {
        self.links.setIdentity(incarnation: incarnation)
        self.links.setViewVersion(viewVersion)
        self.links.setPeers(peers.map { LinkPeer($0.process, address: $0.link) })
    }

    func send(_ payload: [UInt8], to id: String) { self.links.send(payload, to: id) }
}

/// The partitions of a member whose log no other node shares. Ownership in the cluster changes nothing in this log. Each node stores what is published to it,
/// and its sequencers serve every channel.
private struct UnsharedLog: PartitionStorage {
    func seal(_ partitions: [Grant]) async -> [SealRefusal] { [] }
    func handOver(_ partitions: [Grant]) async {}
    func release(_ partitions: [Grant]) async {}
}
