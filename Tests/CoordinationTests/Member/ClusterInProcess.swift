import AdminAPI
import Partitioning
import NIOConcurrencyHelpers
import Testing

@testable import Coordination

/// Several members of one cluster in this process, with a real ZooKeeper and with links in memory.
final class ClusterInProcess: Sendable {
    final class Member: Sendable {
        let id: String
        let coordinator: ClusterCoordinator
        let client: ZooKeeperClient
        let transport: MemoryTransport
        let storage = RecordingStorage()
        let events = NIOLockedValueBox<[ClusterEvent]>([])
        private let running = NIOLockedValueBox<Task<String?, Never>?>(nil)

        init(id: String, settings: ClusterSettings, session: ZooKeeperConfiguration, exchange: Exchange, disk: MemoryDisk) {
            self.id = id
            self.client = ZooKeeperClient(configuration: session)
            self.transport = MemoryTransport(id: id, exchange: exchange)
            let (events, storage) = (EventBox(), self.storage)
            self.coordinator = ClusterCoordinator(
                settings: settings, client: self.client, transport: self.transport, storage: storage, leaveTimeout: .seconds(2),
                memory: disk, remembered: disk.remembered
            ) { events.append($0) }
            self.recorded = events
        }

        let recorded: EventBox

        func start() {
            self.transport.start(self.coordinator)
            let coordinator = self.coordinator
            self.running.withLockedValue {
                $0 = Task {
                    do throws(ClusterRefusal) {
                        try await coordinator.run()
                        return nil
                    } catch {
                        return error.reason
                    }
                }
            }
        }

        /// Waits until the member ends. Returns the reason if the member was refused.
        var end: String? { get async { await self.running.withLockedValue { $0 }?.value } }

        func stop() async {
            self.coordinator.leave()
            _ = await self.end
            self.transport.stop()
        }
    }

    let exchange = Exchange()
    let name: String
    private let servers: String
    let members = NIOLockedValueBox<[String: Member]>([:])
    /// The disk of each id, which keeps its content when a member restarts.
    private let disks = NIOLockedValueBox<[String: MemoryDisk]>([:])

    func disk(_ id: String) -> MemoryDisk {
        self.disks.withLockedValue { disks in
            let disk = disks[id] ?? MemoryDisk()
            disks[id] = disk
            return disk
        }
    }

    init(servers: String, name: String) {
        self.servers = servers
        self.name = name
    }

    @discardableResult
    func start(_ id: String, _ change: (inout ClusterSettings) -> Void = { _ in }) -> Member {
        var settings = ClusterSettings(cluster: self.name, id: id, link: "\(id):1", api: "\(id):2", version: "1.0.0")
        settings.partitionCount = 60
        settings.joinQuiet = .milliseconds(100)
        settings.joinLongest = .seconds(1)
        settings.reportInterval = .milliseconds(100)
        settings.duplicateWait = .seconds(4)
        settings.refusedMin = .milliseconds(100)
        change(&settings)
        var session = ZooKeeperConfiguration(servers: self.servers)
        session.sessionTimeout = .seconds(2)
        session.suspensionMax = .milliseconds(700)
        session.backoffMin = .milliseconds(20)
        let member = Member(id: id, settings: settings, session: session, exchange: self.exchange, disk: self.disk(id))
        self.members.withLockedValue { $0[id] = member }
        member.start()
        return member
    }

    func request(_ request: AdminRequest, at id: String) async -> AdminResponse {
        await self.members.withLockedValue { $0[id]! }.coordinator.respond(to: request)
    }

    func stop() async {
        for member in self.members.withLockedValue({ Array($0.values) }) { await member.stop() }
    }
}

final class MemoryDisk: ClusterMemoryStore {
    private let bytes = NIOLockedValueBox<[UInt8]?>(nil)

    func save(_ bytes: [UInt8]) async -> String? {
        self.bytes.withLockedValue { $0 = bytes }
        return nil
    }

    var remembered: RememberedCluster? { self.bytes.withLockedValue { $0 }.flatMap { try? RememberedCluster(json: $0) } }
}

final class EventBox: Sendable {
    private let events = NIOLockedValueBox<[ClusterEvent]>([])
    func append(_ event: ClusterEvent) { self.events.withLockedValue { $0.append(event) } }
    var all: [ClusterEvent] { self.events.withLockedValue { $0 } }
}

/// The members that accept links, and their incarnations.
final class Exchange: Sendable {
    struct Entry: Sendable {
        var incarnation: Int64
        var coordinator: ClusterCoordinator
    }

