import AdminAPI
import Coordination
import Link
import Logging
import NIOCore
import Partitioning
import Storage

/// This node as a member of a cluster: its session, its links and its coordinator, from joining to leaving.
///
/// Nothing here is on an event's way from a publisher to a subscriber.
final class ClusterMember: Sendable {
    let coordinator: ClusterCoordinator
    private let links: Links
    private let servers: ZooKeeperServers
    private let sessionSeconds: Int
    /// What is wrong with what the process before this one kept.
    private let problem: String?
    private let logger: Logger

    /// The link must be bound by now: others are told its address.
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
        // A node without a data folder keeps nothing.
        let memory = configuration.log == .sqlite ? ClusterMemoryFile(folder: configuration.data) : nil
        let (remembered, problem) = memory?.load(cluster: options.name) ?? (nil, nil)
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

    /// Is a member until ``leave()``. Throws when the cluster does not take this node.
    func run(metrics: @escaping @Sendable () async -> NodeMetrics) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [links, coordinator, problem] in
                if let problem { await coordinator.deliver(.fault(problem)) }
                // What is not read stays with the links, which stop reading from their sockets.
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
            // Ends the tasks above with them.
            await self.links.close()
            group.cancelAll()
            if let refusal { throw refusal }
        }
    }

    /// One look at what it is in the cluster, and at its links.
    func snapshot() async -> MemberSnapshot {
        MemberSnapshot(summary: await self.coordinator.summary, links: self.links.states, dropped: self.links.dropped)
    }

    /// How long ZooKeeper's servers serve on without each other, against how long this node's session lasts.
    func zooKeeperTerms() async -> ZooKeeperTerms {
        let granted = await self.coordinator.sessionTimeout ?? .seconds(self.sessionSeconds)
        let milliseconds = Int(granted.components.seconds) * 1000 + Int(granted.components.attoseconds / 1_000_000_000_000_000)
        return await ZooKeeperTerms.ask(self.servers, sessionMilliseconds: milliseconds, self.links.group)
    }

    /// Gives everything back. ``run(metrics:)`` returns when that is done.
    func leave() { self.coordinator.leave() }

    private static func machineEvent(_ event: LinkEvent) -> ClusterMachine.Event? {
        switch event {
        case .up(let id, let incarnation, .outgoing): .linkUp(id: id, incarnation: incarnation)
        case .down(let id, let incarnation, .outgoing, let loss):
            .linkDown(id: id, incarnation: incarnation, isRefused: loss == .refused, reason: loss.description)
        // What others can do with their links to us is theirs to report.
        case .up(_, _, .incoming), .down(_, _, .incoming, _): nil
        case .received(let id, let incarnation, _, let payload): .received(from: id, incarnation: incarnation, payload: payload)
        case .viewVersion(let id, _, let version): .peerView(id: id, version: version)
        }
    }
}

/// Hands the coordinator's effects to the links. They take a lock and wait for no socket, so the coordinator calls them itself, and in order.
private struct LinkTransport: ClusterTransport {
    let links: Links

    func setPeers(_ peers: [ClusterMachine.Peer], incarnation: Int64, viewVersion: Int64) {
        self.links.setIdentity(incarnation: incarnation)
        self.links.setViewVersion(viewVersion)
        self.links.setPeers(peers.map { LinkPeer(id: $0.id, incarnation: $0.incarnation, address: $0.link) })
    }

    func send(_ payload: [UInt8], to id: String) { self.links.send(payload, to: id) }
}

/// The partitions of a member whose log no other node shares. Ownership in the cluster changes nothing in such a log: each node keeps the history of its own
/// publishers and subscribers, and its sequencers serve every channel.
private struct UnsharedLog: PartitionStorage {
    func seal(_ partitions: [Grant]) async -> [SealRefusal] { [] }
    func handOver(_ partitions: [Grant]) async {}
    func release(_ partitions: [Grant]) async {}
}
