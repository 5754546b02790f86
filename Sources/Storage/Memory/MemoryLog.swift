import DequeModule
import NIOConcurrencyHelpers
import NIOCore
package import Partitioning
package import Pipeline

/// History in memory, without durability: it is lost when the process ends.
///
/// Only ``trim(_:now:)`` suspends, between its slices. The other calls are `async` because the protocol requires it. These calls run on the caller's thread,
/// without a suspension. They hold the lock for about a microsecond for each event. The lock is needed because loops read while sequencers append.
///
/// In a cluster each node has such a log of its own. A planned move carries a partition's content to the next owner: see ``LogTransfer``. The next owner of a dead
/// owner's partitions has no content, so their channels begin new epochs. This log does not fence an owner on another node. So it refuses commits when this
/// node's session with ZooKeeper may have ended.
package final class MemoryLog: Log {
    struct State {
        var history: HistoryIndex<SequencedEvent>
        var fence = Fence()
        /// In no cluster: the lowest epoch for channels without a head.
        var epochFloor: UInt64
        /// In a cluster: the partitions with content, and the partitions that this log has ever sealed.
        var contents: [PartitionID: Content] = [:]
        /// The content of partitions that may move to this node.
        var staged: [PartitionID: StagedPartition] = [:]
        var commits: UInt64 = 0
    }

    /// What this log has of one partition.
    struct Content {
        /// The owner epoch of the last seal: the content is complete up to the last commit under it. Nil if the content has been dropped.
        var ownerEpoch: OwnerEpoch?
        /// The lowest epoch for channels without a head.
        var epochFloor: UInt64
        var channels: Set<ChannelName> = []
        /// When this node's grant ended, on the steady clock. Nil while the partition is in use.
        var releasedAt: Int64?
    }

    let limits: Limits
    let clocks: Clocks
    let isInCluster: Bool
    private let isSessionValid: @Sendable () -> Bool
    let state: NIOLockedValueBox<State>

    /// The log of a node in no cluster. The first epoch is the time in milliseconds since 1970. A restart loses the history, so epochs after a restart must be
    /// higher.
    package init(limits: Limits, clocks: Clocks = .system) {
        self.limits = limits
        self.clocks = clocks
        self.isInCluster = false
        self.isSessionValid = { true }
        self.state = NIOLockedValueBox(State(history: HistoryIndex(bounds: HistoryIndex.Bounds(limits)), epochFloor: UInt64(clamping: clocks.wall())))
    }

    /// The log of a node in a cluster.
    ///
    /// - Parameter isSessionValid: whether no other node can have got this node's partitions, because its session with ZooKeeper cannot have ended. Called for
    ///   each commit. A process that was stopped for a while is detected here, before its first commit, and without the help of another thread.
    package init(limits: Limits, clocks: Clocks = .system, isSessionValid: @escaping @Sendable () -> Bool) {
        self.limits = limits
        self.clocks = clocks
        self.isInCluster = true
        self.isSessionValid = isSessionValid
        self.state = NIOLockedValueBox(State(history: HistoryIndex(bounds: HistoryIndex.Bounds(limits)), epochFloor: 0))
    }

    package var transfer: (any LogTransfer)? { self.isInCluster ? self : nil }

    // MARK: - Owning

    package func seal(_ grants: [Grant]) async -> [Result<SealedPartition, LogError>] {
        // The lock is released between two partitions, because a partition may have many channels.
        grants.map { grant in self.state.withLockedValue { self.isInCluster ? $0.sealInCluster(grant) : $0.sealAlone(grant) } }
    }

    package func release(_ grants: [Grant]) async {
        let now = self.clocks.steady()
        self.state.withLockedValue { state in
            for grant in grants {
                state.fence.release(grant)
                if state.contents[grant.partition]?.ownerEpoch == grant.ownerEpoch { state.contents[grant.partition]!.releasedAt = now }
            }
        }
    }

    package func heads(of channels: [ChannelOfPartition]) async throws(LogError) -> LogHeads {
        let now = self.clocks.steady()
        return self.state.withLockedValue { state in
            var heads: [ChannelHead?] = []
            heads.reserveCapacity(channels.count)
            let horizon = state.history.bounds.horizon(now: now)
            for requested in channels {
                guard state.fence.refusal(using: requested.grant) == nil else {
                    heads.append(nil)
                    continue
                }
                guard let head = state.history.head(of: requested.channel) else {
                    heads.append(ChannelHead(head: Position(epoch: state.epochFloor(requested.grant), offset: 0)))
                    continue
                }
                var found = ChannelHead(head: head)
                for entry in state.history.entries(of: requested.channel) where entry.timestamp >= horizon {
                    guard let messageID = entry.element.event.messageID else { continue }
                    found.messageIDs.append((messageID, entry.element.position, entry.timestamp))
                }
                heads.append(found)
            }
            return LogHeads(heads: heads, channelCount: state.history.channelCount)
        }
    }

    // MARK: - Events

    package func append(_ batch: LogBatch) async -> [Result<Void, LogError>] {
        guard !batch.isEmpty else { return [] }
        guard self.isSessionValid() else { return batch.grants.map { _ in .failure(.sessionInDoubt) } }
        return self.state.withLockedValue { state in
            // The clock is read under the lock, so that the entries are in the order of their times.
            let now = self.clocks.steady()
            // Check first, then append: a partition's part is stored completely or not at all.
            let refusals = state.history.check(batch, state.fence).refusals
            for (event, grantIndex) in zip(batch.events, batch.grantIndices) where refusals[Int(grantIndex)] == nil {
                let count = state.history.channelCount
                state.history.append(event, to: event.event.channel, at: event.position, timestamp: now, bytes: event.event.accountedBytes)
                if self.isInCluster, state.history.channelCount > count {
                    state.contents[batch.grants[Int(grantIndex)].partition]?.channels.insert(event.event.channel)
                }
            }
            state.commits += 1
            return refusals.map { refusal in refusal.map { .failure($0) } ?? .success(()) }
        }
    }

    package func read(
        _ channel: ChannelName, after position: Position, limit: Int, bytesMax: Int
    ) async throws(LogError) -> LogSlice {
        let now = self.clocks.steady()
        let slice = try self.state.withLockedValue { state -> Result<HistoryIndex<SequencedEvent>.Slice, LogError> in
            guard state.fence.isSealed else { return .failure(.notSealed) }
            return .success(state.history.elements(of: channel, after: position, limit: limit, now: now))
        }.get()

        var bytes = 0
        let end = slice.elements.firstIndex { event in
            bytes += event.event.payload.readableBytes
            return bytes > bytesMax
        }
        let count = min(slice.elements.count, max(1, end ?? slice.elements.count))
        return LogSlice(events: Array(slice.elements.prefix(count)), oldest: slice.oldest)
    }

    // MARK: - Upkeep

    package func verify(_ grants: [Grant]) async -> [Result<Void, LogError>] {
        self.state.withLockedValue { $0.fence.verify(grants) }
    }

    package func remembered(from place: RememberedPlace, count: Int) async throws(LogError) -> RememberedSlice {
        self.state.withLockedValue { $0.history.remembered(from: place, count: count) }
    }

    package func forget(_ channels: [Grant: [ChannelName]], writtenBefore oldest: Int64) async throws(LogError) {
        self.state.withLockedValue { state in
            for (grant, names) in channels where state.fence.refusal(using: grant) == nil {
                let names = names.filter { state.history.isIdle($0, since: oldest) }
                let floor = state.history.floor(forgetting: names)
                if self.isInCluster {
                    state.contents[grant.partition]!.epochFloor = max(state.contents[grant.partition]!.epochFloor, floor)
                    state.contents[grant.partition]!.channels.subtract(names)
                } else {
                    state.epochFloor = max(state.epochFloor, floor)
                }
                for channel in names { state.history.forget(channel) }
            }
        }
    }

    package func trim(_ grants: [Grant], now: Int64) async throws(LogError) {
        // Works in slices, so that readers on other loops get the lock. Pauses, because an event loop does not poll its sockets between tasks that only yield.
        while self.state.withLockedValue({ $0.history.removeExpired(now: now, limit: Self.trimSliceEntries) }) {
            try? await Task.sleep(for: .milliseconds(1))
        }
        while self.state.withLockedValue({ $0.dropReleased(now: now, limit: Self.trimSliceEntries) }) {
            try? await Task.sleep(for: .milliseconds(1))
        }
        self.state.withLockedValue { $0.dropOldStaged(now: now) }
    }

    private static let trimSliceEntries = 512

    /// A partition's content is kept for this time after its grant has ended. If this node gets the next grant, because a move failed, nothing is lost.
    static let releasedMillisecondsMax: Int64 = 10_000

    package var metrics: LogMetrics {
        get async {
            self.state.withLockedValue { state in
                LogMetrics(
                    kind: "memory", path: nil, durability: "none", events: state.history.count, bytes: state.history.accountedBytes,
                    channels: state.history.channelCount, commits: state.commits, failures: 0, error: nil
                )
            }
        }
    }

    package func close() async {}
}

