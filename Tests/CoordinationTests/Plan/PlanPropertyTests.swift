import TestKit
import Testing

@testable import Coordination

/// Properties of the plan of every cluster. A failure names the seed that reproduces the cluster.
@Suite struct PlanPropertyTests {
    static let shares: Set<NodeState> = [.active]
    static let alive: Set<NodeState> = [.active, .cordoned, .draining, .drained]

    /// Runs a whole rebalance and checks the properties that every rebalance has.
    @discardableResult
    static func complete(_ input: PlanInput, _ at: Comment) -> Plan.Complete {
        let complete = Plan.complete(input)
        let plan = complete.first
        #expect(complete.grants.count + complete.moves.count + complete.remaining == plan.bound.total, at)
        #expect(Set(complete.grants.map(\.partition) + complete.moves.map(\.partition)).count == complete.grants.count + complete.moves.count, at)
        #expect(complete.grants.count == plan.bound.orphans, "orphans are granted in the first round; \(at)")
        #expect(plan.grants == complete.grants, at)
        #expect(complete.rounds <= plan.bound.moves + 2, at)
        var last = input
        last.view = complete.view
        #expect(Plan(last).isEmpty, "the plan after the last round is not empty; \(at)")
        for (before, after) in zip(input.view.partitions, complete.view.partitions) {
            #expect(after.ownerEpoch >= before.ownerEpoch, at)
            #expect(after.ownerEpoch > before.ownerEpoch || after.owner == before.owner, at)
        }
        return complete
    }

    @Test func balancedWithTheFewestMoves() {
        for seed in 0..<3000 as Range<UInt64> {
            let cluster = RandomCluster(seed: seed)
            let (view, reference) = (cluster.input.view, Reference(cluster.input.view))
            let complete = Self.complete(cluster.input, "seed \(seed)")
            let bound = complete.first.bound
            guard reference.hasRoom else {
                #expect(bound.total == 0, "seed \(seed)")
                #expect(complete.first.refusals.isEmpty == (reference.orphans + reference.drained == 0), "seed \(seed)")
                continue
            }
            #expect(bound.orphans == reference.orphans && bound.drained == reference.drained, "seed \(seed)")
            #expect(bound.excess == reference.excess && bound.pinned == 0, "seed \(seed)")
            #expect(complete.remaining == 0 && complete.first.refusals.isEmpty && complete.first.held.isEmpty, "seed \(seed)")
            for node in view.nodes {
                let count = complete.view.count(node.id)
                switch node.state {
                case .active: #expect(reference.shares[node.id]!.contains(count), "seed \(seed), \(node.id) has \(count)")
                case .cordoned: #expect(count >= view.partitions.count { $0.owner == node.id && $0.move == nil }, "seed \(seed), \(node.id)")
                default: #expect(count == 0, "seed \(seed), \(node.id) has \(count)")
                }
            }
            #expect(complete.view.orphans == [], "seed \(seed)")
        }
    }

