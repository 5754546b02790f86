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
    private let transport: LinkTransport
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
        self.transport = LinkTransport(links: links)
        // A node without a data folder keeps nothing.
        let memory = configuration.log == .sqlite ? ClusterMemoryFile(folder: configuration.data) : nil
        let (remembered, problem) = memory?.load(cluster: options.name) ?? (nil, nil)
        self.coordinator = ClusterCoordinator(
            settings: settings, client: ZooKeeperClient(configuration: session), transport: self.transport, storage: LocalPartitions(), memory: memory,
            remembered: remembered
        ) { event in
            logger.log(
                level: event.kind == .alarm || event.kind == .sessionLost || event.kind == .waiting ? .warning : .info, "\(event.text)",
                metadata: ["event": "\(event.kind.rawValue)", "node": "\(event.node)", "view": "\(event.viewVersion)"])
        }
        if let problem { self.coordinator.tell(.fault(problem)) }
    }

    /// Is a member until ``leave()``. Throws when the cluster does not take this node.
    func run(figures: @escaping @Sendable () async -> NodeFigures) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await self.transport.run() }
            group.addTask { [links, coordinator] in
                for await event in links.events {
                    // What is not read stays with the links, which stop reading from their sockets.
                    while coordinator.isBusy, !Task.isCancelled { try? await Task.sleep(for: .milliseconds(1)) }
                    Self.tell(event, to: coordinator)
                }
            }
            group.addTask { [coordinator] in
                while !Task.isCancelled {
                    coordinator.tell(.figures(await figures()))
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
            self.transport.close()
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

    /// Gives everything back. ``run(figures:)`` returns when that is done.
    func leave() { self.coordinator.leave() }

    private static func tell(_ event: LinkEvent, to coordinator: ClusterCoordinator) {
        switch event {
        case .up(let id, let incarnation, .outgoing):
            coordinator.tell(.linkUp(id: id, incarnation: incarnation))
        case .down(let id, let incarnation, .outgoing, let loss):
            coordinator.tell(.linkDown(id: id, incarnation: incarnation, isRefused: loss == .refused, reason: loss.description))
        // What others can do with their links to us is theirs to say.
        case .up(_, _, .incoming), .down(_, _, .incoming, _):
            break
        case .received(let id, let incarnation, _, let payload):
            coordinator.tell(.received(from: id, incarnation: incarnation, payload: payload))
        case .viewVersion(let id, _, let version):
            coordinator.tell(.peerView(id: id, version: version))
        }
    }
}

/// Hands the coordinator's wishes to the links, in their order: the coordinator does not wait for sockets.
private final class LinkTransport: ClusterTransport {
    private enum Wish: Sendable {
        case peers([ClusterMachine.Peer], incarnation: Int64, viewVersion: Int64)
        case send([UInt8], to: String)
    }

    private let links: Links
    private let wishes: AsyncStream<Wish>
    private let continuation: AsyncStream<Wish>.Continuation

    init(links: Links) {
        self.links = links
        (self.wishes, self.continuation) = AsyncStream.makeStream(bufferingPolicy: .unbounded)
    }

    func setPeers(_ peers: [ClusterMachine.Peer], incarnation: Int64, viewVersion: Int64) {
        self.continuation.yield(.peers(peers, incarnation: incarnation, viewVersion: viewVersion))
    }

    func send(_ payload: [UInt8], to id: String) { self.continuation.yield(.send(payload, to: id)) }

    func close() { self.continuation.finish() }

    func run() async {
        for await wish in self.wishes {
            switch wish {
            case .peers(let peers, let incarnation, let viewVersion):
                self.links.setIdentity(incarnation: incarnation)
                self.links.setViewVersion(viewVersion)
                self.links.setPeers(peers.map { LinkPeer(id: $0.id, incarnation: $0.incarnation, address: $0.link) })
            case .send(let payload, let id):
                _ = self.links.send(payload, to: id)
            }
        }
    }
}

/// Owning partitions without a log that others share: there is nothing to seal yet, because each node keeps its own history.
struct LocalPartitions: PartitionStorage {
    func seal(_ partitions: [Grant]) async {}
    func handOver(_ partitions: [Grant]) async {}
    func release(_ partitions: [Grant]) {}
}
