import TestKit
import Testing

@testable import Coordination

/// One machine, driven event by event. Replies arrive and time passes only if the test says so.
struct ClusterMachineBench {
    private(set) var machine: ClusterMachine
    private(set) var now = ContinuousClock.now
    var random = SplitMix(seed: 1)
    var store = ClusterMachineStore()
    /// The requests to ZooKeeper without a reply, in order.
    private(set) var open: [(token: UInt64, request: ZooKeeperRequest)] = []
    /// All effects of the machine since ``forget()``.
    private(set) var effects: [ClusterMachine.Effect] = []
    private(set) var wake: ContinuousClock.Instant?
    /// Whether ``settle(until:)`` also performs seals and handoffs.
    var isStoragePrompt = true
    private(set) var generation: UInt64 = 0
    private(set) var session: Int64 = 100
    /// The timeout of the session.
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
            self.effects.append(action)
            switch action {
            case .perform(let token, let request, _, _): self.open.append((token, request))
            case .wake(let time): self.wake = time
            case .seal(let partitions): self.storage.append(.sealed(partitions))
            case .handOver(let handoffs): self.storage.append(.handedOver(handoffs.map(\.grant)))
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

    /// The session continues.
    mutating func reconnect() {
        self.handle(.session(ZooKeeperState(generation: self.generation, phase: .connected(session: self.session, timeout: self.timeout))))
    }

    mutating func suspend() { self.handle(.session(ZooKeeperState(generation: self.generation, phase: .suspended))) }

    mutating func lose(_ loss: ZooKeeperState.Loss = .expired) {
        if loss == .expired { self.store.end(self.session) }
        self.open = []
        self.handle(.session(ZooKeeperState(generation: self.generation, phase: .lost(loss))))
    }

    /// Replies to the oldest open request with the given result. Nil means the result of the store.
    mutating func reply(_ result: Result<ZooKeeperReply, ZooKeeperFailure>? = nil) {
        let (token, request) = self.open.removeFirst()
        self.handle(.replied(token: token, result ?? self.store.apply(request, session: self.session)))
    }

    /// Removes an open request. The test itself sends the reply.
    mutating func close(_ token: UInt64) { self.open.removeAll { $0.token == token } }

    /// Executes the oldest open request, and loses its reply.
    mutating func loseReply() {
        _ = self.store.apply(self.open[0].request, session: self.session)
        self.reply(.failure(.ambiguous(code: -4)))
    }

    /// Replies to the requests that are open now. Returns the requests that these replies cause.
    mutating func step() -> [ZooKeeperRequest] {
        let count = self.open.count
        for _ in 0..<count { self.reply() }
        return self.open.map(\.request)
    }

    /// Replies to all requests and fires all watches, until the machine waits for time to pass.
    mutating func settle(until isReached: (ZooKeeperRequest) -> Bool = { _ in false }) {
        for _ in 0..<2000 {
            if let first = self.open.first {
                if isReached(first.request) { return }
                self.reply()
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
        Issue.record("the machine does not settle: \(self.effects.suffix(5))")
    }

    /// Lets time pass, with every requested wake.
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

    /// Lets time pass without an event.
    mutating func wait(_ duration: Duration) { self.now = self.now.advanced(by: duration) }

    mutating func forget() { self.effects = [] }
}

/// Records a failure: something that the test needs is missing.
func recordMissing(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) { Issue.record("\(text)", sourceLocation: sourceLocation) }
