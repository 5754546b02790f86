import TestKit
import Testing

@testable import Coordination

@Suite struct PlanTests {
    /// Nodes `a`, `b` and so on with the given numbers of partitions, then the given number of orphans.
    static func view(_ counts: [Int], orphans: Int = 0, change: (inout ClusterView) -> Void = { _ in }) -> ClusterView {
        let ids = counts.indices.map { String(UnicodeScalar(UInt8(97 + $0))) }
        let owned = zip(ids, counts).flatMap { id, count in Array(repeating: ClusterView.Partition(owner: id, ownerEpoch: 1), count: count) }
        var view = ClusterView(
            version: 1, controllerEpoch: 1, writer: "w", nodes: ids.map { .init(id: $0, version: "1.0", state: .active) },
            partitions: owned + Array(repeating: ClusterView.Partition(), count: orphans))
        change(&view)
        return view
    }

    private func counts(_ input: PlanInput) -> [Int] {
        let view = Plan.complete(input).view
        return view.nodes.map { view.count($0.id) }
    }

    @Test func aJoinTakesAnEqualShareFromEachNode() {
        let plan = Plan(PlanInput(view: Self.view([102, 102, 103, 102, 103, 102, 102, 103, 102, 103, 0])))
        #expect(plan.bound == Plan(PlanInput(view: Self.view([102, 102, 103, 102, 103, 102, 102, 103, 102, 103, 0]))).bound)
        #expect(plan.bound.total == 93)
        #expect(plan.moves.count == 8)
        #expect(plan.remaining == 85)
        #expect(plan.spreadBefore > 1.1 && plan.spreadAfter < 1.02)
    }

    @Test func anOrphanIsGrantedUnderTheNextEpoch() {
        let view = Self.view([2, 2]) {
            $0.partitions[1] = .init(owner: nil, ownerEpoch: 41)
            $0.partitions[2].owner = "c"
            $0.upsert(.init(id: "c", state: .down))
        }
        let plan = Plan(PlanInput(view: view, balances: false))
        #expect(plan.grants.map(\.partition) == [1, 2])
        #expect(plan.grants.map(\.ownerEpoch) == [42, 2])
        #expect(plan.grants.map(\.from) == [nil, "c"])
        var applied = view
        applied.apply(plan)
        #expect(view.regression(in: ClusterView(versioned: applied)) == nil)
        #expect(applied.orphans == [] && applied.count("c") == 0)
    }

    @Test(arguments: [ClusterView.Mode.maintenance, .guarded])
    func maintenanceAndGuardedModeStopBalancing(_ mode: ClusterView.Mode) {
        let view = Self.view([10, 0, 4], orphans: 2) {
            $0.mode = mode
            $0.nodes[2].state = .draining
        }
        let plan = Plan(PlanInput(view: view, pins: [0: "b"], limits: PlanLimits(movesMax: 9)))
        #expect(plan.grants.map(\.to) == ["b", "b"])
        #expect(plan.moves.filter { $0.reason == .drain }.count == 4)
        #expect(plan.moves.filter { $0.reason == .operator }.count == (mode == .maintenance ? 1 : 0))
        #expect(plan.moves.filter { $0.reason == .balance }.isEmpty)
        #expect(plan.remaining == plan.bound.moves - plan.moves.count)
        let complete = Plan.complete(PlanInput(view: view))
        #expect(complete.remaining == 2)
        #expect(complete.view.count("c") == 0)
    }

    @Test func drainsAndPinsContinueWhileBalancingWaits() {
        let view = Self.view([10, 0, 4], orphans: 2) { $0.nodes[2].state = .draining }
        let plan = Plan(PlanInput(view: view, pins: [0: "b"], balances: false, limits: PlanLimits(movesMax: 20)))
        #expect(plan.grants.count == 2)
        #expect(plan.moves.map(\.reason) == [.drain, .drain, .drain, .drain, .operator])
        #expect(plan.remaining == 1)
    }

