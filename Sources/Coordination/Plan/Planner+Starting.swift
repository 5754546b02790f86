extension Planner {
    /// Grants every orphan that has a target, and starts the moves that the mode and the limits allow.
    mutating func start() {
        var needed: [Need] = []
        var unplaced = (orphans: 0, drained: 0)
        for partition in self.places.indices {
            let (place, target) = (self.places[partition], self.targets[partition] ?? Planner.nowhere)
            if place == Planner.nowhere {
                if target != Planner.nowhere {
                    self.grant(partition, to: target)
                } else {
                    unplaced.orphans += 1
                }
            } else if target != place {
                needed.append(self.need(partition, from: place, to: target))
            } else if self.roles[place] == .gives {
                unplaced.drained += 1
            }
        }
        unplaced.orphans -= self.result.held.count
        if unplaced != (0, 0) { self.result.refusals.append(.noNodeMayOwn(orphans: unplaced.orphans, drained: unplaced.drained)) }
        let started = self.started(needed)
        self.result.moves = started.map {
            Plan.NewMove(partition: $0.partition, from: self.nodes[$0.from].id, to: self.nodes[$0.to].id, reason: $0.reason)
        }
        self.result.remaining = needed.count - started.count
    }

    struct Need {
        let partition: Int
        let from: Int
        let to: Int
        let reason: ClusterView.Move.Reason
    }

    private mutating func grant(_ partition: Int, to node: Int) {
        let entry = self.input.view.partitions[partition]
        self.result.grants.append(
            Plan.Placement(partition: partition, from: entry.owner, to: self.nodes[node].id, ownerEpoch: entry.ownerEpoch + 1))
        self.result.bound.orphans += 1
    }

    private mutating func need(_ partition: Int, from place: Int, to target: Int) -> Need {
        let reason: ClusterView.Move.Reason
        if self.roles[place] == .gives {
            reason = .drain
            self.result.bound.drained += 1
        } else if self.input.pins[partition] == self.nodes[target].id {
            reason = .operator
            self.result.bound.pinned += 1
        } else {
            reason = .balance
            self.result.bound.excess += 1
        }
        return Need(partition: partition, from: place, to: target, reason: reason)
    }

    /// The needed moves that start now. Drains come first, then pins, then balance. Within each group, moves to nodes with the newest version come first.
    private func started(_ needed: [Need]) -> [Need] {
        let limits = self.input.limits
        var (inFlight, out, into) = self.inFlight()
        let isSilent = self.nodes.map { self.input.silent.contains($0.id) }
        let allowed = needed.filter { !self.isMoving[$0.partition] && self.isAllowed($0.reason) && !isSilent[$0.from] }
        let sorted = allowed.sorted { first, second in
            (Planner.rank(first.reason), self.versionRanks[first.to], first.partition) < (
                Planner.rank(second.reason), self.versionRanks[second.to], second.partition
            )
        }
        return sorted.filter { need in
            guard inFlight < limits.movesMax, out[need.from] < limits.outMax, into[need.to] < limits.inMax else { return false }
            inFlight += 1
            out[need.from] += 1
            into[need.to] += 1
            return true
        }
    }

    private func inFlight() -> (count: Int, out: [Int], into: [Int]) {
        var count = 0
        var (out, into) = (self.nodes.map { _ in 0 }, self.nodes.map { _ in 0 })
        for partition in self.places.indices where self.isMoving[partition] {
            let entry = self.input.view.partitions[partition]
            count += 1
            if let from = entry.owner.flatMap({ self.indexes[$0] }) { out[from] += 1 }
            if let to = entry.move.flatMap({ self.indexes[$0.to] }) { into[to] += 1 }
        }
        return (count, out, into)
    }

    private func isAllowed(_ reason: ClusterView.Move.Reason) -> Bool {
        switch reason {
        case .drain: true
        case .operator: self.input.view.mode != .guarded
        case .balance: self.input.view.mode == .normal && self.input.balances
        }
    }

    private static func rank(_ reason: ClusterView.Move.Reason) -> Int {
        switch reason {
        case .drain: 0
        case .operator: 1
        case .balance: 2
        }
    }

    /// Computes the loads of the nodes, and the spread.
    mutating func report() {
        var before = self.nodes.map { _ in 0 }
        var final = before
        for partition in self.places.indices {
            if self.places[partition] != Planner.nowhere { before[self.places[partition]] += 1 }
            if let target = self.targets[partition], target != Planner.nowhere { final[target] += 1 }
        }
        var after = before
        for grant in self.result.grants { after[self.indexes[grant.to]!] += 1 }
        for move in self.result.moves {
            after[self.indexes[move.from]!] -= 1
            after[self.indexes[move.to]!] += 1
        }
        self.result.loads = self.nodes.indices.map { Plan.Load(id: self.nodes[$0].id, before: before[$0], after: after[$0], quota: final[$0]) }
        self.result.spreadBefore = self.spread(before)
        self.result.spreadAfter = self.spread(final)
    }

    private func spread(_ counts: [Int]) -> Double {
        let sharing = self.nodes.indices.filter { self.roles[$0] == .shares && self.weights[$0] > 0 }
        let count = sharing.reduce(0) { $0 + counts[$1] }
        guard count > 0 else { return 1 }
        let weight = Double(sharing.reduce(0) { $0 + self.weights[$1] })
        return sharing.map { Double(counts[$0]) / (Double(count) * Double(self.weights[$0]) / weight) }.max() ?? 1
    }
}
