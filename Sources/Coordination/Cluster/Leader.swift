/// What the controller knows beyond what every node knows. Built anew after each election, from ZooKeeper and the nodes' reports.
struct Leader: Sendable {
    let epoch: Int32
    /// The version of `/controller_epoch` under which everything is written: whoever is elected next changes it.
    let epochVersion: Int32
    let electedAt: ContinuousClock.Instant

    struct Member: Hashable, Sendable {
        var record: MemberRecord
        var incarnation: Int64
    }

    struct NodeEntry: Hashable, Sendable {
        var record: NodeRecord
        var version: Int32
    }

    /// Nil until they have been read for the first time: nothing is decided before.
    var members: [String: Member] = [:]
    var areMembersRead = false
    var nodes: [String: NodeEntry] = [:]
    var areNodesRead = false
    /// A listing whose details are being read.
    var gatheringMembers: Gathering<Member>?
    var gatheringNodes: Gathering<NodeEntry>?

    struct Gathering<Value: Sendable>: Sendable {
        var open: Set<String>
        var found: [String: Value] = [:]
    }

    /// A view is with ZooKeeper; the next one is made of what it becomes.
    var isWriting = false
    var notBefore: ContinuousClock.Instant?
    var sequence: Int64 = 0

    /// The newest report of each node, of its present incarnation.
    var reports: [String: Received] = [:]

    struct Received: Sendable {
        var report: NodeReport
        var at: ContinuousClock.Instant
    }

    var guards: Guards
    /// Operators' changes that are with ZooKeeper, by their number.
    var changes: [Int64: Asked] = [:]
    var nextChange: Int64 = 1

    struct Guards: Sendable {
        var debounce: RebalanceDebounce
        var massFailure: MassFailureGuard
        var flaps = FlapGuard()
        var homes = HomeHints()
        /// Since when a node is fenced, or was last seen to be unreachable.
        var fenced: [String: ContinuousClock.Instant] = [:]
        var lastFence: ContinuousClock.Instant?
        /// Nodes whose member node is being removed because their port is closed.
        var evicting: Set<Int64> = []

        init(_ settings: ClusterSettings) {
            self.debounce = RebalanceDebounce(quiet: settings.joinQuiet, longest: settings.joinLongest)
            self.massFailure = MassFailureGuard(hold: settings.massFailureHold)
        }
    }

    init(epoch: Int32, epochVersion: Int32, guards: Guards, electedAt: ContinuousClock.Instant) {
        self.epoch = epoch
        self.epochVersion = epochVersion
        self.guards = guards
        self.electedAt = electedAt
    }
}

/// A write to the registry or the configuration that an operator asked for.
enum ControllerChange: Hashable, Sendable {
    case node(String, number: Int64)
    case configuration(number: Int64)
    /// Of a dead process.
    case evict(String, incarnation: Int64)
}
