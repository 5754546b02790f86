import AdminAPI
import Partitioning

@testable import Coordination

/// One process: a machine, its ZooKeeper client (`+Session`), its links (`+Links`), and a storage with a delay.
final class SimulatedNode {
    let id: String
    let process: Int
    unowned let simulation: Simulation
    private(set) var machine: ClusterMachine
    private(set) var isAlive = true
    private(set) var refusal: String?
    private(set) var isPaused = false
    /// The process lives, its client and its links respond, but its coordinator does nothing.
    private(set) var isHung = false
    private var backlog: [ClusterMachine.Event] = []
    var client: ZooKeeperSessionMachine
    var session: Int64?
    var isConnected = false
    /// The node's ZooKeeper server is cut off from the other servers.
    var isStranded = false
    /// The tokens of operations without a reply.
    var open: Set<UInt64> = []
    private(set) var peers: [ClusterMachine.Peer] = []
    var up: [String: Int64] = [:]
    var reported: [String: String] = [:]
    var lastDelivery: [String: ContinuousClock.Instant] = [:]
    private(set) var serving: [Int: Int64] = [:]
    private var lastVersion: Int64 = 0
    private(set) var responses: [UInt64: AdminResponse] = [:]
    private var nextRequest: UInt64 = 1
    var disconnections = 0
    private var wake: ContinuousClock.Instant?

    init(id: String, process: Int, in simulation: Simulation) {
        self.id = id
        self.process = process
        self.simulation = simulation
        var settings = ClusterSettings(cluster: "sim", id: id, link: "\(id):1", api: "\(id):2", version: "1")
        settings.partitionCount = simulation.partitionCount
        settings.keepsMemory = simulation.keepsMemory
        if simulation.log != nil { settings.useFencingLog() }
        self.client = ZooKeeperSessionMachine(settings: SimulatedNode.clientSettings(isLogFencing: settings.isLogFencing))
        let remembered = simulation.disks[id].flatMap { try? RememberedCluster(json: $0) }
        self.machine = ClusterMachine(settings: settings, nonce: UInt64(process), remembered: remembered)
    }

    // MARK: - Events

    func handle(_ event: ClusterMachine.Event) {
        guard self.isAlive else { return }
        guard !self.isPaused, !self.isHung else { return self.backlog.append(event) }
        let actions = self.machine.handle(event, at: self.simulation.now, using: &self.simulation.random)
        self.check()
        for action in actions { self.execute(action) }
    }

    private func check() {
        for (partition, held) in self.machine.ownership where held.state == .serving {
            self.simulation.checker.serves(partition, held.ownerEpoch, process: self.process)
        }
        for (partition, ownerEpoch) in self.serving {
            let held = self.machine.ownership[partition]
            if held?.state != .serving || held?.ownerEpoch != ownerEpoch { self.simulation.checker.finished(partition, ownerEpoch, process: self.process) }
        }
        self.serving = self.machine.ownership.filter { $0.value.state == .serving }.mapValues(\.ownerEpoch)
        let version = self.machine.view?.version ?? 0
        if version < self.lastVersion { self.simulation.checker.fail("\(self.id) went from view \(self.lastVersion) back to \(version)") }
        self.lastVersion = version
    }

    private func execute(_ action: ClusterMachine.Effect) {
        let simulation = self.simulation
        if simulation.isTracingActions { simulation.note("\(self.id): \("\(action)".prefix(200))") }
        switch action {
        case .perform(let token, let request, let generation, let deadline): self.perform(token, request, generation, deadline)
        case .wake(let time):
            if let wake = self.wake, wake <= time, wake > simulation.now { return }
            self.wake = time
            simulation.at(time) {
                guard self.wake == time else { return }
                self.wake = nil
                self.handle(.ticked)
            }
        case .peers(let peers, _, _):
            self.peers = peers
            self.up = self.up.filter { id, incarnation in peers.contains { $0.process == ProcessID(id: id, incarnation: incarnation) } }
            self.reported = self.reported.filter { id, _ in peers.contains { $0.id == id } }
            self.look()
        case .send(let id, let payload): self.send(payload, to: id)
        case .remember(let number, let bytes):
            simulation.after(simulation.milliseconds(1...40)) {
                guard self.isAlive else { return }
                if !simulation.failsToKeep { simulation.disks[self.id] = bytes }
                self.handle(.remembered(number: number, failure: simulation.failsToKeep ? "no space left on device" : nil))
            }
        case .seal(let partitions):
            if simulation.hasSmallFaults, simulation.chance(5) {
                simulation.after(simulation.milliseconds(0...1500)) { self.handle(.sealRefused(partitions)) }
            } else {
                simulation.after(simulation.milliseconds(0...30)) { self.seal(partitions) }
            }
        case .handOver(let handoffs):
            let partitions = handoffs.map(\.grant)
            let isFailed = simulation.hasSmallFaults && simulation.chance(10)
            simulation.after(simulation.milliseconds(0...60)) { self.handle(isFailed ? .handoffFailed(partitions) : .handedOver(partitions)) }
        case .release: break
        case .respond(let number, let answer): self.responses[number] = answer
        case .log(let event): simulation.note("\(self.id): \(event.kind.rawValue) \(event.node) \(event.text)")
        case .refuse(let reason):
            self.refusal = reason
            self.end(gracefully: true)
        case .left: self.end(gracefully: true)
        }
    }

    private func seal(_ partitions: [Grant]) {
        guard self.isAlive, self.simulation.log != nil else { return self.handle(.sealed(partitions)) }
        let sealed = partitions.filter { self.simulation.log!.seal($0) }
        let fenced = partitions.filter { !sealed.contains($0) }
        if !sealed.isEmpty { self.handle(.sealed(sealed)) }
        if !fenced.isEmpty { self.handle(.fenced(fenced)) }
    }

    /// Returns the number of the request, which is the key of its response.
    @discardableResult
    func request(_ request: AdminRequest) -> UInt64 {
        self.nextRequest += 1
        self.handle(.request(number: self.nextRequest, request))
        return self.nextRequest
    }

    // MARK: - Faults and the end of the process

    func crash() {
        guard self.isAlive else { return }
        self.simulation.note("\(self.id) crashes")
        self.isAlive = false
    }

    func end(gracefully: Bool) {
        guard self.isAlive else { return }
        self.isAlive = false
        if let session = self.session { self.simulation.server.end(session) }
    }

    func leave() {
        self.simulation.note("\(self.id) leaves")
        self.handle(.leave)
    }

    func hang(for duration: Duration) {
        guard self.isAlive, !self.isHung else { return }
        self.simulation.note("\(self.id) hangs for \(duration)")
        self.isHung = true
        self.simulation.after(duration) {
            self.simulation.note("\(self.id) no longer hangs")
            self.isHung = false
            self.catchUp()
        }
    }

    private func catchUp() {
        let backlog = self.backlog
        self.backlog = []
        for event in backlog { self.handle(event) }
    }

    func pause(for duration: Duration) {
        guard self.isAlive, !self.isPaused else { return }
        self.simulation.note("\(self.id) is paused for \(duration)")
        self.isPaused = true
        self.simulation.after(duration) {
            self.simulation.note("\(self.id) continues")
            self.isPaused = false
            self.catchUp()
        }
    }
}