    private let entries = NIOLockedValueBox<[String: Entry]>([:])
    func entry(_ id: String) -> Entry? { self.entries.withLockedValue { $0[id] } }
    func set(_ id: String, _ entry: Entry?) { self.entries.withLockedValue { $0[id] = entry } }
}

/// Checks every 20 ms whether the requested peers accept links.
final class MemoryTransport: ClusterTransport {
    private struct State {
        var peers: [ClusterMachine.Peer] = []
        var incarnation: Int64 = 0
        var viewVersion: Int64 = 0
        var up: [String: Int64] = [:]
        var refused: [String: Int64] = [:]
        var coordinator: ClusterCoordinator?
        var task: Task<Void, Never>?
    }

    private let id: String
    private let exchange: Exchange
    private let state = NIOLockedValueBox(State())

    init(id: String, exchange: Exchange) {
        self.id = id
        self.exchange = exchange
    }

    func start(_ coordinator: ClusterCoordinator) {
        self.state.withLockedValue { state in
            state.coordinator = coordinator
            state.task = Task { [weak self] in
                while !Task.isCancelled {
                    self?.look()
                    try? await Task.sleep(for: .milliseconds(20))
                }
            }
        }
    }

    func stop() {
        self.state.withLockedValue {
            $0.task?.cancel()
            $0.coordinator = nil
        }
        self.exchange.set(self.id, nil)
    }

    func setPeers(_ peers: [ClusterMachine.Peer], incarnation: Int64, viewVersion: Int64) {
        let coordinator = self.state.withLockedValue { state in
            state.peers = peers
            state.incarnation = incarnation
            state.viewVersion = viewVersion
            return state.coordinator
        }
        if let coordinator { self.exchange.set(self.id, .init(incarnation: incarnation, coordinator: coordinator)) }
    }

    func send(_ payload: [UInt8], to id: String) {
        let incarnation = self.state.withLockedValue { state in state.up[id] == nil ? nil : state.incarnation }
        guard let incarnation else { return }
        self.exchange.entry(id)?.coordinator.inbox.put(.received(from: ProcessID(id: self.id, incarnation: incarnation), payload: payload))
    }

    private func look() {
        let (peers, coordinator) = self.state.withLockedValue { ($0.peers, $0.coordinator) }
        guard let coordinator else { return }
        for peer in peers {
            let isThere = self.exchange.entry(peer.id)?.incarnation == peer.process.incarnation
            let event: ClusterMachine.Event? = self.state.withLockedValue { state in
                if isThere, state.up[peer.id] != peer.process.incarnation {
                    state.up[peer.id] = peer.process.incarnation
                    state.refused[peer.id] = nil
                    return .linkUp(peer.process)
                }
                if !isThere, self.exchange.entry(peer.id) == nil, state.refused[peer.id] != peer.process.incarnation {
                    state.up[peer.id] = nil
                    state.refused[peer.id] = peer.process.incarnation
                    return .linkDown(peer.process, isRefused: true)
                }
                return nil
            }
            if let event { coordinator.inbox.put(event) }
        }
    }
}

/// A storage for tests. It records which partitions it serves, and under which owner epochs.
final class RecordingStorage: PartitionStorage {
    private let served = NIOLockedValueBox<[Int: Int64]>([:])

    var grants: [Grant] { self.served.withLockedValue { $0.sorted { $0.key < $1.key }.map { Grant(partition: $0.key, ownerEpoch: $0.value) } } }

    /// The next call of `seal` refuses these partitions.
    let refusing = NIOLockedValueBox<Set<Int>>([])

    func seal(_ partitions: [Grant]) async -> [SealRefusal] {
        let refusing = self.refusing.withLockedValue { refusing in
            defer { refusing = [] }
            return refusing
        }
        self.served.withLockedValue { served in for owned in partitions where !refusing.contains(owned.partition) { served[owned.partition] = owned.ownerEpoch }
        }
        return partitions.filter { refusing.contains($0.partition) }.map { SealRefusal(grant: $0, reason: "the disk is full") }
    }

    func handOver(_ handoffs: [Handoff]) async -> [Grant] {
        self.served.withLockedValue { served in for handoff in handoffs { served[handoff.grant.partition] = nil } }
        return []
    }

    func release(_ partitions: [Grant]) async {
        self.served.withLockedValue { served in for owned in partitions where served[owned.partition] == owned.ownerEpoch { served[owned.partition] = nil } }
    }
}
