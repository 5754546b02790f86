import NIOCore
import Partitioning

@testable import Pipeline

/// A log in memory. A test can make its calls wait, fail or be uncertain. Confined to its loop, except ``release()`` and ``waitFor(_:)``.
final class FaultLog: Log, @unchecked Sendable {
    /// The behaviour of one call. Without a fault a call succeeds immediately.
    struct Fault {
        var waits = false
        var error: LogError?
        /// The batch is stored although the call throws.
        var stores = false

        /// The same fault, but the call first waits for ``release()``.
        var late: Fault { Fault(waits: true, error: self.error, stores: self.stores) }

        static let none = Fault()
        static let unavailable = Fault(error: LogError(.unavailable, "full"))
        static let uncertain = Fault(error: LogError(.uncertain, "silent"))
        static let uncertainButStored = Fault(error: LogError(.uncertain, "silent"), stores: true)
    }

    let loop: any EventLoop
    /// Faults of the next calls, in order. Later calls succeed immediately.
    var sealFaults: [Fault] = []
    var headFaults: [Fault] = []
    var appendFaults: [Fault] = []
    var readFaults: [Fault] = []
    var forgetFaults: [Fault] = []
    var trimFaults: [Fault] = []
    /// Channels that existed before the test.
    var known: [ChannelName: ChannelHead] = [:]
    var epochFloor: UInt64 = 1
    /// Appends to these partitions are refused: another owner has taken over.
    var fenced: Set<PartitionID> = []
    /// Heads of these partitions are refused.
    var fencedHeads: Set<PartitionID> = []
    /// The calls so far, successful or not.
    private(set) var heads: [[ChannelName]] = []
    private(set) var released: [Grant] = []
    private(set) var appends: [[Position]] = []
    private(set) var reads: [Position] = []
    private(set) var forgets: [[ChannelName]] = []
    private(set) var trims = 0
    private(set) var stored: [ChannelName: [SequencedEvent]] = [:]
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private var watchers: [Int: (condition: (FaultLog) -> Bool, continuation: CheckedContinuation<Void, Never>)] = [:]
    private var nextWatcher = 0
    private var returning = 0

    init(loop: any EventLoop) { self.loop = loop }

    /// Drops a channel's oldest events, as a trim does.
    func expire(_ channel: ChannelName, upTo offset: UInt64) {
        self.stored[channel]?.removeAll { $0.position.offset <= offset }
    }

    /// Resumes all waiting calls, and returns when they have continued: a continuation resumes on another thread first.
    func release() async {
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
    func waitFor(_ condition: @escaping @Sendable (FaultLog) -> Bool) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                self.loop.execute {
                    self.watchers[self.nextWatcher] = (condition, continuation)
                    self.nextWatcher += 1
                    self.checkWatchers()
                }
            }
        } onCancel: {
            self.loop.execute { self.checkWatchers(all: true) }
        }
    }

    private func checkWatchers(all: Bool = false) {
        for (number, watcher) in self.watchers where all || watcher.condition(self) {
            self.watchers[number] = nil
            watcher.continuation.resume()
        }
    }

    private func meet(_ faults: ReferenceWritableKeyPath<FaultLog, [Fault]>, storing store: () -> Void = {}) async throws(LogError) {
        self.checkWatchers()
        let fault = self[keyPath: faults].isEmpty ? .none : self[keyPath: faults].removeFirst()
        if fault.waits {
            await withCheckedContinuation { self.waiting.append($0) }
            self.returning -= 1
            self.checkWatchers()
        }
        if fault.error == nil || fault.stores { store() }
        if let error = fault.error { throw error }
    }

    // MARK: - Log

    func seal(_ grants: [Grant]) async -> [Result<SealedPartition, LogError>] {
        do throws(LogError) {
            try await self.meet(\.sealFaults)
            return grants.map { _ in .success(SealedPartition(epochFloor: self.epochFloor, previousOwnerEpoch: nil, keptEverything: true)) }
        } catch {
            return grants.map { _ in .failure(error) }
        }
    }

    func heads(of channels: [ChannelOfPartition]) async throws(LogError) -> LogHeads {
        self.heads.append(channels.map(\.channel))
        try await self.meet(\.headFaults)
        let heads = channels.map { requested -> ChannelHead? in
            if self.fencedHeads.contains(requested.grant.partition) { return nil }
            return self.stored[requested.channel]?.last.map { ChannelHead(head: $0.position) } ?? self.known[requested.channel]
                ?? ChannelHead(head: Position(epoch: self.epochFloor, offset: 0))
        }
        return LogHeads(heads: heads, channelCount: Set(self.stored.keys).union(self.known.keys).count)
    }

    func append(_ batch: LogBatch) async -> [Result<Void, LogError>] {
        self.appends.append(batch.events.map(\.position))
        do throws(LogError) {
            try await self.meet(\.appendFaults) {
                for (event, grant) in zip(batch.events, batch.grantIndices) where !self.fenced.contains(batch.grants[Int(grant)].partition) {
                    guard !self.stored[event.event.channel, default: []].contains(where: { $0.position == event.position }) else { continue }
                    self.stored[event.event.channel, default: []].append(event)
                }
            }
            return batch.grants.map { self.fenced.contains($0.partition) ? .failure(LogError(.fenced, "newer")) : .success(()) }
        } catch {
            return batch.grants.map { _ in .failure(error) }
        }
    }

    func read(_ channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice {
        self.reads.append(position)
        let events = self.stored[channel] ?? []
        try await self.meet(\.readFaults)
        return LogSlice(events: Array(events.filter { $0.position > position }.prefix(limit)), oldest: events.first?.position)
    }

    func remembered(from place: Int, count: Int) async -> RememberedSlice {
        let stored = self.stored.compactMapValues(\.last?.position)
        let heads = self.known.mapValues(\.head).merging(stored) { $1 }.sorted { $0.key.string < $1.key.string }
        let slice = heads.dropFirst(place).prefix(count).map { (channel: $0.key, head: $0.value, timestamp: Int64(0)) }
        return RememberedSlice(channels: slice, next: place + count < heads.count ? place + count : nil)
    }

    func forget(_ channels: [Grant: [ChannelName]]) async throws(LogError) {
        self.forgets.append(channels.values.flatMap { $0 })
        try await self.meet(\.forgetFaults)
        for channel in channels.values.joined() {
            let head = self.stored.removeValue(forKey: channel)?.last?.position ?? self.known.removeValue(forKey: channel)?.head
            self.epochFloor = max(self.epochFloor, (head?.epoch ?? 0) + 1)
        }
    }

    func trim(_ grants: [Grant], now: Int64) async throws(LogError) {
        self.trims += 1
        try await self.meet(\.trimFaults)
    }

    func release(_ grants: [Grant]) async { self.released += grants }

    var metrics: LogMetrics {
        get async {
            LogMetrics(
                kind: "memory", path: nil, durability: "none", events: 0, bytes: 0, channels: Set(self.known.keys).union(self.stored.keys).count, commits: 0,
                failures: 0, error: nil)
        }
    }

    func close() async {}
}
