/// Everything that a plan depends on. The same input gives the same plan, for any order of its nodes.
package struct PlanInput: Sendable {
    /// The view with the controller's current knowledge. The state, weight, zone and version of a node decide which partitions it may own. The mode decides
    /// which moves may start.
    package var view: ClusterView
    /// Pinned partitions, with the id of the node.
    package var pins: [Int: String]
    /// The previous owner of each orphaned partition. The partition goes to this node if the node is below its quota.
    package var previousOwners: [Int: String]
    /// Absent nodes whose partitions wait for their return: see `PreviousOwners`.
    package var awaited: Set<String>
    /// Nodes that do not report. The controller would not know the end of a handoff, so such a node keeps its partitions and gains none.
    package var silent: Set<String>
    /// Whether moves for balance may start. False while more nodes are expected to join, while versions differ, or while members cannot reach each other.
    /// Failover, drains and pins continue even if this is false.
    package var balances: Bool
    package var limits: PlanLimits

    package init(
        view: ClusterView, pins: [Int: String] = [:], previousOwners: [Int: String] = [:], awaited: Set<String> = [], silent: Set<String> = [],
        balances: Bool = true, limits: PlanLimits? = nil
    ) {
        self.view = view
        self.pins = pins
        self.previousOwners = previousOwners
        self.awaited = awaited
        self.silent = silent
        self.balances = balances
        self.limits = limits ?? PlanLimits(partitionCount: view.partitions.count)
    }
}

/// How many moves may be in flight. Grants of orphans have no limit, because no node serves an orphan.
package struct PlanLimits: Hashable, Sendable {
    /// The limit of moves in flight in the cluster. Further moves wait for a later plan.
    package var movesMax: Int
    /// The limit of moves in flight away from one node.
    package var outMax: Int
    /// The limit of moves in flight to one node.
    package var inMax: Int

    package init(movesMax: Int, outMax: Int = 8, inMax: Int = 8) {
        self.movesMax = movesMax
        self.outMax = outMax
        self.inMax = inMax
    }

    /// A tenth of the partitions, at least 1 and at most 64. The fraction is the one of Akka's and Pekko's rebalance limit
    /// (<https://pekko.apache.org/docs/pekko/current/typed/cluster-sharding.html#rebalancing>).
    package init(partitionCount: Int) {
        self.init(movesMax: max(1, min(partitionCount / 10, 64)))
    }
}
