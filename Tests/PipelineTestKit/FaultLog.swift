package import NIOCore
package import Partitioning
package import Pipeline

/// A log in memory with faults: a call can wait, fail, or have an uncertain result. Confined to its loop, except ``release()`` and ``waitFor(_:)``.
package final class FaultLog: Log, @unchecked Sendable {
    /// The behaviour of one call. A call without a fault succeeds immediately.
    package struct Fault: Sendable {
        package var waits: Bool
        package var error: LogError?
        /// True if the batch is stored although the result is an error.
        package var stores: Bool

        package init(waits: Bool = false, error: LogError? = nil, stores: Bool = false) {
            self.waits = waits
            self.error = error
            self.stores = stores
        }

        /// The same fault, after ``FaultLog/release()``.
        package var late: Fault { Fault(waits: true, error: self.error, stores: self.stores) }

        package static let none = Fault()
        /// Waits for ``FaultLog/release()``, then succeeds.
        package static let wait = Fault(waits: true)
        package static let unavailable = Fault.failing("full")
        package static let uncertain = Fault(error: LogError(.uncertain, "silent"))
        package static let uncertainButStored = Fault(error: LogError(.uncertain, "silent"), stores: true)

        package static func failing(_ message: String) -> Fault { Fault(error: LogError(.unavailable, message)) }
    }

    package let loop: any EventLoop
    package let storages: Int
    /// The faults of the next calls, in order. Calls after them succeed immediately.
    package var sealFaults: [Fault] = []
    package var headFaults: [Fault] = []
    package var appendFaults: [Fault] = []
    package var readFaults: [Fault] = []
    package var forgetFaults: [Fault] = []
    package var trimFaults: [Fault] = []
    /// Channels that existed before the test.
    package var known: [ChannelName: ChannelHead] = [:]
    package var epochFloor: UInt64 = 1
    /// Partitions that another owner has taken over: appends to them are refused.
    package var fenced: Set<PartitionID> = []
    /// Partitions of which data was lost: appends to them are refused until they are sealed again.
    package var lost: Set<PartitionID> = []
    /// Partitions of which the log does not know whether it stores their events. It does not.
    package var uncertain: Set<PartitionID> = []
    /// Partitions whose heads are refused.
    package var fencedHeads: Set<PartitionID> = []
    /// All requests so far, including failed ones.
    package private(set) var heads: [[ChannelName]] = []
    package private(set) var seals: [[Grant]] = []
    package private(set) var released: [Grant] = []
    package private(set) var appends: [[Position]] = []
    /// The storages of each append's partitions.
    package private(set) var appendedStorages: [Set<Int>] = []
    package private(set) var reads: [Position] = []
    package private(set) var forgets: [[ChannelName]] = []
    package private(set) var trims = 0
    package private(set) var stored: [ChannelName: [SequencedEvent]] = [:]
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private var watchers: [Int: (condition: (FaultLog) -> Bool, continuation: CheckedContinuation<Void, Never>)] = [:]
    private var nextWatcher = 0
    private var returning = 0

    package init(loop: any EventLoop, storages: Int = 1) {
        self.loop = loop
        self.storages = storages
    }

    /// Drops a channel's events up to this offset, as if they were too old.
    package func expire(_ channel: ChannelName, upTo offset: UInt64) {
        self.stored[channel]?.removeAll { $0.position.offset <= offset }
    }

    /// Resumes all waiting calls, and returns when they have continued on the loop. A continuation first resumes on another thread.
    package func release() async {
        await self.waitFor { $0.resume() }
        await self.waitFor { $0.returning == 0 }
    }

    private func resume() -> Bool {
        let waiting = self.waiting
        self.waiting = []
        self.returning += waiting.count
        for continuation in waiting { continuation.resume() }
        return true
    }

    /// Returns when a call has made the condition true, or when the test's time is over.
    package func waitFor(_ condition: @escaping @Sendable (FaultLog) -> Bool) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                self.loop.execute {
                    self.watchers[self.nextWatcher] = (condition, continuation)
                    self.nextWatcher += 1
                    self.wakeWatchers()
                }
            }
        } onCancel: {
            self.loop.execute { self.wakeWatchers(all: true) }
        }
    }

    private func wakeWatchers(all: Bool = false) {
        for (number, watcher) in self.watchers where all || watcher.condition(self) {
            self.watchers[number] = nil
            watcher.continuation.resume()
        }
    }

    private func meet(_ faults: ReferenceWritableKeyPath<FaultLog, [Fault]>, storing store: () -> Void = {}) async throws(LogError) {
        self.wakeWatchers()
        let fault = self[keyPath: faults].isEmpty ? .none : self[keyPath: faults].removeFirst()
        if fault.waits {
            await withCheckedContinuation { self.waiting.append($0) }
            self.returning -= 1
            self.wakeWatchers()
        }
        if fault.error == nil || fault.stores { store() }
        if let error = fault.error { throw error }
    }

    // MARK: - Log

    package func seal(_ grants: [Grant]) async -> [Result<SealedPartition, LogError>] {
        do throws(LogError) {
            try await self.meet(\.sealFaults)
            self.seals.append(grants)
            self.lost.subtract(grants.map(\.partition))
            return grants.map { _ in .success(SealedPartition(epochFloor: self.epochFloor, previousOwnerEpoch: nil, keptEverything: true)) }
        } catch {
            return grants.map { _ in .failure(error) }
        }
    }

    package func heads(of channels: [ChannelOfPartition]) async throws(LogError) -> LogHeads {
        self.heads.append(channels.map(\.channel))
        try await self.meet(\.headFaults)
        let heads = channels.map { requested -> ChannelHead? in
            if self.fencedHeads.contains(requested.grant.partition) { return nil }
            let head =
                self.stored[requested.channel]?.last.map { ChannelHead(head: $0.position) } ?? self.known[requested.channel]
                ?? ChannelHead(head: Position(epoch: self.epochFloor, offset: 0))
            if let known = requested.known, head.head < known { return ChannelHead(head: Position(epoch: known.epoch + 1, offset: 0), lostAfter: head.head) }
            return head
        }
        return LogHeads(heads: heads, channelCount: Set(self.stored.keys).union(self.known.keys).count)
    }

    package func append(_ batch: LogBatch) async -> [Result<Void, LogError>] {
        self.appends.append(batch.events.map(\.position))
        self.appendedStorages.append(Set(batch.grants.map { $0.partition % self.storages }))
        do throws(LogError) {
            try await self.meet(\.appendFaults) {
                for (event, grant) in zip(batch.events, batch.grantIndices) where self.refusal(batch.grants[Int(grant)]) == nil {
                    guard !self.stored[event.event.channel, default: []].contains(where: { $0.position == event.position }) else { continue }
                    self.stored[event.event.channel, default: []].append(event)
                }
            }
            return batch.grants.map { self.refusal($0).map { .failure($0) } ?? .success(()) }
        } catch {
            return batch.grants.map { _ in .failure(error) }
        }
    }

    package func read(_ channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice {
        self.reads.append(position)
        let events = self.stored[channel] ?? []
        try await self.meet(\.readFaults)
        return LogSlice(events: Array(events.filter { $0.position > position }.prefix(limit)), oldest: events.first?.position)
    }

    package func remembered(from place: RememberedPlace, count: Int) async throws(LogError) -> RememberedSlice {
        let place = Int(place.cursor)
        let stored = self.stored.compactMapValues(\.last).mapValues { (head: $0.position, timestamp: $0.timestamp) }
        let heads = self.known.mapValues { (head: $0.head, timestamp: 0) }.merging(stored) { $1 }.sorted { $0.key.string < $1.key.string }
        let slice = heads.dropFirst(place).prefix(count).map { (channel: $0.key, head: $0.value.head, timestamp: $0.value.timestamp) }
        return RememberedSlice(channels: slice, next: place + count < heads.count ? RememberedPlace(cursor: UInt64(place + count)) : nil)
    }

    package func forget(_ channels: [Grant: [ChannelName]], writtenBefore oldest: Int64) async throws(LogError) {
        self.forgets.append(channels.values.flatMap { $0 })
        try await self.meet(\.forgetFaults)
        for channel in channels.values.joined() where self.stored[channel]?.last?.timestamp ?? 0 < oldest {
            let head = self.stored.removeValue(forKey: channel)?.last?.position ?? self.known.removeValue(forKey: channel)?.head
            self.epochFloor = max(self.epochFloor, (head?.epoch ?? 0) + 1)
        }
    }

    package func trim(_ grants: [Grant], now: Int64) async throws(LogError) {
        self.trims += 1
        try await self.meet(\.trimFaults)
    }

    package func verify(_ grants: [Grant]) async -> [Result<Void, LogError>] {
        grants.map { grant in
            if self.uncertain.contains(grant.partition) { return .success(()) }
            return self.refusal(grant).map { .failure($0) } ?? .success(())
        }
    }

    private func refusal(_ grant: Grant) -> LogError? {
        if self.fenced.contains(grant.partition) { return LogError(.fenced, "newer") }
        if self.uncertain.contains(grant.partition) { return LogError(.uncertain, "silent") }
        return self.lost.contains(grant.partition) ? LogError(.lost, "lost") : nil
    }

    /// Removes a channel's events from this offset on, as if the storage had lost them.
    package func lose(_ channel: ChannelName, from offset: UInt64) {
        self.stored[channel]?.removeAll { $0.position.offset >= offset }
    }

    package func release(_ grants: [Grant]) async { self.released += grants }

    package var metrics: LogMetrics {
        get async {
            LogMetrics(
                kind: "memory", path: nil, durability: "none", events: 0, bytes: 0, channels: Set(self.known.keys).union(self.stored.keys).count, commits: 0,
                failures: 0, error: nil)
        }
    }

    package func close() async {}
}
