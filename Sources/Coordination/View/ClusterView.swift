package import JSON
package import Partitioning

/// The register of members and owners. Only the controller writes it.
///
/// A reader sees members, owners and moves as of one moment. Versions grow by one with each write.
package struct ClusterView: Hashable, Sendable {
    /// Incremented by every write.
    package var version: Int64
    /// The controller epoch of its writer.
    package var controllerEpoch: Int32
    /// The writer, as `node/incarnation/sequence`. The writer recognizes its own view by it, and knows its reasons.
    package var writer: String
    /// Milliseconds since 1970 at the writer; for people, never for decisions.
    package var writtenAt: Int64
    package var mode: Mode { didSet { self.remainder.remove("mode") } }
    /// In the order of their ids.
    package var nodes: [Node]
    /// One for each partition, in order.
    package var partitions: [Partition]
    /// Fields of a newer version, which are kept unchanged. An unknown mode is read as maintenance: failover continues, and nothing is balanced.
    package internal(set) var remainder = JSONRemainder()

    package init(
        version: Int64, controllerEpoch: Int32, writer: String, writtenAt: Int64 = 0, mode: Mode = .normal, nodes: [Node] = [], partitions: [Partition]
    ) {
        self.version = version
        self.controllerEpoch = controllerEpoch
        self.writer = writer
        self.writtenAt = writtenAt
        self.mode = mode
        self.nodes = nodes
        self.partitions = partitions
    }

    package enum Mode: String, Hashable, Sendable, CaseIterable {
        case normal
        /// No balancing, requested by an operator. Failover continues.
        case maintenance
        /// Many nodes vanished together: reassignment is held back for a while.
        case guarded
    }

    /// A node as the controller sees it.
    package struct Node: Hashable, Sendable {
        package var id: String
        /// The czxid of its member znode, which changes with each restart. Nil while the node is down.
        package var incarnation: Int64?
        /// `host:port` of its link; empty while unknown.
        package var link: String
        /// `host:port` of its API, for commands to that node.
        package var api: String
        package var zone: String
        package var weight: Double
        package var version: String
        package var state: NodeState { didSet { self.remainder.remove("st") } }
        /// The operator's request when the view was written. `/nodes` decides; this copy survives the loss of `/nodes`.
        package internal(set) var desired: NodeRecord?
        /// Fields of a newer version, which are kept unchanged. An unknown state counts as fenced, until it is set.
        package internal(set) var remainder = JSONRemainder()

        package init(
            id: String, incarnation: Int64? = nil, link: String = "", api: String = "", zone: String = "", weight: Double = 1, version: String = "",
            state: NodeState
        ) {
            self.id = id
            self.incarnation = incarnation
            self.link = link
            self.api = api
            self.zone = zone
            self.weight = weight
            self.version = version
            self.state = state
        }

        /// Nil while the node is down.
        package var process: ProcessID? { self.incarnation.map { ProcessID(id: self.id, incarnation: $0) } }
    }

    package struct Partition: Hashable, Sendable {
        /// The id of the owning node; nil for an orphan.
        package var owner: String?
        /// The owner epoch: grows with every grant, never shrinks.
        package var ownerEpoch: Int64
        /// A planned handoff in progress.
        package var move: Move?

        package init(owner: String? = nil, ownerEpoch: Int64 = 0, move: Move? = nil) {
            self.owner = owner
            self.ownerEpoch = ownerEpoch
            self.move = move
        }
    }

    package struct Move: Hashable, Sendable {
        package var id: Int64
        package var to: String
        package var reason: Reason { didSet { self.remainder.remove("why") } }
        /// Fields of a newer version, which are kept unchanged. A move with an unknown reason counts as requested by an operator.
        package internal(set) var remainder = JSONRemainder()

        package init(id: Int64, to: String, reason: Reason) {
            self.id = id
            self.to = to
            self.reason = reason
        }

        package enum Reason: String, Hashable, Sendable, CaseIterable {
            case balance, drain, `operator`
        }
    }
}

/// The states of a node.
package enum NodeState: String, Hashable, Sendable, CaseIterable {
    /// Member, not ready yet. Owns nothing.
    /// Can transition to: active, cordoned, draining, down.
    case joining
    /// Owns its share.
    /// Can transition to: cordoned, draining, fenced, down.
    case active
    /// Keeps its partitions, gains none.
    /// Can transition to: active, draining, fenced, down.
    case cordoned
    /// Its partitions are moved to other nodes.
    /// Can transition to: active, cordoned, drained, fenced, down.
    case draining
    /// Has no partitions left.
    /// Can transition to: active, cordoned, draining, fenced, down.
    case drained
    /// Has a session, but its peers cannot reach it: owns nothing until it has been healthy for a while.
    /// Can transition to: active, cordoned, draining, down.
    case fenced
    /// Not a member, but expected to return.
    /// Can transition to: joining, removed from the view (forgotten).
    case down

    /// Whether a node in this state may have partitions.
    var mayOwn: Bool {
        switch self {
        case .active, .cordoned, .draining: true
        case .joining, .drained, .fenced, .down: false
        }
    }
}
