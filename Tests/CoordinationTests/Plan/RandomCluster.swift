import TestKit

@testable import Coordination

/// A random but possible state of a cluster, from a seed. Weights are whole numbers, so that ``Reference`` can compute with integers.
struct RandomCluster {
    var input: PlanInput
    var random: SplitMix

    /// Limits of the random state.
    struct Options {
        var partitionsMax = 120
        var nodesMax = 10
        var equalWeights = false
        var onlyActive = false
        var movesInFlight = true
        var pins = 0
        var fresh = false
    }

    init(seed: UInt64, _ options: Options = Options()) {
        var random = SplitMix(seed: seed)
        let count = 1 + random.below(options.partitionsMax)
        let zones = ["", "a", "b", "c"].prefix(1 + random.below(4))
        let weighted = !options.equalWeights && random.chance(50)
        let nodes = (0..<random.below(options.nodesMax + 1)).map { index -> ClusterView.Node in
            let state = options.onlyActive || random.chance(60) ? NodeState.active : NodeState.allCases.randomElement(using: &random)!
            return ClusterView.Node(
                id: "n\(index)", zone: zones.randomElement(using: &random)!, weight: weighted ? Double(random.below(5)) : 1,
                version: ["1.0.0", "1.2.0", "1.10.0", "abc"].randomElement(using: &random)!, state: state)
        }.sorted { $0.id < $1.id }
        // A few nodes own more than the others, so that clusters are far from even.
        let favourites = (0..<1 + random.below(4)).compactMap { _ in nodes.randomElement(using: &random)?.id }
        let partitions = (0..<count).map { index -> ClusterView.Partition in
            var partition = ClusterView.Partition(ownerEpoch: Int64(random.below(100)))
            guard !options.fresh, !random.chance(10) else { return partition }
            partition.owner = random.chance(40) ? favourites.randomElement(using: &random) : nodes.randomElement(using: &random)?.id
            if options.movesInFlight, random.chance(5), let owner = partition.owner, let to = nodes.randomElement(using: &random)?.id, to != owner {
                partition.move = .init(id: Int64(index), to: to, reason: .balance)
            }
            return partition
        }
        let view = ClusterView(version: 1, controllerEpoch: 1, writer: "w", nodes: nodes, partitions: partitions)
        var (previous, pins): ([Int: String], [Int: String]) = ([:], [:])
        for partition in 0..<count where random.chance(20) { previous[partition] = nodes.randomElement(using: &random)?.id ?? "gone" }
        for partition in 0..<count where random.chance(options.pins) { pins[partition] = nodes.randomElement(using: &random)?.id ?? "gone" }
        self.input = PlanInput(view: view, pins: pins, previousOwners: previous)
        self.random = random
    }
}

/// Computes the numbers of a plan in a slow way: it tries every choice of nodes whose share is rounded up.
struct Reference {
    var orphans = 0
    var drained = 0
    /// The least possible sum of max(0, have - quota). Each quota is the exact share of a node, rounded down or up.
    var excess = 0
    /// The exact share of each active node, rounded down and up.
    var shares: [String: ClosedRange<Int>] = [:]
    /// Whether any node can gain partitions.
    var hasRoom = false

    init(_ view: ClusterView, held: Int = 0) {
        var have: [String: Int] = [:]
        var kept = 0
        let nodes = Dictionary(uniqueKeysWithValues: view.nodes.map { ($0.id, $0) })
        for partition in view.partitions {
            guard let owner = partition.owner.flatMap({ nodes[$0] }), ![.joining, .fenced, .down].contains(owner.state) else {
                self.orphans += 1
                continue
            }
            let target = partition.move.flatMap { nodes[$0.to] }
            let place = target.map { $0.state == .active || $0.state == .cordoned } == true ? target! : owner
            switch place.state {
            case .active: have[place.id, default: 0] += 1
            case .cordoned: kept += 1
            default: self.drained += 1
            }
        }
        self.orphans -= held
        let active = view.nodes.filter { $0.state == .active }
        let weight = active.reduce(0) { $0 + Int($1.weight) }
        self.hasRoom = weight > 0
        guard weight > 0 else { return }
        let count = view.partitions.count - kept - held
        var fractional: [(have: Int, floor: Int)] = []
        var ceilings = count
        var fixed = 0
        for node in active {
            let floor = count * Int(node.weight) / weight
            let isWhole = count * Int(node.weight) % weight == 0
            self.shares[node.id] = floor...(isWhole ? floor : floor + 1)
            ceilings -= floor
            if isWhole { fixed += max(0, have[node.id, default: 0] - floor) } else { fractional.append((have[node.id, default: 0], floor)) }
        }
        self.excess = fixed + Reference.least(fractional[...], ceilings)
    }

    /// Tries to round the share of each node down and up.
    private static func least(_ nodes: ArraySlice<(have: Int, floor: Int)>, _ ceilings: Int) -> Int {
        guard let node = nodes.first else { return 0 }
        if ceilings == 0 { return nodes.reduce(0) { $0 + max(0, $1.have - $1.floor) } }
        if ceilings == nodes.count { return nodes.reduce(0) { $0 + max(0, $1.have - $1.floor - 1) } }
        return min(
            max(0, node.have - node.floor) + self.least(nodes.dropFirst(), ceilings),
            max(0, node.have - node.floor - 1) + self.least(nodes.dropFirst(), ceilings - 1))
    }
}

extension ClusterView {
    func count(_ id: String) -> Int { self.partitions.count { $0.owner == id } }
}
