package import NIOCore
package import Partitioning

/// Owns partitions of this node: drops duplicates, assigns positions, appends, then acknowledges and relays.
///
/// The actor is pinned to one event loop. ``SequencerMachine`` makes the decisions, and the actor executes them. One task at a time commits. ``Sequencers`` has
/// one sequencer for each loop and each storage of the log.
package actor Sequencer: ChannelOwner {
    package nonisolated let unownedExecutor: UnownedSerialExecutor
    package nonisolated let loop: any EventLoop
    let log: any Log
    let clocks: Clocks
    var machine: SequencerMachine
    /// Nil: a free slot.
    private var edges: [EdgeSlot?] = []
    private var slots: [EdgeID: Int] = [:]
    private var isDraining = false
    private var isReadingHeads = false
    var isSweeping = false
    private let commitInterval: TimeAmount
    private let commitEventsMax: Int
    private var lastCommit: (began: NIODeadline, count: Int) = (.uptimeNanoseconds(0), 0)
    private(set) var metrics = SequencerMetrics()

    /// Publishes that are parked at this moment.
    var parkedEvents: Int { self.machine.parkedEvents }

    /// An edge, and the events for it from the commit that is being relayed.
    private struct EdgeSlot {
        let edge: any Edge
        var outgoing = RelayedEvents()
    }

    /// - Parameter commitInterval: the least time between the beginnings of two commits while several publishers are busy.
    init(loop: any EventLoop, log: any Log, limits: Limits, commitInterval: TimeAmount, clocks: Clocks, partitions: Partitions) {
        self.commitInterval = commitInterval
        self.commitEventsMax = limits.commitEventsMax
        self.loop = loop
        self.unownedExecutor = loop.executor.asUnownedSerialExecutor()
        self.log = log
        self.machine = SequencerMachine(limits: limits, partitions: partitions)
        self.clocks = clocks
    }

    // MARK: - Partitions

    /// See ``Sequencers/acquire(_:)``.
    func acquire(_ grants: [Grant]) async -> [(grant: Grant, error: LogError)] {
        let ended = self.machine.replaced(by: grants)
        self.machine.acquire(grants)
        self.ownershipChanged(acquired: self.machine.held(grants), ended: ended)
        return await self.seal(grants)
    }

    /// Refuses the publishes that arrived under ended grants, and informs the edges. Called without a suspension after the change of the machine: so an edge
    /// that is told of an end gets no later outcome of a publish that arrived before it out of order.
    private func ownershipChanged(acquired: [Grant] = [], ended: [Grant] = []) {
        self.resumeWaitingForSeal()
        // Older than what is parked.
        for commit in self.machine.takeEndedDoubts() { self.acknowledge(commit) }
        guard !acquired.isEmpty || !ended.isEmpty else { return }
        for batch in self.machine.takeParked(of: Set(ended.map(\.partition))) { self.refuse(batch, .moved) }
        for slot in self.edges { slot?.edge.ownershipChanged(acquired: acquired, ended: ended) }
    }

    /// Resumes the calls that wait for partitions whose seal has ended, and those that wait for partitions that the log could not seal now.
    private func resumeWaitingForSeal(refused: [PartitionID: LogError] = [:]) {
        guard !self.waitingForSeal.isEmpty else { return }
        let waiting = self.waitingForSeal
        self.waitingForSeal = []
        for call in waiting {
            if let error = refused[call.partition] {
                call.continuation.resume(returning: error)
            } else if self.machine.isBeingAcquired(call.partition) {
                self.waitingForSeal.append(call)
            } else {
                call.continuation.resume(returning: nil)
            }
        }
    }

    /// Ends these grants in the machine.
    private func end(_ grants: [Grant]) {
        let held = self.machine.held(grants)
        self.machine.release(grants)
        self.ownershipChanged(ended: held)
    }

    /// Calls of ``isServed(_:)`` that wait for the seal of a partition. Bounded by the reads of subscribers' feeds and of API connections.
    private var waitingForSeal: [(partition: PartitionID, continuation: CheckedContinuation<LogError?, Never>)] = []

    /// Whether this sequencer serves the partition. Waits while the log is being sealed. Throws if the log cannot be sealed now.
    package func isServed(_ partition: PartitionID) async throws(LogError) -> Bool {
        while self.machine.isBeingAcquired(partition) {
            let error = await withCheckedContinuation { self.waitingForSeal.append((partition, $0)) }
            if let error { throw error }
        }
        return self.machine.partitions[partition]?.isServing ?? false
    }

    private func seal(_ grants: [Grant]) async -> [(grant: Grant, error: LogError)] {
        var sealed: [Grant] = []
        var lost: [Grant] = []
        var refused: [(grant: Grant, error: LogError)] = []
        for (grant, result) in zip(grants, await self.log.seal(grants)) {
            switch result {
            case .success(let partition):
                // Sealed again while it is served, and the log has lost data: heads are compared after another seal.
                if !partition.keptEverything, self.machine.isServing(grant) { lost.append(grant) }
                sealed.append(grant)
            case .failure(let error):
                refused.append((grant, error))
            }
        }
        OwnerHistory.sealed(sealed)
        self.machine.sealed(sealed)
        self.end(refused.filter { $0.error.code == .fenced }.map(\.grant))
        // It is unknown when the log can be sealed: publishers and readers get an error now.
        for (grant, error) in refused {
            for batch in self.machine.stoppedWaiting(for: grant) { self.refuse(batch, .logUnavailable(error.message)) }
        }
        self.resumeWaitingForSeal(refused: Dictionary(refused.map { ($0.grant.partition, $0.error) }) { first, _ in first })
        self.lose(self.machine.lost(lost))
        self.readHeadsIfNeeded()
        self.drainIfNeeded()
        return refused
    }

    /// The log has lost data of these partitions. Their heads are compared after the seal; edges get the new heads of channels that lost events.
    private func sealAgain(_ grants: [Grant], after wait: TimeAmount = .zero) {
        guard !grants.isEmpty else { return }
        // A scheduled task, because a task that sleeps would resume on a loop that has shut down.
        self.loop.assumeIsolated().scheduleTask(in: wait) {
            self.assumeIsolated { sequencer in
                Task {
                    let held = grants.filter { sequencer.machine.isAcquiring($0) }
                    if held.isEmpty { return }
                    let results = await sequencer.seal(held)
                    sequencer.reportFenced(results.filter { $0.error.code == .fenced }.map(\.grant))
                    let refused = results.filter { $0.error.code != .fenced }
                    sequencer.sealAgain(refused.map(\.grant), after: .seconds(1))
                }
            }
        }
    }

    /// Compares the seals of the served partitions with the log: see ``Log/verify(_:)``.
    func verify() async {
        let grants = self.machine.grants
        var fenced: [Grant] = []
        var lost: [Grant] = []
        for (grant, result) in zip(grants, await self.log.verify(grants)) {
            guard case .failure(let error) = result else { continue }
            if error.code == .fenced { fenced.append(grant) }
            if error.code == .lost { lost.append(grant) }
        }
        self.end(fenced)
        self.reportFenced(fenced)
        self.lose(self.machine.lost(lost))
    }

    /// Is called with grants that the log has refused, on this loop. They have ended here. See ``Sequencers/onFenced(_:)``.
    private var onFenced: (@Sendable ([Grant]) -> Void)?

    func setOnFenced(_ body: @escaping @Sendable ([Grant]) -> Void) { self.onFenced = body }

    /// The log has refused these grants outside of a call of ``acquire(_:)``, so their owner does not know yet that nothing is served under them.
    private func reportFenced(_ grants: [Grant]) {
        guard !grants.isEmpty else { return }
        OwnerHistory.fenced(grants)
        self.metrics.fencedPartitions += UInt64(grants.count)
        self.onFenced?(grants)
        Task { await self.log.release(grants) }
    }

    private func lose(_ grants: [Grant]) {
        self.metrics.lostPartitions += UInt64(grants.count)
        self.sealAgain(grants)
    }

    /// See ``Sequencers/handOver(_:)``.
    func handOver(_ grants: [Grant]) async {
        let held = self.machine.held(grants)
        self.machine.handOver(grants)
        self.ownershipChanged(ended: held)
        self.drainIfNeeded()
        while !grants.allSatisfy({ self.machine.isRelinquished($0) }) {
            await withCheckedContinuation { self.waitingForCommit.append($0) }
        }
    }

    /// Calls of ``handOver(_:)`` that resume when a commit has ended.
    private var waitingForCommit: [CheckedContinuation<Void, Never>] = []

    /// See ``Sequencers/release(_:)``.
    func release(_ grants: [Grant]) async {
        self.end(grants)
        OwnerHistory.released(grants)
        self.drainIfNeeded()
        await self.log.release(grants)
    }

    /// Adds an edge, and tells it the grants that are held. Must be called before the edge reports any interest.
    package func add(_ edge: any Edge, as id: EdgeID) {
        precondition(self.slots[id] == nil, "\(id) is an edge already")
        if let free = self.edges.firstIndex(where: { $0 == nil }) {
            self.slots[id] = free
            self.edges[free] = EdgeSlot(edge: edge)
        } else {
            self.slots[id] = self.edges.count
            self.edges.append(EdgeSlot(edge: edge))
        }
        edge.ownershipChanged(acquired: self.machine.heldGrants, ended: [])
    }

    /// Removes an edge that has closed all its channels.
    package func removeEdge(_ id: EdgeID) {
        if let slot = self.slots.removeValue(forKey: id) { self.edges[slot] = nil }
    }

    /// The heads of these channels, as an edge gets them when it opens a channel. Only channels whose partition is served here, and whose head is known.
    package func heads(of channels: [ChannelName]) -> [EdgeMessage] {
        channels.compactMap { channel in
            guard let index = self.machine.channels.index(of: channel) else { return nil }
            let state = self.machine.channels[index]
            guard state.reading == .done, self.machine.partitions[state.partition]?.isServing == true else { return nil }
            return self.opened(index)
        }
    }

    /// The owner epoch under which publishes to a partition are accepted. Nil if they are refused.
    package func ownerEpoch(of partition: PartitionID) -> OwnerEpoch? {
        self.machine.partitions[partition].flatMap { $0.isHeld ? $0.grant.ownerEpoch : nil }
    }

    /// Runs `body` synchronously. The caller must be on the loop.
    package nonisolated func onLoop<Value: Sendable>(_ body: (isolated Sequencer) throws -> Value) rethrows -> Value {
        try self.assumeIsolated(body)
    }

    /// See ``Sequencers/stop(deadline:)``.
    func stop(deadline: ContinuousClock.Instant) async {
        self.machine.stop()
        while !self.machine.isDrained, ContinuousClock.now < deadline { try? await Task.sleep(for: .milliseconds(5)) }
        // A commit that is repeated would resume on a loop that has shut down.
        self.isAbandoned = true
        while self.isRepeating, ContinuousClock.now < deadline + .milliseconds(200) { try? await Task.sleep(for: .milliseconds(5)) }
    }

    /// The deadline of ``stop(deadline:)`` has passed.
    private var isAbandoned = false
    /// True while commits are repeated because their results are unknown.
    private var isRepeating = false

    // MARK: - ChannelOwner

    package nonisolated func interest(_ changes: [InterestChange], edge: EdgeID) {
        self.run { $0.take(changes, edge: edge) }
    }

    package nonisolated func publish(_ batch: PublishBatch) {
        self.run { $0.take(batch) }
    }

    package nonisolated func history(
        of channel: ChannelName, after position: Position, limit: Int, bytesMax: Int
    ) async throws(LogError) -> LogSlice {
        try await self.log.read(channel, after: position, limit: limit, bytesMax: bytesMax)
    }

    package nonisolated func barrier(_ channel: ChannelName) async {
        await self.takeTurn()
    }

    /// The actor relays a commit to all edges without a suspension. So when this method runs, all earlier commits have been relayed.
    private func takeTurn() {}

    private nonisolated func run(_ body: @escaping @Sendable (isolated Sequencer) -> Void) {
        if self.loop.inEventLoop {
            self.assumeIsolated(body)
        } else {
            self.loop.execute { self.assumeIsolated(body) }
        }
    }

    private func take(_ changes: [InterestChange], edge: EdgeID) {
        guard let slot = self.slots[edge] else { return }
        let now = self.clocks.steady()
        let opened = changes.compactMap { change in self.machine.interest(change, edge: slot, now: now).map { self.opened($0) } }
        if !opened.isEmpty { self.edges[slot]?.edge.relay(opened) }
        self.readHeadsIfNeeded()
    }

    private func opened(_ index: ChannelTable.Index) -> EdgeMessage {
        let state = self.machine.channels[index]
        return .opened(self.machine.channels.name(of: index)!, head: state.head, ownerEpoch: self.machine.partitions[state.partition]!.grant.ownerEpoch)
    }

    private func take(_ batch: PublishBatch) {
        switch self.machine.accept(batch) {
        case .parked: self.drainIfNeeded()
        case .refused(let refusal): self.refuse(batch, refusal)
        }
    }

    private func refuse(_ batch: PublishBatch, _ refusal: PublishRefusal) {
        self.metrics.refused += UInt64(batch.events.count)
        batch.origin.published(Array(repeating: .refused(refusal), count: batch.events.count), batch: batch.id, from: batch.events.startIndex)
    }

    // MARK: - Heads

    func readHeadsIfNeeded() {
        guard !self.isReadingHeads, self.machine.hasHeadsToRead else { return }
        self.isReadingHeads = true
        Task { await self.readHeads() }
    }

    /// Reads the heads of a bounded number of channels at a time. Channels that are first used meanwhile are in the next read.
    private func readHeads() async {
        self.isReadingHeads = true
        while self.machine.hasHeadsToRead {
            let (places, channels) = self.machine.headsToRead(limit: Slices.channelsMax)
            if channels.isEmpty { continue }
            do throws(LogError) {
                let read = self.machine.headsRead(try await self.log.heads(of: channels), of: places, now: self.clocks.steady())
                self.ownershipChanged(ended: read.fenced)
                self.reportFenced(read.fenced)
                self.open(read.opened)
            } catch {
                self.metrics.failedHeads += 1
                self.machine.readingFailed(places, error.message)
                self.retryReading(places)
            }
            // The commit that is being formed waits for its own heads only.
            self.drainIfNeeded()
        }
        self.isReadingHeads = false
        self.drainIfNeeded()
    }

    private func open(_ opened: [ChannelTable.Index]) {
        guard !opened.isEmpty else { return }
        var messages: [[EdgeMessage]] = Array(repeating: [], count: self.edges.count)
        for index in opened {
            let message = self.opened(index)
            self.machine.channels[index].edges.forEach { messages[$0].append(message) }
        }
        for (slot, messages) in messages.enumerated() where !messages.isEmpty { self.edges[slot]?.edge.relay(messages) }
    }

    private func retryReading(_ places: [ChannelTable.Index]) {
        self.loop.assumeIsolated().scheduleTask(in: .seconds(1)) {
            self.assumeIsolated { sequencer in
                sequencer.machine.retryReading(places)
                sequencer.readHeadsIfNeeded()
            }
        }
    }

    // MARK: - Committing

    func drainIfNeeded() {
        guard !self.isDraining else { return }
        self.isDraining = true
        Task { await self.drain() }
    }

    /// While the log stores one commit, publishes wait for the next commit. So commits are larger on a slower disk.
    private func drain() async {
        drain: while true {
            await self.gather()
            switch self.machine.nextCommit(now: self.clocks.steady(), stamp: self.clocks.wall()) {
            case .nothing:
                break drain
            case .headsFirst:
                // `readHeads` starts this loop again after each read, and so does the end of a call that forgets channels.
                self.readHeadsIfNeeded()
                break drain
            case .commit:
                self.lastCommit = (.now(), self.machine.commit.batch.events.count)
                let count = self.machine.commit.publishedCount
                await self.store()
                // Without this pause, a log that never suspends would commit everything that is parked before the loop polls its sockets.
                if count >= self.commitEventsMax { await self.pause(Slices.deliveryPause) }
            }
        }
        self.isDraining = false
    }

    /// Delays the next commit while several publishers are busy, so that it holds more events. A commit costs about the same for one event and for fifty,
    /// because two threads wake and the disk is written in pages. The delay reduces the cost of an event to a third. A client that publishes one event after
    /// another never waits, because its last commit held one event.
    private func gather() async {
        guard self.lastCommit.count > 1, 1..<Self.fullCommit ~= self.machine.parkedEvents else { return }
        let remaining = self.lastCommit.began + self.commitInterval - .now()
        guard remaining > .zero else { return }
        await self.pause(remaining)
    }

    private func pause(_ time: TimeAmount) async {
        // A future's `get()` would resume on another thread, which costs two context switches.
        await withCheckedContinuation { continuation in
            _ = self.loop.scheduleTask(in: time) { continuation.resume() }
        }
    }

    /// A commit of this many events is not delayed.
    private static let fullCommit = 64

    /// How long publishers of a commit wait while it is unknown whether the log has stored it.
    private static let uncertainMillisecondsMax: Int64 = 1000

    private func store() async {
        let batch = self.machine.commit.batch
        if Defect.relayBeforeCommit.isActive { self.relay(self.machine.commit, batch.grants.map { _ in .success(()) }) }
        OwnerHistory.assigned(batch)
        self.end(batch.isEmpty ? [] : await self.log.append(batch))
        self.repeatDoubtsIfNeeded()
    }

    private func repeatDoubtsIfNeeded() {
        guard self.machine.hasDoubts, !self.isRepeating else { return }
        self.isRepeating = true
        Task { await self.repeatDoubts() }
    }

    /// Appends the events of commits whose results are unknown, until all results are known. Meanwhile the other partitions commit.
    private func repeatDoubts() async {
        var backoff = Duration.milliseconds(50)
        while self.machine.hasDoubts {
            let end = ContinuousClock.now + backoff
            // In slices, because ``stop(deadline:)`` waits for the end, and publishers do not wait longer than a second.
            repeat {
                try? await Task.sleep(for: min(backoff, .milliseconds(50)))
                self.refuseWaiting(since: self.clocks.steady() - Self.uncertainMillisecondsMax)
            } while ContinuousClock.now < end && !self.isAbandoned && self.machine.hasDoubts
            if self.isAbandoned { break }
            let (batch, serials) = self.machine.doubtfulBatch
            if batch.isEmpty { break }
            for (serial, result) in zip(serials, await self.log.append(batch)) {
                guard let (commit, ended) = self.machine.resolved(serial, result) else { continue }
                self.end(commit, ended)
                self.finish(ended)
            }
            backoff = min(backoff * 2, .seconds(2))
        }
        self.isRepeating = false
        if self.isAbandoned { self.refuseWaiting(since: .max) } else { self.drainIfNeeded() }
    }

    /// Refuses publishes that wait for the result of a commit that was formed before `time`.
    private func refuseWaiting(since time: Int64) {
        for batch in self.machine.stoppedWaiting(since: time) { self.refuse(batch, SequencerMachine.uncertain) }
    }

    private func end(_ results: [Result<Void, LogError>]) {
        let ended = self.machine.ended(results)
        self.end(self.machine.commit, ended)
        self.machine.finished()
        self.finish(ended)
    }

    /// The only place where a commit is acknowledged and relayed. Acknowledgements are first, because deliveries take longer.
    private func end(_ commit: SequencerMachine.Commit, _ ended: SequencerMachine.Ended) {
        self.acknowledge(commit)
        for (batch, refusal) in ended.behindFailed { self.refuse(batch, refusal) }
        if ended.isCommitted {
            self.metrics.commits += 1
            OwnerHistory.committed(commit.batch, ended.results)
            self.relay(commit, ended.results)
        }
        if ended.results.contains(where: \.isFailure) { self.metrics.failedCommits += 1 }
    }

    private func finish(_ ended: SequencerMachine.Ended) {
        self.ownershipChanged(ended: ended.fenced)
        self.reportFenced(ended.fenced)
        self.lose(ended.lost)
        let waiting = self.waitingForCommit
        self.waitingForCommit = []
        for continuation in waiting { continuation.resume() }
    }

    private func acknowledge(_ commit: SequencerMachine.Commit) {
        for (batch, outcomes) in commit.parts {
            for outcome in outcomes {
                switch outcome {
                case .published: self.metrics.published += 1
                case .duplicate: self.metrics.duplicates += 1
                case .refused: self.metrics.refused += 1
                }
            }
            batch.origin.published(outcomes, batch: batch.id, from: batch.events.startIndex)
        }
    }

    /// Relays each event to the edges that are interested in its channel. The table of channels lists these edges.
    private func relay(_ commit: SequencerMachine.Commit, _ results: [Result<Void, LogError>]) {
        let batch = commit.batch
        for (number, index) in commit.places.enumerated() {
            let grantIndex = Int(batch.grantIndices[number])
            guard case .success = results[grantIndex] else { continue }
            self.machine.channels[index].edges.forEach { slot in
                self.edges[slot]?.outgoing.append(batch.events[number], under: batch.grants[grantIndex].ownerEpoch)
            }
        }
        for slot in self.edges.indices where self.edges[slot]?.outgoing.isEmpty == false {
            let outgoing = self.edges[slot]!.outgoing
            self.edges[slot]!.outgoing = RelayedEvents()
            self.edges[slot]!.edge.relay([.events(outgoing)])
        }
    }
}

