import NIOConcurrencyHelpers
import NIOCore
package import Partitioning
package import Pipeline

/// History in memory, without durability: it is lost when the process ends.
///
/// Nothing waits here, except ``trim(now:)`` between its slices. `append` and `read` are `async` because the protocol is. They run on the caller's thread, without a hop
/// or a suspension, and hold the lock for about a microsecond for each event. The lock is needed because loops read while the sequencer appends.
package final class MemoryLog: Log {
    private struct State {
        var history: HistoryIndex<SequencedEvent>
        var ownerEpochs: [PartitionID: OwnerEpoch] = [:]
        var epochFloor: UInt64
        var commits: UInt64 = 0
    }

    private let limits: Limits
    private let clocks: Clocks
    private let state: NIOLockedValueBox<State>

    /// Epochs begin at the milliseconds since 1970: after a restart continuity is lost, so new epochs begin.
    package init(limits: Limits, clocks: Clocks = .system) {
        self.limits = limits
        self.clocks = clocks
        self.state = NIOLockedValueBox(
            State(history: HistoryIndex(bounds: HistoryIndex.Bounds(limits)), epochFloor: UInt64(clamping: clocks.wall()))
        )
    }

    package func seal(_ grants: [Grant]) async throws(LogError) -> LogContents {
        let now = self.clocks.steady()
        let contents = self.state.withLockedValue { state -> Result<LogContents, LogError> in
            for grant in grants {
                if let newer = state.ownerEpochs[grant.partition], newer > grant.ownerEpoch { return .failure(.fenced(grant, by: newer)) }
            }
            for grant in grants {
                state.ownerEpochs[grant.partition] = grant.ownerEpoch
                state.epochFloor = max(state.epochFloor, UInt64(clamping: grant.ownerEpoch))
            }
            var messageIDs: [(channel: ChannelName, messageID: String, position: Position, timestamp: Int64)] = []
            for entry in state.history.entriesInOrder(now: now) {
                let event = entry.element
                guard let messageID = event.event.messageID else { continue }
                messageIDs.append((channel: event.event.channel, messageID: messageID, position: event.position, timestamp: entry.timestamp))
            }
            messageIDs.removeFirst(max(0, messageIDs.count - self.limits.messageIDsMax))
            return .success(LogContents(heads: state.history.heads, messageIDs: messageIDs, epochFloor: state.epochFloor))
        }
        return try contents.get()
    }

    package func append(_ batch: [SequencedEvent]) async throws(LogError) {
        let now = self.clocks.steady()
        let result = self.state.withLockedValue { state -> Result<Void, LogError> in
            guard !state.ownerEpochs.isEmpty else { return .failure(.notSealed) }
            // Check first, then append: a batch is stored completely or not at all.
            for event in batch {
                if let head = state.history.head(of: event.event.channel), event.position.epoch < head.epoch {
                    return .failure(.overtaken(event, by: head))
                }
            }
            for event in batch {
                state.history.append(
                    event, to: event.event.channel, at: event.position, timestamp: now, cost: event.event.cost
                )
            }
            state.commits += 1
            return .success(())
        }
        try result.get()
    }

    package func read(
        _ channel: ChannelName, after position: Position, limit: Int, bytesMax: Int
    ) async throws(LogError) -> LogSlice {
        let now = self.clocks.steady()
        let stretch = try self.state.withLockedValue { state -> Result<HistoryIndex<SequencedEvent>.Stretch, LogError> in
            guard !state.ownerEpochs.isEmpty else { return .failure(.notSealed) }
            return .success(state.history.elements(of: channel, after: position, limit: limit, now: now))
        }.get()

        var bytes = 0
        let end = stretch.elements.firstIndex { event in
            bytes += event.event.payload.readableBytes
            return bytes > bytesMax
        }
        let count = min(stretch.elements.count, max(1, end ?? stretch.elements.count))
        return LogSlice(events: Array(stretch.elements.prefix(count)), oldest: stretch.oldest)
    }

    package func forget(_ channels: [ChannelName], epochFloor: UInt64) async throws(LogError) {
        self.state.withLockedValue { state in
            state.epochFloor = max(state.epochFloor, epochFloor)
            for channel in channels { state.history.forget(channel) }
        }
    }

    package func trim(now: Int64) async throws(LogError) {
        // In slices, so that readers on other loops get the lock. With a pause, because an event loop does not poll its sockets between tasks
        // that only yield.
        while self.state.withLockedValue({ $0.history.removeExpired(now: now, limit: Self.trimmedAtOnce) }) {
            try? await Task.sleep(for: .milliseconds(1))
        }
    }

    private static let trimmedAtOnce = 512

    package var statistics: LogStatistics {
        get async {
            self.state.withLockedValue { state in
                LogStatistics(
                    kind: "memory", path: nil, durability: "none", events: state.history.count, bytes: state.history.cost,
                    channels: state.history.channelCount, commits: state.commits, failures: 0, error: nil
                )
            }
        }
    }

    package func close() async {}
}
