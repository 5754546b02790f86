/// Everything a plan depends on. The same input gives the same plan, in whatever order its nodes come.
package struct PlanInput: Sendable {
    /// Its nodes are as the controller sees them now: state, weight, zone and version of each say what it may own. Its mode says what may move.
    package var view: ClusterView
    /// Partitions that an operator put somewhere, and the id of the node.
    package var pins: [Int: String]
    /// Previous owner of an orphaned partition; preferred while it is below its quota.
    package var previousOwners: [Int: String]
    /// Nodes whose partitions wait for them, while they are away: see `PreviousOwners`.
    package var awaited: Set<String>
    /// Nodes that do not say how far they are. The end of a hand-over would not be heard, so they keep what they have and gain nothing.
    package var silent: Set<String>
    /// False while joins settle, versions differ or members cannot reach each other: failover, drains and pins go on, balancing waits.
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

/// How much may move at a time, with what is in flight already. Orphans are not bound by it: they are down anyway.
package struct PlanLimits: Hashable, Sendable {
    /// Moves in flight in the cluster. Beyond it they wait for the next plan.
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
