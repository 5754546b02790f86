package import JSON
package import Partitioning

/// The register of members and owners. Only the controller writes it.
///
/// One read returns the members, owners and moves of the same moment. Versions grow by one with each write.
package struct ClusterView: Hashable, Sendable {
    /// Incremented by every write.
    package var version: Int64
    /// The controller epoch of its writer.
    package var controllerEpoch: Int32
    /// The writer, as `node/incarnation/sequence`. The writer recognizes its own view by this text, and then records the reasons for the changes.
    package var writer: String
    /// Milliseconds since 1970 on the writer's clock, for people. Decisions do not use it.
    package var writtenAt: Int64
    package var mode: Mode { didSet { self.remainder.remove("mode") } }
    /// In the order of their ids.
    package var nodes: [Node]
    /// One element for each partition, in order.
    package var partitions: [Partition]
    /// Fields of a newer version, which are kept unchanged. An unknown mode counts as maintenance: failover continues, and no balancing moves start.
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
        /// An operator has paused balancing. Failover continues.
        case maintenance
        /// Many nodes vanished together. Reassignment is delayed for a while.
        case guarded
    }

    /// A node as the controller sees it.
    package struct Node: Hashable, Sendable {
        package var id: String
        /// The czxid of its member znode, which changes with each restart. Nil while the node is down.
        package var incarnation: Int64?
        /// `host:port` of its link. Empty while unknown.
        package var link: String
        /// `host:port` of its API, for commands to that node.
        package var api: String
        package var zone: String
        package var weight: Double
        package var version: String
        package var state: NodeState { didSet { self.remainder.remove("st") } }
        /// A copy of the operator's request in `/nodes` when the view was written. It restores the request if ZooKeeper loses `/nodes`.
        package internal(set) var desired: NodeRecord?
        /// Fields of a newer version, which are kept unchanged. An unknown state counts as fenced until the controller sets the state.
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
        /// The id of the owning node. Nil for an orphan.
        package var owner: String?
        /// The owner epoch. It grows with every grant, and never shrinks.
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
    /// The node is a member, but is not ready yet. It owns nothing.
    /// Can transition to: active, cordoned, draining, down.
    case joining
    /// The node owns its share of the partitions.
    /// Can transition to: cordoned, draining, fenced, down.
    case active
    /// The node keeps its partitions, but gains none.
    /// Can transition to: active, draining, fenced, down.
    case cordoned
    /// The node's partitions are being moved to other nodes.
    /// Can transition to: active, cordoned, drained, fenced, down.
    case draining
    /// The node was drained, and has no partitions left.
    /// Can transition to: active, cordoned, draining, fenced, down.
    case drained
    /// The node has a session, but its peers cannot reach it. It owns nothing until peers have reached it for a while.
    /// Can transition to: active, cordoned, draining, down.
    case fenced
    /// The node is not a member, but is expected to return.
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
