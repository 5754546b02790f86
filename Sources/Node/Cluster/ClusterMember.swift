import AdminAPI
import Coordination
import Link
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Partitioning
import Pipeline
import Relay
import Storage

/// This node as a member of a cluster: its session, its links and its coordinator, from joining to leaving.
///
/// No event passes through this class: events cross between nodes through ``Relays``, over data connections of the same links.
final class ClusterMember: Sendable {
    let coordinator: ClusterCoordinator
    private let links: Links
    private let sequencers: Sequencers
    private let partitions: Partitions
    private let servers: ZooKeeperServers
    private let sessionSeconds: Int
    /// Why `cluster.json` of the previous process could not be used. Nil if there was no problem.
    private let problem: String?
    private let logger: Logger

    /// The link must be bound before this call, because its address is published to the other nodes.
    init(
        _ configuration: NodeConfiguration, servers: ZooKeeperServers, link: String, api: String, version: String, startedAt: Int64, links: Links,
        sequencers: Sequencers, relays: Relays, partitions: Partitions, logger: Logger
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
        var session = Self.session(options, servers)
        if configuration.log == .redis {
            settings.useFencingLog()
            // The log ends the ownership, not the session. So a session is kept during an outage of ZooKeeper: the servers count no time while they are away, and
            // after the outage no node has to join again. A limit is needed because a new session also resolves the servers' names again.
            session.isCautious = false
            session.suspensionMax = .seconds(60)
        }
        self.links = links
        self.sequencers = sequencers
        self.partitions = partitions
        self.servers = servers
        self.sessionSeconds = options.sessionSeconds
        self.logger = logger
        let memory = Self.memory(configuration)
        let storage = MemberStorage(sequencers: sequencers, relays: relays, partitions: partitions)
        let (remembered, problem) = memory.load(cluster: options.name)
        self.coordinator = ClusterCoordinator(
            settings: settings, client: ZooKeeperClient(configuration: session), transport: LinkTransport(links: links), storage: storage,
            memory: memory,
            remembered: remembered
        ) { event in
            logger.log(
                level: event.kind == .alarm || event.kind == .sessionLost || event.kind == .waiting ? .warning : .info, "\(event.text)",
                metadata: ["event": "\(event.kind.rawValue)", "node": "\(event.node)", "view": "\(event.viewVersion)"])
        }
        self.problem = problem
        storage.coordinator.withLockedValue { [coordinator] in $0 = coordinator }
    }

    static func memory(_ configuration: NodeConfiguration) -> ClusterMemoryFile { ClusterMemoryFile(folder: configuration.data) }

    static func session(_ options: ClusterOptions, _ servers: ZooKeeperServers) -> ZooKeeperConfiguration {
        var session = ZooKeeperConfiguration(servers: servers.clientText)
        session.sessionTimeout = .seconds(options.sessionSeconds)
        session.isCautious = true
        if let user = options.user, let password = options.password { session.credentials = ZooKeeperCredentials(user: user, password: password) }
        return session
    }

    /// Why this process cannot serve the cluster's partitions. Nil if there is no problem, or if the cluster's number of partitions is not known yet.
    func partitionCountProblem() async -> String? {
        let count = await self.coordinator.partitionCount
        guard count > 0, count != self.partitions.count else { return nil }
        return
            "the cluster has \(count) partitions, and this node could not read that when it started, so it assumed \(self.partitions.count): start the node again"
    }

    /// Runs the member until ``leave(handingOverUntil:)``. Throws if the cluster refuses this node.
    func run(metrics: @escaping @Sendable () async -> NodeMetrics) async throws {
        await self.sequencers.onFenced { [coordinator] grants in Task { await coordinator.deliver(.fenced(grants)) } }
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
            // Ends the first task too: it reads the stream `links.events`.
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

    /// Hands the partitions over to other nodes until `deadline` at the latest, and returns. The others are then released, and the membership ends: when that is
    /// complete, ``run(metrics:)`` returns.
    func leave(handingOverUntil deadline: ContinuousClock.Instant) async { await self.coordinator.depart(until: deadline) }

    /// Closes the links, after the last publish and the last subscriber of this node.
    func close() async { await self.links.close() }

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

/// The sequencers of a member, once the cluster's number of partitions is known to be theirs.
private final class MemberStorage: PartitionStorage {
    let coordinator = NIOLockedValueBox<ClusterCoordinator?>(nil)
    private let sequencers: Sequencers
    private let relays: Relays
    private let partitions: Partitions

    init(sequencers: Sequencers, relays: Relays, partitions: Partitions) {
        self.sequencers = sequencers
        self.relays = relays
        self.partitions = partitions
    }

    func seal(_ partitions: [Grant]) async -> [SealRefusal] {
        let count = await self.coordinator.withLockedValue { $0 }?.partitionCount ?? 0
        guard count == self.partitions.count else {
            return partitions.map { SealRefusal(grant: $0, reason: "this node assumes another number of partitions than the cluster; start the node again") }
        }
        return await self.sequencers.seal(partitions)
    }

    // A partition that was never sealed here may not exist in the sequencers.
    func handOver(_ handoffs: [Handoff]) async -> [Grant] {
        await self.relays.handOver(handoffs.filter { $0.grant.partition < self.partitions.count }.map { ($0.grant, $0.target) })
    }

    func release(_ partitions: [Grant]) async { await self.sequencers.release(partitions.filter { $0.partition < self.partitions.count }) }
}
