/// This node's session with ZooKeeper, and the operations in it that have no reply yet. A pure value.
struct MemberSession: Sendable {
    private(set) var state = ZooKeeperState(generation: 0, phase: .connecting)
    /// The sessions this process has had: an ephemeral znode of an older one is its own leftover.
    private(set) var own: Set<Int64> = []
    /// Why the last session, or the last try for one, ended.
    private(set) var loss: ZooKeeperState.Loss?
    /// What each operation without a reply is for, by its token.
    private(set) var pending: [UInt64: ClusterMachine.Operation] = [:]
    private var nextToken: UInt64 = 1
    private let operationTimeout: Duration

    init(operationTimeout: Duration) { self.operationTimeout = operationTimeout }

    enum Change: Sendable {
        /// A new session, or the old one has a connection again.
        case connected(isNew: Bool)
        /// No connection for now. The session may live on: no partition is granted to another node before it ends.
        case unchanged
        case lost(ZooKeeperState.Loss)
    }

    mutating func changed(_ state: ZooKeeperState) -> Change {
        self.state = state
        switch state.phase {
        case .connecting, .suspended, .closing, .closed: return .unchanged
        case .connected(let session, _):
            self.loss = nil
            return .connected(isNew: self.own.insert(session).inserted)
        case .lost(let loss):
            self.loss = loss
            // A reply that comes after its session was lost is ignored.
            self.pending = [:]
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

    /// Nil without a connection.
    var id: Int64? { if case .connected(let session, _) = self.state.phase { session } else { nil } }

    var timeout: Duration? { if case .connected(_, let timeout) = self.state.phase { timeout } else { nil } }
}
