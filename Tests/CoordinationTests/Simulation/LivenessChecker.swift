@testable import Coordination

/// What has to come about while faults last, and not only after them.
///
/// Judged wherever there is a *core*: more than half of all nodes, each of which runs, has kept its session and has had links with each of the others in both
/// directions for ``patience``. Around a core every partition is served, a controller hears of most nodes, and what an operator asks within it is done. Whatever
/// is outside the core may be cut off in whatever way, for as long as it likes.
struct LivenessChecker {
    /// A controller that is silent is noticed after 5 s and replaced within 4; links are silent for 4 s before they are down and 4 more before anyone is fenced,
    /// the next one 10 s after that; many losses at once are held back for 15 s; whoever was fenced is so for 30 s. The worst of it in a row is less than this.
    static let patience = Duration.seconds(60)

    /// A drain that somebody wants, asked at one node until it is answered there.
    struct Wish {
        let id: String
        let at: String
        var isAccepted = false
        /// Since when nothing has stood in its way.
        var since: ContinuousClock.Instant
    }

    private struct Seen: Hashable {
        var process: Int
        var session: Int64
    }

    private(set) var wishes: [Wish] = []
    private var seen: [Seen?]
    /// Since when each node is in order, and each pair; nil while it is not.
    private var steady: [ContinuousClock.Instant?]
    private var linked: [[ContinuousClock.Instant?]]
    private var unserved: [Int: ContinuousClock.Instant] = [:]
    private var leaderless: ContinuousClock.Instant?
    /// How often there was a core to judge by, while a link was cut.
    private(set) var judged = 0

    init(count: Int) {
        self.seen = Array(repeating: nil, count: count)
        self.steady = Array(repeating: nil, count: count)
        self.linked = Array(repeating: Array(repeating: nil, count: count), count: count)
    }

    mutating func wish(_ id: String, at: String, _ now: ContinuousClock.Instant) { self.wishes.append(Wish(id: id, at: at, since: now)) }
    mutating func accepted(_ id: String) { for index in self.wishes.indices where self.wishes[index].id == id { self.wishes[index].isAccepted = true } }

    /// One look at everything; says what is wrong.
    mutating func look(at simulation: Simulation) -> String? {
        let nodes = (1...self.seen.count).map { simulation.node("n\($0)") }
        self.follow(nodes, simulation)
        let cores = self.cores(at: simulation.now)
        let leading = nodes.firstIndex { $0?.hearsMost(of: nodes.count) ?? false }
        self.leaderless = leading == nil ? self.leaderless ?? simulation.now : nil
        if let view = simulation.server.view { self.followPartitions(view, nodes, simulation.now) }
        guard let view = simulation.server.view, !cores.isEmpty else { return nil }
        if !simulation.cuts.isEmpty { self.judged += 1 }
        if let since = self.leaderless, Self.isOver(since, simulation.now) { return "no controller hears of most nodes, around \(Self.names(cores[0]))" }
        let mayGain = cores.contains { core in Self.members(core).contains { ![.cordoned, .draining, .drained].contains(view.node("n\($0)")?.state) } }
        if mayGain, let (partition, _) = self.unserved.sorted(by: { $0.key < $1.key }).first(where: { Self.isOver($0.value, simulation.now) }) {
            let holders = nodes.compactMap { node in node?.machine.ownership[partition].map { "\(node!.id): \($0.state)" } }
            return "partition \(partition) is served by nobody, around \(Self.names(cores[0])): \(view.partitions[partition]), held as \(holders)"
        }
        return self.judgeWishes(view, cores, leading.flatMap { nodes[$0] }, simulation)
    }

    // MARK: - What is seen

    private mutating func follow(_ nodes: [SimulatedNode?], _ simulation: Simulation) {
        let now = simulation.now
        for (index, node) in nodes.enumerated() {
            let seen = node.flatMap { node in node.isWell ? Seen(process: node.process, session: node.session!) : nil }
            if seen == nil || seen != self.seen[index] { self.steady[index] = seen == nil ? nil : now }
            self.seen[index] = seen
        }
        for left in nodes.indices {
            for right in nodes.indices where left != right {
                let isOpen = simulation.isReachable("n\(left + 1)", "n\(right + 1)")
                self.linked[left][right] = isOpen ? self.linked[left][right] ?? now : nil
            }
        }
    }

