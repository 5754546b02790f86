extension Planner {
    /// The quota of each node. Quotas are exact, because weights are whole millionths, and remainders are compared, not rounded.
    ///
    /// If no active node has a weight above 0, no node gives up or gains partitions: the quota of each node is its present number.
    func quotas() -> [Int] {
        var quotas = self.have
        var sharing = self.nodes.indices.filter { self.roles[$0] == .shares && self.weights[$0] > 0 }
        guard !sharing.isEmpty else { return quotas }
        let sharers = self.nodes.indices.filter { self.roles[$0] == .shares }
        var rest = sharers.reduce(self.pool.count) { $0 + self.have[$1] }
        // A node with more pins than its share gets exactly its pins, and the others share the rest. The shares become smaller, so the loop repeats.
        var fixed = sharers.filter { self.weights[$0] == 0 }
        var shares: [(floor: Int, remainder: Int)] = []
        var ceilings = 0
        repeat {
            for node in fixed {
                quotas[node] = self.pinned[node]
                rest -= self.pinned[node]
            }
            sharing.removeAll { fixed.contains($0) }
            let total = sharing.reduce(0) { $0 + self.weights[$1] }
            shares = self.nodes.indices.map { _ in (0, 0) }
            for node in sharing {
                let share = (rest * self.weights[node]).quotientAndRemainder(dividingBy: total)
                shares[node] = (share.quotient, share.remainder)
            }
            ceilings = rest - sharing.reduce(0) { $0 + shares[$1].floor }
            fixed = sharing.filter { self.pinned[$0] > shares[$0].floor + (shares[$0].remainder > 0 ? 1 : 0) }
            guard fixed.isEmpty else { continue }
            let needing = sharing.filter { self.pinned[$0] > shares[$0].floor }
            if needing.count > ceilings { fixed = needing }
        } while !fixed.isEmpty
        for node in sharing { quotas[node] = shares[node].floor }
        self.addCeilings(ceilings, shares, sharing, &quotas)
        return quotas
    }

    /// Gives one more partition to `count` nodes: first to nodes whose pins need it, then to nodes that have more than their floor (this saves a move),
    /// then to others.
    ///
    /// Within each group, nodes come first that would have more than their floor if all partitions returned to their previous owners. So a returning node gets
    /// its former partitions.
    private func addCeilings(_ count: Int, _ shares: [(floor: Int, remainder: Int)], _ sharing: [Int], _ quotas: inout [Int]) {
        var zones = Zones(self, quotas)
        let projected = self.projected()
        var left = count
        var candidates = sharing.filter { shares[$0].remainder > 0 }
        let classes: [(Int) -> Bool] = [{ self.pinned[$0] > shares[$0].floor }, { self.have[$0] > shares[$0].floor }, { _ in true }]
        for belongs in classes {
            var members = candidates.filter(belongs)
            candidates.removeAll { members.contains($0) }
            while left > 0, !members.isEmpty {
                let best = members.indices.max { first, second in
                    let (first, second) = (members[first], members[second])
                    let (one, two) = (projected[first] > shares[first].floor ? 1 : 0, projected[second] > shares[second].floor ? 1 : 0)
                    return (one, zones.deficit(of: first), self.have[first], shares[first].remainder, -first)
                        < (two, zones.deficit(of: second), self.have[second], shares[second].remainder, -second)
                }!
                let node = members.remove(at: best)
                quotas[node] += 1
                zones.add(node)
                left -= 1
            }
        }
    }

    /// The number of partitions of each node if every partition without a decision went to its previous owner.
    private func projected() -> [Int] {
        var projected = self.have
        guard !self.input.previousOwners.isEmpty else { return projected }
        for partition in self.places.indices where self.targets[partition] == nil {
            guard let previous = self.previousOwner(of: partition) else { continue }
            projected[previous] += 1
            let place = self.places[partition]
            if place != Planner.nowhere, self.roles[place] == .shares { projected[place] -= 1 }
        }
        return projected
    }

    /// How far each zone is below its share of the active nodes' partitions.
    private struct Zones {
        private let zones: [Int]
        private let weight: Int
        private var deficits: [Int]

        init(_ planner: Planner, _ quotas: [Int]) {
            var names: [String] = []
            self.zones = planner.nodes.map { node in
                if let index = names.firstIndex(of: node.zone) { return index }
                names.append(node.zone)
                return names.count - 1
            }
            self.deficits = Array(repeating: 0, count: names.count)
            let sharers = planner.nodes.indices.filter { planner.roles[$0] == .shares }
            self.weight = sharers.reduce(0) { $0 + planner.weights[$1] }
            let count = sharers.reduce(planner.pool.count) { $0 + planner.have[$1] }
            for node in sharers { self.deficits[self.zones[node]] += count * planner.weights[node] - quotas[node] * self.weight }
        }

        func deficit(of node: Int) -> Int { self.deficits[self.zones[node]] }

        mutating func add(_ node: Int) { self.deficits[self.zones[node]] -= self.weight }
    }
}
