import Partitioning

@testable import Coordination

/// A log that all nodes share, and that refuses older owner epochs.
struct FencingLog {
    /// The owner epoch under which each partition is sealed.
    private var seals: [Int64]
    /// The time of each partition's last commit.
    private(set) var committedAt: [ContinuousClock.Instant?]
    /// The longest time between two commits of each partition, since the last ``forgetPauses()``.
    private(set) var longestPause: [Duration]
    private(set) var fencedCommits = 0

    init(partitionCount: Int) {
        self.seals = Array(repeating: 0, count: partitionCount)
        self.committedAt = Array(repeating: nil, count: partitionCount)
        self.longestPause = Array(repeating: .zero, count: partitionCount)
    }

    /// Returns false if the partition is sealed under a newer owner epoch.
    mutating func seal(_ grant: Grant) -> Bool {
        guard grant.ownerEpoch >= self.seals[grant.partition] else { return false }
        self.seals[grant.partition] = grant.ownerEpoch
        return true
    }

    /// Returns false if the partition is sealed under a newer owner epoch.
    mutating func commit(_ grant: Grant, at now: ContinuousClock.Instant) -> Bool {
        guard grant.ownerEpoch == self.seals[grant.partition] else {
            self.fencedCommits += 1
            return false
        }
        if let last = self.committedAt[grant.partition] { self.longestPause[grant.partition] = max(self.longestPause[grant.partition], now - last) }
        self.committedAt[grant.partition] = now
        return true
    }

    mutating func forgetPauses() { self.longestPause = self.longestPause.map { _ in .zero } }

    /// Another cluster has used the log, or ZooKeeper has lost grants.
    mutating func raiseSeals(by count: Int64) { self.seals = self.seals.map { $0 + count } }
}

extension Simulation {
    /// Every owner commits to each of its partitions, 50 times a second.
    func publish() {
        self.after(.milliseconds(20)) { [unowned self] in
            for node in self.sortedNodes where node.isAlive && !node.isPaused {
                for (partition, ownerEpoch) in node.serving.sorted(by: { $0.key < $1.key }) {
                    let grant = Grant(partition: partition, ownerEpoch: ownerEpoch)
                    if !self.log!.commit(grant, at: self.now) { node.handle(.fenced([grant])) }
                }
            }
            self.publish()
        }
    }
}