    @Test func cordonedNodesKeepTheirExcessAndGainNothing() {
        let view = Self.view([9, 1, 0, 1], orphans: 5) {
            $0.nodes[0].state = .cordoned
            $0.nodes[3].state = .cordoned
        }
        #expect(self.counts(PlanInput(view: view)) == [9, 3, 3, 1])
        let refused = Plan(PlanInput(view: view, pins: [9: "a", 0: "a", 99: "a", 10: "x"])).refusals
        #expect(
            refused.map(\.description) == [
                "partition 9 is pinned to a, which is cordoned and gains no partitions", "partition 10 is pinned to x, but there is no such node",
                "partition 99 is pinned to a, but there is no such partition",
            ])
    }

    @Test func withoutAnActiveNodeNothingMoves() {
        let view = Self.view([3, 2], orphans: 2) {
            $0.nodes[0].state = .draining; $0.nodes[1].state = .cordoned
        }
        let plan = Plan(PlanInput(view: view))
        #expect(plan.isEmpty)
        #expect(plan.refusals == [.noNodeMayOwn(orphans: 2, drained: 3)])
        #expect(
            Plan(
                PlanInput(
                    view: Self.view([3, 2]) {
                        $0.nodes[0].weight = 0; $0.nodes[1].weight = 0
                    })
            ).isEmpty)
    }

    @Test func movesInFlightCountAtTheirTargets() {
        var view = Self.view([6, 0])
        let first = Plan(PlanInput(view: view, limits: PlanLimits(movesMax: 2)))
        #expect(first.moves.count == 2 && first.remaining == 1)
        view.apply(first)
        let ids = view.moving.map { view.partitions[$0].move!.id }
        #expect(ids == view.moving.map { Int64(2 << 16 | $0) })
        view.version += 1
        let second = Plan(PlanInput(view: view, limits: PlanLimits(movesMax: 2)))
        #expect(second.moves.isEmpty && second.remaining == 1 && second.loads.map(\.before) == [4, 2])
        #expect(Plan(PlanInput(view: view, limits: PlanLimits(movesMax: 9))).moves.count == 1)
        // The target is fenced: its moves are cancelled. The partitions move elsewhere only after that.
        view.nodes[1].state = .fenced
        view.upsert(.init(id: "c", state: .active))
        let third = Plan(PlanInput(view: view))
        #expect(third.cancels == view.moving)
        #expect(third.moves.allSatisfy { $0.to == "c" && !third.cancels.contains($0.partition) })
        #expect(self.counts(PlanInput(view: view)) == [3, 0, 3])
        // The owner is down: the target of the move is preferred as the new owner.
        view.nodes[1].state = .active
        view.nodes[0].state = .down
        let fourth = Plan(PlanInput(view: view))
        for partition in view.moving { #expect(fourth.grants.contains { $0.partition == partition && $0.to == "b" }) }
    }

    @Test func partitionsThatAlreadyMoveAreShedLast() {
        let view = Self.view([2, 6, 1]) { for partition in 0..<2 { $0.partitions[partition].move = .init(id: Int64(partition), to: "b", reason: .balance) } }
        let plan = Plan(PlanInput(view: view, limits: PlanLimits(movesMax: 20)))
        #expect(plan.bound.excess == 5 && plan.moves.count == 5 && plan.remaining == 0)
        #expect(plan.moves.allSatisfy { $0.from == "b" })
    }

    @Test func guardedModeWaitsForTheNodesThatVanished() {
        var view = Self.view([4, 4, 4, 4]) { $0.mode = .guarded }
        var previous: [Int: String] = [:]
        for id in ["b", "c", "d"] {
            for partition in view.orphan(ownedBy: id) { previous[partition] = id }
            view.nodes[view.nodeIndex(id)!].state = .down
        }
        let waiting = Plan(PlanInput(view: view, previousOwners: previous, awaited: ["b", "c", "d"]))
        #expect(waiting.isEmpty && waiting.held.count == 12 && waiting.refusals.isEmpty)
        view.nodes[1].state = .active
        view.nodes[2].state = .joining
        let returned = Plan(PlanInput(view: view, previousOwners: previous, awaited: ["b", "c", "d"]))
        #expect(returned.grants.map(\.partition) == [4, 5, 6, 7])
        #expect(returned.grants.allSatisfy { $0.to == "b" && $0.ownerEpoch == 2 })
        view.mode = .normal
        #expect(self.counts(PlanInput(view: view, previousOwners: previous)) == [8, 8, 0, 0])
    }

    @Test func theNewestVersionGainsFirst() {
        let view = Self.view([6, 6, 6, 0]) {
            $0.nodes[0].state = .draining
            $0.nodes[3].version = "1.10.0"
            $0.nodes[2].version = "1.9.0"
        }
        let plan = Plan(PlanInput(view: view, limits: PlanLimits(movesMax: 4)))
        #expect(plan.moves.map(\.to) == ["d", "d", "d", "d"])
        #expect(plan.moves.allSatisfy { $0.from == "a" && $0.reason == .drain })
    }

    @Test func aClusterUpgradedNodeByNodeMovesEachPartitionAboutOnce() {
        var view = Plan.complete(PlanInput(view: Self.view([0, 0, 0, 0, 0, 0, 0, 0, 0, 0], orphans: 1024))).view
        var moves = 0
        for index in view.nodes.indices {
            view.mode = .maintenance
            view.nodes[index].state = .draining
            let drained = Plan.complete(PlanInput(view: view))
            moves += drained.moves.count
            view = drained.view
            view.nodes[index].state = .active
            view.nodes[index].version = "2.0"
        }
        view.mode = .normal
        moves += Plan.complete(PlanInput(view: view)).moves.count
        #expect(moves <= 1024 + 2 * 103, "\(moves) moves")
    }

    /// Nodes join, die and are drained in a cluster of about ten. The plans never need more moves than the bound, and the cluster stays even to one partition.
    @Test func churnNeedsNoMoreMovesThanTheBound() {
        var random = SplitMix(seed: 10)
        var view = Plan.complete(PlanInput(view: Self.view([0, 0, 0, 0, 0, 0, 0, 0, 0, 0], orphans: 1024))).view
        var (moves, bound, worst, next) = (0, 0, 1.0, 10)
        for event in 0..<100 {
            let live = view.nodes.filter { $0.state == .active }
            if live.count < 13, random.chance(live.count <= 7 ? 100 : 50) {
                view.upsert(.init(id: "m\(next)", version: "1.0", state: .active))
                next += 1
            } else {
                let id = live.randomElement(using: &random)!.id
                view.nodes[view.nodeIndex(id)!].state = random.chance(50) ? .down : .draining
            }
            let reference = Reference(view)
            let complete = Plan.complete(PlanInput(view: view))
            bound += reference.orphans + reference.drained + reference.excess
            moves += complete.grants.count + complete.moves.count
            worst = max(worst, complete.spread)
            view = complete.view
            view.nodes.removeAll { $0.state != .active }
            #expect(moves == bound, "event \(event): \(moves) moves, bound \(bound)")
        }
        #expect(worst < 1.0129, "worst \(worst), \(moves) moves")
    }
}

extension ClusterView {
    /// The same view with the next version.
    fileprivate init(versioned view: ClusterView) {
        self = view
        self.version += 1
    }
}
