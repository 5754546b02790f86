/// The next grants and moves of partitions, computed from a `PlanInput`. A pure value. The controller applies the plan to the next view.
///
/// Partitions are sticky, and quotas are exact. A partition moves only if its owner is gone, drains or is above its quota, or if an operator pinned the
/// partition. The whole rebalance takes `bound.total` grants and moves, the fewest that any algorithm needs for the same quotas.
///
/// * **Active** nodes share the partitions that the other nodes do not keep. A node's quota is the floor or the ceiling of `count · weight / Σ weight`.
///   Nodes that already hold more than their floor get a ceiling first, which minimizes the moves. Next are nodes whose former partitions would return, then
///   nodes in the zone that is furthest below its share. If no partition has a place yet, every zone ends within one partition of its share.
/// * **Cordoned** nodes keep exactly their partitions, and gain none. Active nodes share the rest.
/// * **Draining** (and drained) nodes give up all partitions, within the limits.
/// * **Joining, fenced and down** nodes own nothing: their former partitions are orphans and are granted immediately, in every mode.
/// * **Moves in flight**: the partition counts as already at its target. A move whose target may no longer own partitions is cancelled.
/// * **Pins** apply if their node is active. If a node has more pins than its quota, the quota rises to the number of pins.
/// * Mode `maintenance` starts no balancing moves. Mode `guarded` starts no balancing moves and no moves for pins.
///   In mode `guarded` a returning node gets its former partitions back regardless of quotas.
///
/// Measured with 1024 partitions and about 10 nodes, and with joins, deaths and drains in equal parts: 60 such events take 6,099 grants and moves, and 100
/// events take 10,675. Both numbers equal the bound. The greatest load divided by the mean is never above 1.010 (one partition more than a mean of 102.4). In a
/// rolling upgrade of ten nodes, each partition moves about once.
///
/// Times of a release build with 1024 partitions and 50 nodes: 0.14 ms for a balanced view, 0.15 ms for the death of one node, 0.37 ms for the death of 25
/// nodes, 0.83 ms to place all partitions. With 4096 partitions and 60 nodes: 0.4 ms for a join, 4 ms to place all partitions.
package struct Plan: Hashable, Sendable {
    /// Orphans to grant now, in order of partition.
    package internal(set) var grants: [Placement] = []
    /// Handoffs to start now: drains first, then pins, then balance.
    package internal(set) var moves: [NewMove] = []
    /// Partitions whose move in flight is cancelled, because the target may no longer own partitions, in order. Moves of sealed partitions are not cancelled.
    package internal(set) var cancels: [Int] = []
    /// The lower bound of the whole rebalance from the current state, including this round. Moves in flight are not counted.
    package internal(set) var bound = Bound()
    /// Moves that this round does not start: they wait for a later round, or for another mode.
    package internal(set) var remaining = 0
    /// Orphans that wait for a node that vanished, in order.
    package internal(set) var held: [Int] = []
    /// The load of each node in the view, in the order of the nodes' ids.
    package internal(set) var loads: [Load] = []
    /// The greatest weighted load of an active node, divided by the mean. If all loads are equal, it is 1.
    package internal(set) var spreadBefore = 1.0
    /// The same quotient after the whole rebalance.
    package internal(set) var spreadAfter = 1.0
    package internal(set) var refusals: [Refusal] = []

    package struct Placement: Hashable, Sendable {
        package let partition: Int
        /// The former owner, if it is still in the view.
        package let from: String?
        package let to: String
        /// The owner epoch of the grant: one more than the current one.
        package let ownerEpoch: Int64
    }

    package struct NewMove: Hashable, Sendable {
        package let partition: Int
        package let from: String
        package let to: String
        package let reason: ClusterView.Move.Reason
    }

    /// The fewest partitions that have to change owners.
    package struct Bound: Hashable, Sendable {
        package internal(set) var orphans = 0
        package internal(set) var drained = 0
        /// Partitions that are pinned to another node than their owner.
        package internal(set) var pinned = 0
        /// Σ max(0, have − quota).
        package internal(set) var excess = 0

        package var moves: Int { self.drained + self.pinned + self.excess }
        package var total: Int { self.orphans + self.moves }
    }

    package struct Load: Hashable, Sendable {
        package let id: String
        /// The number of partitions now. A partition in flight counts at its target.
        package let before: Int
        /// The number of partitions after this round.
        package let after: Int
        /// The number of partitions after the whole rebalance.
        package let quota: Int
    }

    /// A request that cannot be executed.
    package enum Refusal: Hashable, Sendable, CustomStringConvertible {
        case noSuchPartition(Int, pinnedTo: String)
        case noSuchNode(partition: Int, pinnedTo: String)
        case cannotGain(partition: Int, pinnedTo: String, state: NodeState)
        /// There is no active node with a weight above 0.
        case noNodeMayOwn(orphans: Int, drained: Int)

        package var description: String {
            switch self {
            case .noSuchPartition(let partition, let id): "partition \(partition) is pinned to \(id), but there is no such partition"
            case .noSuchNode(let partition, let id): "partition \(partition) is pinned to \(id), but there is no such node"
            case .cannotGain(let partition, let id, let state): "partition \(partition) is pinned to \(id), which is \(state.rawValue) and gains no partitions"
            case .noNodeMayOwn(let orphans, let drained):
                "no active node has a weight above 0: \(orphans) orphans and \(drained) partitions of draining nodes cannot be placed"
            }
        }
    }

    /// The next round.
    package init(_ input: PlanInput) {
        var planner = Planner(input)
        self = planner.plan()
    }

    init() {}

    /// Whether there is nothing to do now.
    package var isEmpty: Bool { self.grants.isEmpty && self.moves.isEmpty && self.cancels.isEmpty }
}
