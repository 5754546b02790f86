package import NIOCore
package import Partitioning

/// The sequencers of a node, one for each event loop and each storage of the log. Each of them has a fixed share of the partitions. Limits on parked publishes and on message ids apply to
/// each sequencer separately.
///
/// Ownership, upkeep of the log and metrics concern several sequencers, and go through this actor. Publishes and interest reach their sequencer directly,
/// through ``router``. The actor is pinned to the first loop, so that a node with one loop uses no other thread.
package actor Sequencers {
    package nonisolated let unownedExecutor: UnownedSerialExecutor
    package nonisolated let router: Router
    package nonisolated let all: [Sequencer]
    nonisolated let log: any Log
    let limits: Limits
    let clocks: Clocks
    var isMaintaining = false
    private(set) var isStopping = false
    /// When heads were last forgotten, by the steady clock.
    var forgotAt = Int64.min / 2
    var upkeepFailures: UInt64 = 0

    /// - Parameters:
    ///   - loops: at least one.
    ///   - commitInterval: the least time between the beginnings of two commits of one sequencer, while several publishers are busy.
    package init(
        loops: [any EventLoop], log: any Log, limits: Limits, commitInterval: TimeAmount = .zero, clocks: Clocks, partitions: Partitions = Partitions()
    ) {
        // Partition p has the sequencer at p modulo their number (``Router``), and the storage at p modulo the number of storages. Because the second number divides
        // the first, all partitions of a sequencer are in one storage.
        self.all = loops.flatMap { loop in
            (0..<log.storages).map { _ in
                Sequencer(loop: loop, log: log, limits: limits, commitInterval: commitInterval, clocks: clocks, partitions: partitions)
            }
        }
        self.router = Router(self.all, partitions: partitions)
        self.unownedExecutor = loops[0].executor.asUnownedSerialExecutor()
        self.log = log
        self.limits = limits
        self.clocks = clocks
    }

    /// Adds an edge to each sequencer. Must be called before the edge reports any interest.
    package func add(_ edge: any Edge, as id: EdgeID) async {
        for sequencer in self.all { await sequencer.add(edge, as: id) }
    }

    // MARK: - Partitions

    /// Seals the partitions, then serves them. Returns the partitions that the log refused. A fenced partition is released. Publishes to the other refused
    /// partitions that have waited for the seal are refused; later ones wait until the caller acquires these partitions again.
    package func acquire(_ grants: [Grant]) async -> [(grant: Grant, error: LogError)] {
        await withTaskGroup(of: [(grant: Grant, error: LogError)].self) { group in
            // In parallel, because one storage that does not respond must not delay the others.
            for (sequencer, grants) in self.sorted(grants) { group.addTask { await sequencer.acquire(grants) } }
            var refused: [(grant: Grant, error: LogError)] = []
            for await part in group { refused += part }
            return refused
        }
    }

    /// Refuses new publishes under these grants. Returns when the commits in flight under these grants have ended. A commit of which the log does not know
    /// whether it is stored is not waited for, so this takes no longer than one append.
    package func handOver(_ grants: [Grant]) async {
        await withDiscardingTaskGroup { group in
            // In parallel, because each sequencer waits for its commit in flight.
            for (sequencer, grants) in self.sorted(grants) { group.addTask { await sequencer.handOver(grants) } }
        }
    }

    /// See ``Log/transfer``.
    package nonisolated var transfer: (any LogTransfer)? { self.log.transfer }

    /// Calls `body` with grants that the log has refused while they were served: another owner has sealed the partitions, or the log needs another seal under a
    /// newer owner epoch. Nothing is served under these grants any more. `body` is called on a loop, and must not block.
    package func onFenced(_ body: @escaping @Sendable ([Grant]) -> Void) async {
        for sequencer in self.all { await sequencer.setOnFenced(body) }
    }

    /// Ends these grants. Newer grants of the same partitions stay.
    package func release(_ grants: [Grant]) async {
        for (sequencer, grants) in self.sorted(grants) { await sequencer.release(grants) }
    }

    private nonisolated func sorted(_ grants: [Grant]) -> [(sequencer: Sequencer, grants: [Grant])] {
        var sorted: [[Grant]] = Array(repeating: [], count: self.all.count)
        for grant in grants { sorted[self.router.index(of: grant.partition)].append(grant) }
        return zip(self.all, sorted).filter { !$1.isEmpty }.map { ($0, $1) }
    }

    /// Accepts no more publishes. Returns when every accepted publish has its outcome, or at the deadline.
    package func stop(deadline: ContinuousClock.Instant) async {
        self.isStopping = true
        await withDiscardingTaskGroup { group in
            for sequencer in self.all { group.addTask { await sequencer.stop(deadline: deadline) } }
        }
        // Upkeep that ended later would resume on a loop that has shut down.
        while self.isMaintaining, ContinuousClock.now < deadline { try? await Task.sleep(for: .milliseconds(5)) }
    }

    // MARK: - Metrics

    /// The totals of all sequencers.
    package var metrics: SequencerMetrics {
        get async {
            var metrics = SequencerMetrics()
            for sequencer in self.all { metrics += await sequencer.metrics }
            metrics.upkeepFailures = self.upkeepFailures
            return metrics
        }
    }

    /// Publishes that are parked at this moment, at each sequencer.
    package var parkedEvents: [Int] {
        get async {
            var counts: [Int] = []
            for sequencer in self.all { counts.append(await sequencer.parkedEvents) }
            return counts
        }
    }
}
