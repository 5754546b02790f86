/// Everything that a plan depends on. The same input gives the same plan, for any order of its nodes.
package struct PlanInput: Sendable {
    /// The view with the controller's current knowledge: the state, weight, zone and version of a node decide what it may own. The mode decides what may move.
    package var view: ClusterView
    /// Pinned partitions, with the id of the node.
    package var pins: [Int: String]
    /// Previous owner of an orphaned partition; preferred while it is below its quota.
    package var previousOwners: [Int: String]
    /// Nodes whose partitions wait for them, while they are away: see `PreviousOwners`.
    package var awaited: Set<String>
    /// Nodes that do not report. The end of a handoff would not be known, so they keep their partitions and gain none.
    package var silent: Set<String>
    /// False while more joins are expected, versions differ or members cannot reach each other: then balancing waits; failover, drains and pins continue.
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

/// How many moves may be in flight. Not a limit for orphans, because these are not served anyway.
package struct PlanLimits: Hashable, Sendable {
    /// Moves in flight in the cluster. More of them wait for the next plan.
    package var movesMax: Int
    /// Moves in flight away from a node.
    package var outMax: Int
    /// Moves in flight to a node.
    package var inMax: Int

    package init(movesMax: Int, outMax: Int = 8, inMax: Int = 8) {
        self.movesMax = movesMax
        self.outMax = outMax
        self.inMax = inMax
    }

    /// A tenth of the partitions, at least 1 and at most 64, as Akka's and Pekko's rebalance limit
    /// (<https://pekko.apache.org/docs/pekko/current/typed/cluster-sharding.html#rebalancing>).
    package init(partitionCount: Int) {
        self.init(movesMax: max(1, min(partitionCount / 10, 64)))
    }
}