extension MemoryLog.State {
    fileprivate func epochFloor(_ grant: Grant) -> UInt64 {
        self.contents[grant.partition]?.epochFloor ?? max(self.epochFloor, UInt64(clamping: grant.ownerEpoch))
    }

    fileprivate mutating func sealAlone(_ grant: Grant) -> Result<SealedPartition, LogError> {
        if let refusal = self.fence.refusal(sealing: grant) { return .failure(refusal) }
        let previous = self.fence.ownerEpoch(of: grant.partition)
        self.fence.seal(grant)
        return .success(SealedPartition(epochFloor: self.epochFloor(grant), previousOwnerEpoch: previous, keptEverything: previous != nil))
    }

    /// Continues with complete content: of this owner epoch, or of the one directly before. No other node can have committed anything after that content. In
    /// every other case there may have been an owner between, and the channels begin new epochs.
    fileprivate mutating func sealInCluster(_ grant: Grant) -> Result<SealedPartition, LogError> {
        if let refusal = self.fence.refusal(sealing: grant) { return .failure(refusal) }
        self.fence.seal(grant)
        let partition = grant.partition
        var content = self.contents.removeValue(forKey: partition) ?? MemoryLog.Content(epochFloor: 0)
        var staged: StagedPartition?
        if let found = self.staged[partition], found.ownerEpoch < grant.ownerEpoch {
            self.staged[partition] = nil
            if found.isComplete, found.ownerEpoch == grant.ownerEpoch - 1 { staged = found }
        }
        let own = content.ownerEpoch.flatMap { grant.ownerEpoch - $0 <= 1 ? $0 : nil }
        if own == nil || staged != nil {
            self.drop(Array(content.channels), of: &content)
            // Owner epochs only grow, so every epoch in the content is below this one.
            content.epochFloor = staged?.epochFloor ?? max(content.epochFloor, grant.firstEpoch)
            for (name, channel) in staged?.channels ?? [:] {
                self.history.adopt(name, head: channel.head, timestamp: channel.timestamp, entries: channel.entries)
                content.channels.insert(name)
            }
        }
        content.ownerEpoch = grant.ownerEpoch
        content.releasedAt = nil
        self.contents[partition] = content
        let previous = staged?.ownerEpoch ?? own
        return .success(SealedPartition(epochFloor: content.epochFloor, previousOwnerEpoch: previous, keptEverything: previous != nil))
    }

    /// Drops the content of partitions whose grants ended a while ago, in slices. Returns true if there may be more.
    fileprivate mutating func dropReleased(now: Int64, limit: Int) -> Bool {
        let due = self.contents.first { _, content in
            guard let releasedAt = content.releasedAt, !content.channels.isEmpty else { return false }
            return now - releasedAt >= MemoryLog.releasedMillisecondsMax
        }
        guard let partition = due?.key, var content = self.contents.removeValue(forKey: partition) else { return false }
        content.ownerEpoch = nil
        self.drop(Array(content.channels.prefix(limit)), of: &content)
        self.contents[partition] = content
        return true
    }

    private mutating func drop(_ names: [ChannelName], of content: inout MemoryLog.Content) {
        content.epochFloor = max(content.epochFloor, self.history.floor(forgetting: names))
        for name in names { self.history.forget(name) }
        content.channels.subtract(names)
    }
}
