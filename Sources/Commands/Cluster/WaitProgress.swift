import AdminAPI

/// The progress of a long operation: how many partitions are left, the rate, and whether the operation is stuck. Pure.
struct WaitProgress: Sendable {
    /// After this time without a change the operation counts as stuck.
    private static let stuckAfter = Duration.seconds(10)
    /// The time over which the rate is measured.
    private static let window = Duration.seconds(10)

    private struct Sample: Sendable {
        var at: ContinuousClock.Instant
        var left: Int
    }

    private(set) var left = 0
    private var moving = 0
    private var samples: [Sample] = []
    private var changedAt: ContinuousClock.Instant?

    mutating func note(left: Int, moving: Int, at now: ContinuousClock.Instant) {
        if self.changedAt == nil || left != self.left || moving != self.moving { self.changedAt = now }
        self.left = left
        self.moving = moving
        self.samples.removeAll { $0.at.advanced(by: Self.window) < now }
        self.samples.append(Sample(at: now, left: left))
    }

    func isStuck(at now: ContinuousClock.Instant) -> Bool { self.changedAt.map { now >= $0.advanced(by: Self.stuckAfter) } ?? false }

    private var perSecond: Double {
        guard let first = self.samples.first, let last = self.samples.last, last.at > first.at else { return 0 }
        return Double(first.left - last.left) / (last.at - first.at).seconds
    }

    var text: String {
        var parts = ["\(Readable.count(self.left)) left", "\(Readable.count(self.moving)) in flight"]
        let rate = self.perSecond
        if rate > 0 {
            parts.append(Readable.rate(rate))
            parts.append("about \(Readable.duration(seconds: Int((Double(self.left) / rate).rounded(.up)))) remaining")
        }
        return parts.joined(separator: ", ")
    }
}

/// Finds the reasons why partitions do not move. Pure.
enum Obstacles {
    static func find(_ overview: ClusterOverview, _ plan: ClusterPlan?, _ partitions: ClusterPartitions?, of node: String? = nil) -> [String] {
        var found: [String] = []
        if overview.head.mode == "guarded" {
            found.append("many nodes failed together: the cluster does not rebalance until these nodes return, or until a time limit has passed")
        }
        if !overview.nodes.contains(where: { $0.state == "active" && $0.count > 0 }) {
            found.append("no node is active, so no node can get partitions: start, undrain or uncordon a node")
        }
        if let plan {
            found += plan.refusals
            if let wait = plan.waitText { found.append(wait) }
        }
        for move in Self.moves(partitions, of: node) { found.append(move) }
        return found + overview.reasons.filter { !found.contains($0) }
    }

    private static func moves(_ partitions: ClusterPartitions?, of node: String?) -> [String] {
        var groups: [String: [Int]] = [:]
        for partition in partitions?.partitions ?? [] {
            guard let owner = partition.owner, let target = partition.movingTo, node == nil || node == owner || node == target else { continue }
            groups["from \(owner) to \(target)", default: []].append(partition.partition)
        }
        return groups.sorted { $0.key < $1.key }.map { pair, numbers in
            let some = numbers.prefix(8).map(String.init).joined(separator: ", ") + (numbers.count > 8 ? " and \(numbers.count - 8) more" : "")
            return "moving \(pair): \(numbers.count == 1 ? "partition" : "partitions") \(some); see the logs of both nodes"
        }
    }
}
