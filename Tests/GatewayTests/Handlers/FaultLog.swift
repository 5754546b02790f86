import NIOCore
import Partitioning

@testable import Pipeline

/// A log in memory that waits or fails when told to. Confined to the loop of its sequencer, but for ``release()``.
final class FaultLog: Log, @unchecked Sendable {
    /// What happens to one call, in place of success at once.
    struct Fault {
        var waits = false
        var error: LogError?

        /// Waits for ``release()``, then succeeds.
        static let wait = Fault(waits: true)

        static func fail(_ message: String) -> Fault { Fault(error: LogError(.unavailable, message)) }
    }

    /// For the next calls, in order. Calls beyond them succeed at once.
    var appendFaults: [Fault] = []
    var readFaults: [Fault] = []
    private(set) var events: [ChannelName: [SequencedEvent]] = [:]
    private(set) var reads = 0
    private let loop: any EventLoop
    private var waiting: [CheckedContinuation<Void, Never>] = []
    /// Calls that were let go and are not back on the loop yet: a continuation resumes on another thread first.
    private var returning = 0
    private var released: CheckedContinuation<Void, Never>?

    init(loop: any EventLoop) { self.loop = loop }

    /// Lets go all calls that wait, and returns when they have gone on.
    func release() async {
        await withCheckedContinuation { released in
            self.loop.execute {
                let waiting = self.waiting
                guard !waiting.isEmpty else { return released.resume() }
                self.waiting = []
                self.returning = waiting.count
                self.released = released
                for continuation in waiting { continuation.resume() }
            }
        }
    }

    private func wait() async {
        await withCheckedContinuation { self.waiting.append($0) }
        self.returning -= 1
        if self.returning == 0 { self.released?.resume() }
    }

    /// Drops the oldest events of a channel.
    func expire(_ channel: ChannelName, _ count: Int) { self.events[channel]?.removeFirst(count) }

    private func meet(_ fault: Fault?) async throws(LogError) {
        guard let fault else { return }
        if fault.waits { await self.wait() }
        if let error = fault.error { throw error }
    }

    // MARK: - Log

    func seal(_ grants: [Grant]) async -> [Result<SealedPartition, LogError>] {
        grants.map { _ in .success(SealedPartition(epochFloor: 1, previousOwnerEpoch: nil, keptEverything: true)) }
    }

    func heads(of channels: [ChannelOfPartition]) async throws(LogError) -> LogHeads {
        LogHeads(
            heads: channels.map { ChannelHead(head: self.events[$0.channel]?.last?.position ?? Position(epoch: 1, offset: 0)) }, channelCount: self.events.count
        )
    }

    func append(_ batch: LogBatch) async -> [Result<Void, LogError>] {
        do throws(LogError) {
            try await self.meet(self.appendFaults.isEmpty ? nil : self.appendFaults.removeFirst())
        } catch {
            return batch.grants.map { _ in .failure(error) }
        }
        for event in batch.events { self.events[event.event.channel, default: []].append(event) }
        return batch.grants.map { _ in .success(()) }
    }

    func read(_ channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice {
        self.reads += 1
        let events = self.events[channel] ?? []
        try await self.meet(self.readFaults.isEmpty ? nil : self.readFaults.removeFirst())
        return LogSlice(events: Array(events.filter { $0.position > position }.prefix(limit)), oldest: events.first?.position)
    }

    func remembered(from place: Int, count: Int) async -> RememberedSlice { RememberedSlice(channels: [], next: nil) }

    func forget(_ channels: [Grant: [ChannelName]]) async throws(LogError) {}

    func trim(_ grants: [Grant], now: Int64) async throws(LogError) {}

    func release(_ grants: [Grant]) async {}

    var metrics: LogMetrics {
        get async {
            LogMetrics(kind: "memory", path: nil, durability: "none", events: 0, bytes: 0, channels: 0, commits: 0, failures: 0, error: nil)
        }
    }

    func close() async {}
}
