import DequeModule
import NIOConcurrencyHelpers
import NIOCore
package import Partitioning
package import Pipeline

/// History in memory, without durability: it is lost when the process ends.
///
/// Only ``trim(_:now:)`` suspends, between its slices. The other calls are `async` because the protocol requires it. These calls run on the caller's thread,
/// without a suspension. They hold the lock for about a microsecond for each event. The lock is needed because loops read while sequencers append.
package final class MemoryLog: Log {
    private struct State {
        var history: HistoryIndex<SequencedEvent>
        var fence = Fence()
        var epochFloor: UInt64
        var commits: UInt64 = 0
    }

    private let limits: Limits
    private let clocks: Clocks
    private let state: NIOLockedValueBox<State>

    /// The first epoch is the time in milliseconds since 1970. A restart loses the history, so epochs after a restart must be higher.
    package init(limits: Limits, clocks: Clocks = .system) {
        self.limits = limits
        self.clocks = clocks
        self.state = NIOLockedValueBox(
            State(history: HistoryIndex(bounds: HistoryIndex.Bounds(limits)), epochFloor: UInt64(clamping: clocks.wall()))
        )
    }

    // MARK: - Owning

    package func seal(_ grants: [Grant]) async -> [Result<SealedPartition, LogError>] {
        self.state.withLockedValue { state in
            grants.map { grant in
                if let refusal = state.fence.refusal(sealing: grant) { return .failure(refusal) }
                let previous = state.fence.ownerEpoch(of: grant.partition)
                state.fence.seal(grant)
                return .success(
                    SealedPartition(
                        epochFloor: max(state.epochFloor, UInt64(clamping: grant.ownerEpoch)), previousOwnerEpoch: previous, keptEverything: previous != nil))
            }
        }
    }

    package func release(_ grants: [Grant]) async {
        self.state.withLockedValue { state in
            for grant in grants { state.fence.release(grant) }
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
                    heads.append(ChannelHead(head: Position(epoch: max(state.epochFloor, UInt64(clamping: requested.grant.ownerEpoch)), offset: 0)))
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
        return self.state.withLockedValue { state in
            // The clock is read under the lock, so that the entries are in the order of their times.
            let now = self.clocks.steady()
            // Check first, then append: a partition's part is stored completely or not at all.
            let refusals = state.history.check(batch, state.fence).refusals
            for (event, grantIndex) in zip(batch.events, batch.grantIndices) where refusals[Int(grantIndex)] == nil {
                state.history.append(event, to: event.event.channel, at: event.position, timestamp: now, bytes: event.event.accountedBytes)
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
                state.epochFloor = max(state.epochFloor, state.history.floor(forgetting: names))
                for channel in names { state.history.forget(channel) }
            }
        }
    }

    package func trim(_ grants: [Grant], now: Int64) async throws(LogError) {
        // Works in slices, so that readers on other loops get the lock. Pauses, because an event loop does not poll its sockets between tasks that only yield.
        while self.state.withLockedValue({ $0.history.removeExpired(now: now, limit: Self.trimSliceEntries) }) {
            try? await Task.sleep(for: .milliseconds(1))
        }
    }

    private static let trimSliceEntries = 512

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
