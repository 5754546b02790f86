/// Computes a `Plan`: decides the target of every partition, then starts as many moves as the limits allow.
///
/// A node is an index into `nodes`, which is sorted by id. The place -1 means that the partition is nowhere. The code does not depend on the order of a
/// dictionary, because the same input must give the same plan.
struct Planner {
    enum Role {
        /// Active. The node has a quota.
        case shares
        /// Cordoned, or active without fresh reports.
        case keeps
        /// Draining, or drained with partitions left.
        case gives
        case gone
    }

    static let nowhere = -1

    let input: PlanInput
    let nodes: [ClusterView.Node]
    let roles: [Role]
    /// The weights in millionths, so that quotas are exact.
    let weights: [Int]
    let affinity: Affinity
    /// The rank of each node's version. The newest version has rank 0.
    let versionRanks: [Int]
    let indexes: [String: Int]

    /// The place of each partition. A partition in flight is at its target. An orphan is nowhere.
    var places: [Int]
    /// The target of each partition. Nil while undecided.
    var targets: [Int?]
    /// Whether each partition has a move in flight. No other move of such a partition can start.
    var isMoving: [Bool]
    /// The number of partitions of each active node before partitions are given up or placed. Pinned partitions are included.
    var have: [Int]
    /// The number of pinned partitions in `have`.
    var pinned: [Int]
    /// Orphans, then partitions of draining nodes, to be placed within the quotas.
    var pool: [Int] = []
    var result = Plan()

    init(_ input: PlanInput) {
        self.input = input
        let nodes = input.view.nodes.sorted { $0.id < $1.id }
        self.nodes = nodes
        self.roles = nodes.map { node in
            switch node.state {
            case .active where input.silent.contains(node.id): .keeps
            case .active: .shares
            case .cordoned: .keeps
            case .draining, .drained: .gives
            case .joining, .fenced, .down: .gone
            }
        }
        self.weights = nodes.map { $0.weight > 0 ? max(1, Int(min($0.weight, ClusterView.weightMax) * 1_000_000 + 0.5)) : 0 }
        self.affinity = Affinity(ids: nodes.map(\.id), weights: nodes.map(\.weight))
        self.versionRanks = Planner.versionRanks(nodes)
        self.indexes = Dictionary(nodes.enumerated().map { ($0.element.id, $0.offset) }, uniquingKeysWith: { first, _ in first })
        let count = input.view.partitions.count
        self.places = Array(repeating: Planner.nowhere, count: count)
        self.targets = Array(repeating: nil, count: count)
        self.isMoving = Array(repeating: false, count: count)
        self.have = Array(repeating: 0, count: nodes.count)
        self.pinned = Array(repeating: 0, count: nodes.count)
    }

    mutating func plan() -> Plan {
        self.refusePins()
        var drained: [Int] = []
        for partition in self.places.indices {
            self.locate(partition)
            self.decide(partition, &drained)
        }
        self.pool += drained
        let quotas = self.quotas()
        self.place(quotas)
        self.start()
        self.report()
        return self.result
    }

    // MARK: - Current places

    private mutating func locate(_ partition: Int) {
        let entry = self.input.view.partitions[partition]
        guard let owner = entry.owner.flatMap({ self.indexes[$0] }), self.roles[owner] != .gone else { return }
        self.places[partition] = owner
        guard let move = entry.move else { return }
        self.isMoving[partition] = true
        if let to = self.indexes[move.to], self.roles[to] == .shares || self.roles[to] == .keeps {
            self.places[partition] = to
        } else {
            self.result.cancels.append(partition)
        }
    }

    private mutating func decide(_ partition: Int, _ drained: inout [Int]) {
        let place = self.places[partition]
        if place == Planner.nowhere, self.isAwaited(partition) {
            self.result.held.append(partition)
            self.targets[partition] = Planner.nowhere
        } else if let pin = self.pin(of: partition) {
            self.targets[partition] = pin
            if self.roles[pin] == .shares {
                self.have[pin] += 1
                self.pinned[pin] += 1
            }
        } else if place == Planner.nowhere {
            guard self.input.view.mode == .guarded, let previous = self.previousOwner(of: partition) else { return self.pool.append(partition) }
            self.targets[partition] = previous
            self.have[previous] += 1
        } else {
            switch self.roles[place] {
            case .shares: self.have[place] += 1
            case .keeps: self.targets[partition] = place
            case .gives, .gone: drained.append(partition)
            }
        }
    }

    /// Whether the partition waits for its last owner, which has vanished and may return.
    private func isAwaited(_ partition: Int) -> Bool {
        func waits(for id: String?) -> Bool {
            guard let id, self.input.awaited.contains(id) else { return false }
            return self.indexes[id].map { self.roles[$0] == .gone } ?? true
        }
        return waits(for: self.input.view.partitions[partition].owner) || waits(for: self.input.previousOwners[partition])
    }

    /// The partition's previous owner, if that node may own partitions again.
    func previousOwner(of partition: Int) -> Int? {
        guard let index = self.input.previousOwners[partition].flatMap({ self.indexes[$0] }), self.roles[index] == .shares else { return nil }
        return index
    }

    // MARK: - Pins

    /// The node that a partition is pinned to, if the pin applies: the node is active, or it is cordoned and already has the partition.
    private func pin(of partition: Int) -> Int? {
        guard let index = self.input.pins[partition].flatMap({ self.indexes[$0] }) else { return nil }
        return self.roles[index] == .shares || (self.roles[index] == .keeps && self.places[partition] == index) ? index : nil
    }

    private mutating func refusePins() {
        for (partition, id) in self.input.pins.sorted(by: { $0.key < $1.key }) {
            guard self.places.indices.contains(partition) else {
                self.result.refusals.append(.noSuchPartition(partition, pinnedTo: id))
                continue
            }
            guard let index = self.indexes[id] else {
                self.result.refusals.append(.noSuchNode(partition: partition, pinnedTo: id))
                continue
            }
            let entry = self.input.view.partitions[partition]
            let keeps = self.roles[index] == .keeps && (entry.move?.to ?? entry.owner) == id
            if self.roles[index] != .shares, !keeps {
                self.result.refusals.append(.cannotGain(partition: partition, pinnedTo: id, state: self.nodes[index].state))
            }
        }
    }

    // MARK: - Versions

    /// During an upgrade of the cluster, partitions go to the newest version first, so that they do not move twice. A text that is not a dotted version counts
    /// as the oldest version.
    private static func versionRanks(_ nodes: [ClusterView.Node]) -> [Int] {
        let versions = nodes.map { self.numbers($0.version) }
        return versions.map { version in
            var newer: [[Int]] = []
            for other in versions where version.lexicographicallyPrecedes(other) && !newer.contains(other) { newer.append(other) }
            return newer.count
        }
    }

    private static func numbers(_ version: String) -> [Int] {
        let parts = version.split(separator: ".", omittingEmptySubsequences: false)
        let numbers = parts.compactMap { Int($0.prefix { $0.isASCII && $0.isNumber }) }
        return parts.count > 1 && numbers.count == parts.count ? numbers : []
    }
}
