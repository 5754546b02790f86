extension Planner {
    /// Decides the remaining targets. Partitions of the pool, and partitions above a node's quota, go to nodes below their quota. All other partitions stay.
    mutating func place(_ quotas: [Int]) {
        var free = self.nodes.indices.map { max(0, quotas[$0] - self.have[$0]) }
        var unplaced = self.pool
        for node in self.nodes.indices where self.roles[node] == .shares && self.have[node] > quotas[node] {
            unplaced += self.shed(self.have[node] - quotas[node], from: node, free)
        }
        for partition in self.places.indices where self.targets[partition] == nil { self.targets[partition] = self.places[partition] }
        // Partitions that can return to a previous owner are placed first. Each other partition goes to a node with the newest version. Among these nodes, the node
        // with the highest affinity gets it.
        var others: [Int] = []
        for partition in unplaced {
            if let node = self.shadow(of: partition) ?? self.previousOwner(of: partition), free[node] > 0 {
                self.targets[partition] = node
                free[node] -= 1
            } else {
                others.append(partition)
            }
        }
        for partition in others {
            guard let node = self.best(for: partition, free) else { continue }
            self.targets[partition] = node
            free[node] -= 1
        }
    }

    /// The partitions that a node gives up. Partitions that would return to a previous owner come first, then partitions with the lowest affinity. Partitions
    /// with a move in flight come last.
    private func shed(_ count: Int, from node: Int, _ free: [Int]) -> [Int] {
        let candidates = self.places.indices.filter { self.places[$0] == node && self.targets[$0] == nil }
        let sorted = candidates.map { partition -> (moving: Int, away: Int, affinity: Double, partition: Int) in
            let returns = self.previousOwner(of: partition).map { $0 != node && free[$0] > 0 } ?? false
            return (self.isMoving[partition] ? 1 : 0, returns ? 0 : 1, -self.affinity.cost(partition, node), partition)
        }.sorted { $0 < $1 }
        return sorted.prefix(count).map(\.partition)
    }

    /// For a partition whose owner died while the partition moved: the target of that move. The target is already prepared for the partition.
    private func shadow(of partition: Int) -> Int? {
        guard self.places[partition] == Planner.nowhere, let move = self.input.view.partitions[partition].move else { return nil }
        return self.indexes[move.to].flatMap { self.roles[$0] == .shares ? $0 : nil }
    }

    private func best(for partition: Int, _ free: [Int]) -> Int? {
        var best: (rank: Int, cost: Double, node: Int)?
        for node in self.nodes.indices where free[node] > 0 {
            let candidate = (self.versionRanks[node], self.affinity.cost(partition, node), node)
            if best.map({ candidate < $0 }) ?? true { best = candidate }
        }
        return best?.node
    }
}