    private mutating func followPartitions(_ view: ClusterView, _ nodes: [SimulatedNode?], _ now: ContinuousClock.Instant) {
        for (partition, entry) in view.partitions.enumerated() {
            if nodes.contains(where: { $0?.serves(partition, entry.ownerEpoch) ?? false }) {
                self.unserved[partition] = nil
            } else if self.unserved[partition] == nil {
                self.unserved[partition] = now
            }
        }
    }

    private static func isOver(_ since: ContinuousClock.Instant, _ now: ContinuousClock.Instant) -> Bool { now >= since.advanced(by: Self.patience) }

    // MARK: - Cores

    /// Sets of nodes, a bit each; the largest first.
    private func cores(at now: ContinuousClock.Instant) -> [Int] {
        func isLong(_ since: ContinuousClock.Instant?) -> Bool { since.map { Self.isOver($0, now) } ?? false }
        let count = self.seen.count
        let mates = (0..<count).map { left -> Int in
            guard isLong(self.steady[left]) else { return 0 }
            return (0..<count).reduce(1 << left) { $0 | (isLong(self.linked[left][$1]) && isLong(self.linked[$1][left]) ? 1 << $1 : 0) }
        }
        let sets = (1..<(1 << count)).filter { set in
            set.nonzeroBitCount * 2 > count && mates.indices.allSatisfy { set & (1 << $0) == 0 || mates[$0] & set == set }
        }
        return sets.sorted { ($0.nonzeroBitCount, $1) > ($1.nonzeroBitCount, $0) }
    }

    private static func members(_ core: Int) -> [Int] { (0..<Int.bitWidth).filter { core & (1 << $0) != 0 }.map { $0 + 1 } }
    private static func names(_ core: Int) -> String { self.members(core).map { "n\($0)" }.joined(separator: " ") }

    private static func contains(_ core: Int, _ ids: [String?]) -> Bool {
        ids.allSatisfy { id in id.flatMap { Int($0.dropFirst()) }.map { core & (1 << ($0 - 1)) != 0 } ?? false }
    }

    // MARK: - Drains

    /// Within a core with the controller, a drain that is asked for is done. Of a node outside it, the controller can at least name what it waits for.
    private mutating func judgeWishes(_ view: ClusterView, _ cores: [Int], _ controller: SimulatedNode?, _ simulation: Simulation) -> String? {
        for (index, wish) in self.wishes.enumerated() {
            let targets = view.nodes.filter { $0.id != wish.id && $0.state == .active }.map(\.id)
            let isPossible = cores.contains { core in
                Self.contains(core, [wish.at, controller?.id]) && targets.contains { Self.contains(core, [$0]) }
            }
            guard let controller, isPossible, view.node(wish.id)?.state != .drained else {
                self.wishes[index].since = simulation.now
                continue
            }
            guard Self.isOver(wish.since, simulation.now) else { continue }
            guard wish.isAccepted else { return "an operator at \(wish.at) cannot drain \(wish.id), with the controller \(controller.id)" }
            let state = view.node(wish.id).map { "\($0.state), owns \(view.partitions(ownedBy: wish.id))" } ?? "not there"
            if cores.contains(where: { Self.contains($0, [wish.at, wish.id, controller.id]) }) {
                return "the drain of \(wish.id) does not end, with the controller \(controller.id): it is \(state)"
            }
            let reasons = controller.reasons
            if !view.partitions(ownedBy: wish.id).isEmpty, !reasons.contains(where: { $0.contains(wish.id) }) {
                return "the drain of \(wish.id) does not end, and the controller \(controller.id) does not name why: it is \(state), \(reasons)"
            }
        }
        return nil
    }
}
