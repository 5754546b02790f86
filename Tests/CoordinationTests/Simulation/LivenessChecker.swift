@testable import Coordination

/// Checks that a cluster makes progress during faults, and not only after them.
///
/// The checks apply only while the cluster has a *core*: more than half of all nodes, which have all run, kept their sessions and had links to each other in both
/// directions for the time ``patience``. If the cluster has a core, every partition must be served, and a controller must get reports from most nodes. An operator's request to a
/// node in the core must be executed.
///
/// Nodes outside the core may be cut off in any way and for any time.
struct LivenessChecker {
    /// Longer than the sum of all delays. A silent controller is detected after 5 s and replaced within 4 s. A silent link is down after 2 s. Its node is
    /// fenced 4 s later, and the next node 10 s after that. A mass failure delays reassignment for 15 s. A node stays fenced for 30 s.
    static let patience = Duration.seconds(60)

    /// A drain. An operator repeats the request at one node until the request succeeds.
    struct DrainRequest {
        let id: String
        let at: String
        var isAccepted = false
        /// The time since which nothing has prevented the drain.
        var since: ContinuousClock.Instant
    }

    private struct Seen: Hashable {
        var process: Int
        var session: Int64
    }

    private(set) var drains: [DrainRequest] = []
    private var seen: [Seen?]
    /// The time since which each node has been well, as ``SimulatedNode/isWell`` defines it. Nil while the node is not well.
    private var steady: [ContinuousClock.Instant?]
    /// The time since which each link (from, to) has been open. Nil while the link is cut.
    private var linked: [[ContinuousClock.Instant?]]
    private var unserved: [Int: ContinuousClock.Instant] = [:]
    private var leaderless: ContinuousClock.Instant?
    /// The number of checks with a core while a link was cut.
    private(set) var judged = 0

    init(count: Int) {
        self.seen = Array(repeating: nil, count: count)
        self.steady = Array(repeating: nil, count: count)
        self.linked = Array(repeating: Array(repeating: nil, count: count), count: count)
    }

    mutating func requestDrain(_ id: String, at: String, _ now: ContinuousClock.Instant) { self.drains.append(DrainRequest(id: id, at: at, since: now)) }
    mutating func accepted(_ id: String) { for index in self.drains.indices where self.drains[index].id == id { self.drains[index].isAccepted = true } }

    /// Checks the cluster once. Returns the problem, if there is one.
    mutating func check(_ simulation: Simulation) -> String? {
        let nodes = (1...self.seen.count).map { simulation.node("n\($0)") }
        self.follow(nodes, simulation)
        let cores = self.cores(at: simulation.now)
        let leading = nodes.firstIndex { $0?.hasReportsOfMost(of: nodes.count) ?? false }
        self.leaderless = leading == nil ? self.leaderless ?? simulation.now : nil
        if let view = simulation.server.view { self.followPartitions(view, nodes, simulation.now) }
        guard let view = simulation.server.view, !cores.isEmpty else { return nil }
        if !simulation.cuts.isEmpty { self.judged += 1 }
        if let since = self.leaderless, Self.isOver(since, simulation.now) {
            return "no controller gets reports from most nodes, with the core \(Self.names(cores[0]))"
        }
        let mayGain = cores.contains { core in Self.members(core).contains { ![.cordoned, .draining, .drained].contains(view.node("n\($0)")?.state) } }
        if mayGain, let (partition, _) = self.unserved.sorted(by: { $0.key < $1.key }).first(where: { Self.isOver($0.value, simulation.now) }) {
            let holders = nodes.compactMap { node in node?.machine.ownership[partition].map { "\(node!.id): \($0.state)" } }
            return "no node serves partition \(partition), with the core \(Self.names(cores[0])): \(view.partitions[partition]), held as \(holders)"
        }
        return self.checkDrains(view, cores, leading.flatMap { nodes[$0] }, simulation)
    }

    // MARK: - Observations

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

    /// All cores, the largest first. A core has one bit for each node.
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

    /// A drain must end if it was requested in a core that contains the controller. If the drained node is outside the core, the drain may take longer, and the
    /// controller must report the reason.
    private mutating func checkDrains(_ view: ClusterView, _ cores: [Int], _ controller: SimulatedNode?, _ simulation: Simulation) -> String? {
        for (index, drain) in self.drains.enumerated() {
            let targets = view.nodes.filter { $0.id != drain.id && $0.state == .active }.map(\.id)
            let isPossible = cores.contains { core in
                Self.contains(core, [drain.at, controller?.id]) && targets.contains { Self.contains(core, [$0]) }
            }
            guard let controller, isPossible, view.node(drain.id)?.state != .drained else {
                self.drains[index].since = simulation.now
                continue
            }
            guard Self.isOver(drain.since, simulation.now) else { continue }
            guard drain.isAccepted else { return "an operator at \(drain.at) cannot drain \(drain.id), with the controller \(controller.id)" }
            let state = view.node(drain.id).map { "\($0.state), owns \(view.partitions(ownedBy: drain.id))" } ?? "not in the view"
            if cores.contains(where: { Self.contains($0, [drain.at, drain.id, controller.id]) }) {
                return "the drain of \(drain.id) does not end, with the controller \(controller.id): it is \(state)"
            }
            let reasons = controller.reasons
            if !view.partitions(ownedBy: drain.id).isEmpty, !reasons.contains(where: { $0.contains(drain.id) }) {
                return "the drain of \(drain.id) does not end, and the controller \(controller.id) does not report why: it is \(state), \(reasons)"
            }
        }
        return nil
    }
}
