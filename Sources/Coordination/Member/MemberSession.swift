/// This node's session with ZooKeeper: its state, the operations without a reply, and when each znode is read. A pure value.
struct MemberSession: Sendable {
    private(set) var state = ZooKeeperState(generation: 0, phase: .connecting)
    /// The id of the present session, even while it has no connection. The session's ephemeral znodes belong to this node until the session is lost.
    private(set) var id: Int64?
    /// The timeout that the servers granted to the session.
    private(set) var timeout: Duration?
    /// All sessions of this process. An ephemeral znode of an earlier session is a leftover of this process.
    private(set) var own: Set<Int64> = []
    /// Why the last session ended, or why the last attempt to open a session failed.
    private(set) var loss: ZooKeeperState.Loss?
    /// Operations without a reply, by token.
    private(set) var pending: [UInt64: ClusterMachine.Operation] = [:]
    private var nextToken: UInt64 = 1
    var reads: RegistryReads
    private let operationTimeout: Duration

    init(settings: ClusterSettings) {
        self.operationTimeout = settings.operationTimeout
        self.reads = RegistryReads(paths: settings.paths, ownID: settings.id, rereadInterval: settings.rereadInterval)
    }

    enum Change: Sendable {
        /// A connection exists, in a new session or in the previous session.
        case connected(isNew: Bool)
        /// There is no connection now, but the session may still be valid. No partition is granted to another node before the session ends.
        case unchanged
        case lost(ZooKeeperState.Loss)
    }

    mutating func changed(_ state: ZooKeeperState) -> Change {
        self.state = state
        switch state.phase {
        case .connecting, .suspended, .closing, .closed: return .unchanged
        case .connected(let session, let timeout):
            self.id = session
            self.timeout = timeout
            self.loss = nil
            self.reads.reconnected()
            return .connected(isNew: self.own.insert(session).inserted)
        case .lost(let loss):
            self.loss = loss
            self.id = nil
            self.timeout = nil
            // A reply that arrives after its session was lost is ignored.
            self.pending = [:]
            self.reads.end()
            return .lost(loss)
        }
    }

    mutating func perform(_ request: ZooKeeperRequest, for operation: ClusterMachine.Operation, at now: ContinuousClock.Instant) -> ClusterMachine.Effect {
        let token = self.nextToken
        self.nextToken += 1
        self.pending[token] = operation
        return .perform(token: token, request, generation: self.state.generation, deadline: now.advanced(by: self.operationTimeout))
    }

    mutating func replied(_ token: UInt64) -> ClusterMachine.Operation? { self.pending.removeValue(forKey: token) }

    var isConnected: Bool { if case .connected = self.state.phase { true } else { false } }
}