extension Result where Success == Void, Failure == LogError {
    var isFailure: Bool {
        if case .failure = self { true } else { false }
    }

    var isUncertain: Bool {
        if case .failure(let error) = self { error.code == .uncertain } else { false }
    }
}

/// Totals of one sequencer.
package struct SequencerMetrics: Sendable {
    package var published: UInt64 = 0
    package var duplicates: UInt64 = 0
    package var refused: UInt64 = 0
    package var commits: UInt64 = 0
    package var failedCommits: UInt64 = 0
    /// Partitions released because the log refused them: another node owns them.
    package var fencedPartitions: UInt64 = 0
    /// Partitions that were sealed again, because the log had lost data, or might have.
    package var lostPartitions: UInt64 = 0
    package var failedHeads: UInt64 = 0
    /// Failed calls of ``Log/trim(_:now:)`` and ``Log/forget(_:writtenBefore:)``, counted by ``Sequencers``.
    package var upkeepFailures: UInt64 = 0

    package init() {}

    package static func += (left: inout SequencerMetrics, right: SequencerMetrics) {
        left.published += right.published
        left.duplicates += right.duplicates
        left.refused += right.refused
        left.commits += right.commits
        left.failedCommits += right.failedCommits
        left.fencedPartitions += right.fencedPartitions
        left.lostPartitions += right.lostPartitions
        left.failedHeads += right.failedHeads
        left.upkeepFailures += right.upkeepFailures
    }
}