    /// Clusters that are too large for ``Reference``.
    @Test func balancedAtEverySize() {
        for seed in 0..<100 as Range<UInt64> {
            var cluster = RandomCluster(seed: seed, .init(partitionsMax: 4096, nodesMax: 60, onlyActive: seed % 2 == 0))
            // The test above checks many rounds with few moves.
            cluster.input.limits = PlanLimits(movesMax: 1000, outMax: 1000, inMax: 1000)
            let active = cluster.input.view.nodes.filter { $0.state == .active }
            let complete = Self.complete(cluster.input, "seed \(seed)")
            let weight = active.reduce(0) { $0 + $1.weight }
            let total = active.reduce(0) { $0 + complete.view.count($1.id) }
            guard weight > 0 else { continue }
            for node in active { #expect(abs(Double(complete.view.count(node.id)) - Double(total) * node.weight / weight) < 1, "seed \(seed)") }
        }
    }

    @Test func everyRoundKeepsTheLimits() {
        for seed in 0..<500 as Range<UInt64> {
            var input = RandomCluster(seed: seed, .init(pins: 10)).input
            input.limits = PlanLimits(movesMax: 1 + Int(seed % 20), outMax: 1 + Int(seed % 5), inMax: 1 + Int(seed % 4))
            var random = SplitMix(seed: seed)
            for _ in 0..<5 {
                let moving = input.view.moving.count
                let (before, plan) = (input.view, Plan(input))
                input.view.apply(plan)
                #expect((try? input.view.validate()) != nil, "seed \(seed)")
                #expect(plan.moves.isEmpty || input.view.moving.count <= max(moving, input.limits.movesMax), "seed \(seed)")
                for node in input.view.nodes {
                    func out(_ view: ClusterView) -> Int { view.moving.count { view.partitions[$0].owner == node.id } }
                    func into(_ view: ClusterView) -> Int { view.moving.count { view.partitions[$0].move!.to == node.id } }
                    #expect(out(input.view) <= max(input.limits.outMax, out(before)), "seed \(seed)")
                    #expect(into(input.view) <= max(input.limits.inMax, into(before)), "seed \(seed)")
                }
                let reasons = plan.moves.map(\.reason)
                #expect(reasons == reasons.filter { $0 == .drain } + reasons.filter { $0 == .operator } + reasons.filter { $0 == .balance }, "seed \(seed)")
                for load in plan.loads { #expect(load.after >= 0 && load.before >= 0) }
                // Some moves end, in any order.
                for partition in input.view.moving where random.chance(50) { input.view.finishMove(of: partition) }
                input.view.version += 1
            }
        }
    }

    @Test func theOrderOfTheInputDoesNotMatter() {
        for seed in 0..<1000 as Range<UInt64> {
            var cluster = RandomCluster(seed: seed, .init(pins: 10))
            var shuffled = cluster.input
            shuffled.view.nodes.shuffle(using: &cluster.random)
            shuffled.pins = [:]
            shuffled.previousOwners = [:]
            shuffled.previousOwners.reserveCapacity(1 << cluster.random.below(12))
            for (partition, id) in cluster.input.pins.shuffled(using: &cluster.random) { shuffled.pins[partition] = id }
            for (partition, id) in cluster.input.previousOwners.shuffled(using: &cluster.random) { shuffled.previousOwners[partition] = id }
            #expect(Plan(shuffled) == Plan(cluster.input), "seed \(seed)")
        }
    }

    @Test func inANewClusterEachZoneGetsTheShareOfItsWeight() {
        for seed in 0..<1000 as Range<UInt64> {
            var cluster = RandomCluster(seed: seed, .init(nodesMax: 20, onlyActive: true, fresh: true))
            cluster.input.previousOwners = [:]
            let nodes = cluster.input.view.nodes
            let weight = nodes.reduce(0) { $0 + $1.weight }
            guard weight > 0 else { continue }
            let view = Self.complete(cluster.input, "seed \(seed)").view
            for zone in Set(nodes.map(\.zone)) {
                let members = nodes.filter { $0.zone == zone }
                let share = Double(view.partitions.count) * members.reduce(0) { $0 + $1.weight } / weight
                let count = members.reduce(0) { $0 + view.count($1.id) }
                #expect(abs(Double(count) - share) < 1, "seed \(seed), zone \(zone) has \(count) of \(share)")
            }
        }
    }

    @Test func pinsAreObeyed() {
        for seed in 0..<2000 as Range<UInt64> {
            let cluster = RandomCluster(seed: seed, .init(movesInFlight: false, pins: Int(seed % 60)))
            let (view, pins) = (cluster.input.view, cluster.input.pins)
            let complete = Self.complete(cluster.input, "seed \(seed)")
            let active = view.nodes.filter { $0.state == .active }
            var counts: [String: Int] = [:]
            for (partition, id) in pins {
                let node = view.node(id)
                let keeps = node?.state == .cordoned && view.partitions[partition].owner == id
                let isRefused = complete.first.refusals.contains {
                    switch $0 {
                    case .cannotGain(partition, _, _), .noSuchNode(partition, _): true
                    default: false
                    }
                }
                #expect(isRefused == (node?.state != .active && !keeps), "seed \(seed), partition \(partition)")
                guard !isRefused else { continue }
                #expect(complete.view.partitions[partition].owner == id, "seed \(seed), partition \(partition)")
                counts[id, default: 0] += 1
            }
            // Partitions without a pin are shared evenly: a node that gave one away would then own fewer partitions per weight than the receiver.
            func count(_ node: ClusterView.Node) -> Double { Double(complete.view.count(node.id)) }
            let sharing = active.filter { $0.weight > 0 }
            for node in active where !sharing.isEmpty && node.weight == 0 { #expect(count(node) == Double(counts[node.id] ?? 0), "seed \(seed), \(node.id)") }
            for giver in sharing where count(giver) > Double(counts[giver.id] ?? 0) {
                for taker in sharing where (count(giver) - 1) * taker.weight >= (count(taker) + 1) * giver.weight {
                    Issue.record("seed \(seed), \(giver.id) has \(count(giver)) and \(taker.id) \(count(taker))")
                }
            }
        }
    }

    @Test func previousOwnersGetTheirPartitionsBackWithinTheirQuota() {
        for seed in 0..<500 as Range<UInt64> {
            var cluster = RandomCluster(seed: seed, .init(nodesMax: 8, equalWeights: true, onlyActive: true, fresh: true))
            guard cluster.input.view.nodes.count > 1 else { continue }
            cluster.input.previousOwners = [:]
            var view = Plan.complete(cluster.input).view
            let node = view.nodes.randomElement(using: &cluster.random)!.id
            let lost = view.orphan(ownedBy: node)
            cluster.input.previousOwners = Dictionary(uniqueKeysWithValues: lost.map { ($0, node) })
            // The node returns before its partitions were reassigned.
            cluster.input.view = view
            #expect(Set(Self.complete(cluster.input, "seed \(seed)").view.partitions(ownedBy: node)) == Set(lost), "seed \(seed)")
            // The node returns after all its partitions were reassigned. It gets only partitions that it owned before.
            view.nodes[view.nodeIndex(node)!].state = .down
            cluster.input.view = view
            view = Self.complete(cluster.input, "seed \(seed)").view
            view.nodes[view.nodeIndex(node)!].state = .active
            cluster.input.view = view
            #expect(Set(Self.complete(cluster.input, "seed \(seed)").view.partitions(ownedBy: node)).isSubset(of: lost), "seed \(seed)")
        }
    }
}
