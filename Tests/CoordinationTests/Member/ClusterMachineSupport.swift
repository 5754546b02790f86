import TestKit
import Testing

@testable import Coordination

/// One machine, driven event by event. Nothing is answered and no time passes unless the test says so.
struct ClusterMachineStand {
    private(set) var machine: ClusterMachine
    private(set) var now = ContinuousClock.now
    var random = SplitMix(seed: 1)
    var store = ClusterMachineStore()
    /// What was asked of ZooKeeper and is not answered, in order.
    private(set) var open: [(token: UInt64, request: ZooKeeperRequest)] = []
    /// Everything the machine has asked for since ``forget()``.
    private(set) var told: [ClusterMachine.Effect] = []
    private(set) var wake: ContinuousClock.Instant?
    /// Whether ``settle()`` seals and hands over at once, too.
    var isStoragePrompt = true
    private(set) var generation: UInt64 = 0
    private(set) var session: Int64 = 100
    /// Of its session.
    private var timeout = Duration.seconds(6)
    private var storage: [ClusterMachine.Event] = []

    init(_ id: String = "n1", partitionCount: Int = 4, change: (inout ClusterSettings) -> Void = { _ in }) {
        var settings = ClusterSettings(cluster: "c", id: id, link: "\(id):1", api: "\(id):2", version: "1")
        settings.partitionCount = partitionCount
        change(&settings)
        self.machine = ClusterMachine(settings: settings, nonce: 0xABC)
    }

    // MARK: - Driving

    mutating func handle(_ event: ClusterMachine.Event) {
        if case .ticked = event, let wake = self.wake, wake <= self.now { self.wake = nil }
        for action in self.machine.handle(event, at: self.now, using: &self.random) {
            self.told.append(action)
            switch action {
            case .perform(let token, let request, _, _): self.open.append((token, request))
            case .wake(let time): self.wake = time
            case .seal(let partitions): self.storage.append(.sealed(partitions))
            case .handOver(let partitions): self.storage.append(.handedOver(partitions))
            case .peers, .send, .remember, .release, .respond, .log, .refuse, .left: break
            }
        }
    }

    mutating func connect(session: Int64? = nil, timeout: Duration = .seconds(6)) {
        if let session { self.session = session }
        self.timeout = timeout
        self.generation += 1
        self.reconnect()
    }

    /// The session goes on.
    mutating func reconnect() {
        self.handle(.session(ZooKeeperState(generation: self.generation, phase: .connected(session: self.session, timeout: self.timeout))))
    }

    mutating func suspend() { self.handle(.session(ZooKeeperState(generation: self.generation, phase: .suspended))) }

    mutating func lose(_ loss: ZooKeeperState.Loss = .expired) {
        if loss == .expired { self.store.end(self.session) }
        self.open = []
        self.handle(.session(ZooKeeperState(generation: self.generation, phase: .lost(loss))))
    }

    /// Answers the oldest open request: as given, or as the store does.
    mutating func answer(_ result: Result<ZooKeeperReply, ZooKeeperFailure>? = nil) {
        let (token, request) = self.open.removeFirst()
        self.handle(.answered(token: token, result ?? self.store.apply(request, session: self.session)))
    }

    /// Answered by the test itself.
    mutating func close(_ token: UInt64) { self.open.removeAll { $0.token == token } }

    /// The oldest open request is carried out, and its answer is lost.
    mutating func answerIsLost() {
        _ = self.store.apply(self.open[0].request, session: self.session)
        self.answer(.failure(.ambiguous(code: -4)))
    }

    /// Answers what is open now. Returns what was asked for meanwhile.
    mutating func step() -> [ZooKeeperRequest] {
        let count = self.open.count
        for _ in 0..<count { self.answer() }
        return self.open.map(\.request)
    }

    /// Answers everything and tells of what changed, until nothing is left to do at this moment.
    mutating func settle(until isReached: (ZooKeeperRequest) -> Bool = { _ in false }) {
        for _ in 0..<2000 {
            if let first = self.open.first {
                if isReached(first.request) { return }
                self.answer()
                continue
            }
            let fired = self.store.takeFired()
            if !fired.isEmpty {
                self.handle(.changed(fired))
            } else if self.isStoragePrompt, !self.storage.isEmpty {
                self.handle(self.storage.removeFirst())
            } else {
                return
            }
        }
        Issue.record("it does not come to rest: \(self.told.suffix(5))")
    }

    /// Time passes, with every wake that was asked for.
    mutating func advance(_ duration: Duration) {
        let end = self.now.advanced(by: duration)
        self.settle()
        for _ in 0..<10_000 {
            guard let wake = self.wake, wake <= end else { break }
            self.now = max(self.now, wake)
            self.wake = nil
            self.handle(.ticked)
            self.settle()
        }
        self.now = end
        self.handle(.ticked)
        self.settle()
    }

    /// Time passes and nothing else happens.
    mutating func wait(_ duration: Duration) { self.now = self.now.advanced(by: duration) }

    mutating func forget() { self.told = [] }
}

/// What a test cannot go on without.
func recordMissing(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) { Issue.record("\(text)", sourceLocation: sourceLocation) }
