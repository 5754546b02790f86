import DequeModule
package import NIOCore
package import Partitioning

/// Owns this node's partitions: dedup, positions, append, then relay and acknowledge.
///
/// Pinned to one event loop, as the stages that feed it. Everything is decided by ``Sequencing``; one task at a time talks to the log.
package actor Sequencer: ChannelOwner {
    package nonisolated let unownedExecutor: UnownedSerialExecutor
    package nonisolated let loop: any EventLoop
    let log: any Log
    let clocks: Clocks
    var machine: Sequencing
    private var edges: [any Edge] = []
    private var isDraining = false
    var isSweeping = false
    var isTrimming = false
    private let commitInterval: TimeAmount
    private let commitEventsMax: Int
    private var lastCommit: (began: NIODeadline, count: Int) = (.uptimeNanoseconds(0), 0)
    /// Dropped from the table; the log forgets them before the next commit is formed.
    var toForget: Deque<ChannelName> = []
    package internal(set) var statistics = SequencerStatistics()

    /// - Parameter commitInterval: how long commits gather while several publishers are busy, counted from the beginning of the last one.
    package init(
        loop: any EventLoop, log: any Log, limits: Limits, commitInterval: TimeAmount = .zero, clocks: Clocks
    ) {
        self.commitInterval = commitInterval
        self.commitEventsMax = limits.commitEventsMax
        self.loop = loop
        self.unownedExecutor = loop.executor.asUnownedSerialExecutor()
        self.log = log
        self.machine = Sequencing(limits: limits)
        self.clocks = clocks
    }

    // MARK: - Lifecycle

    /// Seals the partitions and begins to serve them.
    package func start(grants: [Grant]) async throws(LogError) {
        let contents = try await self.log.seal(grants)
        self.machine.sealed(contents)
        self.drainIfNeeded()
    }

    /// Adds an edge; its number is its place. Before any interest of it.
    package func add(_ edge: any Edge) {
        precondition(self.edges.count < ChannelTable.edgesMax, "A sequencer serves at most \(ChannelTable.edgesMax) edges")
        self.edges.append(edge)
    }

    /// Takes nothing new and returns when everything accepted has been answered, or at the deadline.
    package func stop(deadline: ContinuousClock.Instant) async {
        self.machine.stop()
        while !self.machine.isDrained, ContinuousClock.now < deadline { try? await Task.sleep(for: .milliseconds(5)) }
    }

    // MARK: - ChannelOwner

    package nonisolated func interest(_ changes: [InterestChange], edge: Int) {
        self.onLoop { $0.take(changes, edge: edge) }
    }

    package nonisolated func publish(_ batch: PublishBatch) {
        self.onLoop { $0.take(batch) }
    }

    package nonisolated func history(
        of channel: ChannelName, after position: Position, limit: Int, bytesMax: Int
    ) async throws(LogError) -> LogSlice {
        try await self.log.read(channel, after: position, limit: limit, bytesMax: bytesMax)
    }

    package nonisolated func relayed() async {
        await self.pass()
    }

    /// Waits for its turn: the sequencer relays a commit to all edges in one turn.
    private func pass() {}

    private nonisolated func onLoop(_ body: @escaping @Sendable (isolated Sequencer) -> Void) {
        if self.loop.inEventLoop {
            self.assumeIsolated(body)
        } else {
            self.loop.execute { self.assumeIsolated(body) }
        }
    }

    private func take(_ changes: [InterestChange], edge: Int) {
        let opened = changes.compactMap { change in
            self.machine.interest(change, edge: edge).map { EdgeMessage.opened(change.channel, head: $0) }
        }
        if !opened.isEmpty { self.edges[edge].relay(opened) }
    }

    private func take(_ batch: PublishBatch) {
        switch self.machine.accept(batch) {
        case .parked:
            self.drainIfNeeded()
        case .refused(let refusal):
            self.refuse(batch, refusal)
        }
    }

    private func refuse(_ batch: PublishBatch, _ refusal: PublishRefusal) {
        self.statistics.refused += UInt64(batch.events.count)
        batch.origin.published(Array(repeating: .refused(refusal), count: batch.events.count), batch: batch.id, from: batch.events.startIndex)
    }

    // MARK: - Committing

    func drainIfNeeded() {
        guard !self.isDraining else { return }
        self.isDraining = true
        Task { await self.drain() }
    }

    /// While the log works on one commit, the next one gathers: the slower the disk, the larger the commits.
    private func drain() async {
        while true {
            await self.gather()
            await self.forget()
            guard let commit = self.machine.nextCommit(now: self.clocks.steady(), stamp: self.clocks.wall()) else {
                if self.toForget.isEmpty { break }
                continue
            }
            self.lastCommit = (.now(), commit.events.count)
            await self.store(commit)
            // A log that answers at once would have everything that waits committed before the loop looks at its sockets again.
            if commit.askedCount >= self.commitEventsMax { await self.pause(.microseconds(200)) }
        }
        self.isDraining = false
    }

    /// A commit costs the same for one event and for fifty: two threads wake, and the disk is written in pages. Who publishes one after another
    /// finds the last commit holding one event, and waits for nothing; a crowd waits a moment and costs a third.
    private func gather() async {
        guard self.lastCommit.count > 1, 1..<Self.fullCommit ~= self.machine.parkedEvents else { return }
        let remaining = self.lastCommit.began + self.commitInterval - .now()
        guard remaining > .zero else { return }
        await self.pause(remaining)
    }

    private func pause(_ time: TimeAmount) async {
        // Not a future's `get()`: it is answered on another thread, which costs two switches.
        await withCheckedContinuation { continuation in
            _ = self.loop.scheduleTask(in: time) { continuation.resume() }
        }
    }

    /// Events that are worth a commit of their own.
    private static let fullCommit = 64

    private func store(_ commit: Sequencing.Commit) async {
        var backoff = Duration.milliseconds(50)
        while true {
            do throws(LogError) {
                if !commit.events.isEmpty { try await self.log.append(commit.events) }
                self.relay(self.machine.committed())
                return
            } catch {
                guard error.code == .uncertain else {
                    self.statistics.failedCommits += 1
                    self.acknowledge(self.machine.failed(error.message))
                    return
                }
                for batch in self.machine.becameUncertain() { self.refuse(batch, Sequencing.uncertain) }
            }
            try? await Task.sleep(for: backoff)
            backoff = min(backoff * 2, .seconds(2))
        }
    }

    /// Acknowledges, then relays to the edges that listen. Both only now that the log has it; deliveries take longer than answers.
    private func relay(_ commit: Sequencing.Commit) {
        self.acknowledge(commit)
        if !commit.events.isEmpty {
            self.statistics.commits += 1
            self.statistics.published += UInt64(commit.events.count)
            for (index, edge) in self.edges.enumerated() {
                let bit: UInt64 = 1 << UInt64(index)
                let wanted = commit.events.filter { self.machine.channels.edges(of: $0.event.channel) & bit != 0 }
                if !wanted.isEmpty { edge.relay([.events(wanted)]) }
            }
        }
    }

    private func acknowledge(_ commit: Sequencing.Commit) {
        for (batch, outcomes) in commit.batches {
            for outcome in outcomes {
                switch outcome {
                case .published: break
                case .duplicate: self.statistics.duplicates += 1
                case .refused: self.statistics.refused += 1
                }
            }
            batch.origin.published(outcomes, batch: batch.id, from: batch.events.startIndex)
        }
    }
}

/// Totals of one sequencer.
package struct SequencerStatistics: Sendable {
    package var published: UInt64 = 0
    package var duplicates: UInt64 = 0
    package var refused: UInt64 = 0
    package var commits: UInt64 = 0
    package var failedCommits: UInt64 = 0
    package var trimFailures: UInt64 = 0

    package init() {}
}
