import NIOCore
import Partitioning

@testable import Pipeline

/// A log in memory that waits, fails or does not know when told to. Confined to its loop, but for ``release()`` and
/// ``waitFor(_:)``.
final class FaultLog: Log, @unchecked Sendable {
    /// What happens to one call, in place of success at once.
    struct Fault {
        var waits = false
        var error: LogError?
        /// The batch is stored although the answer is an error.
        var stores = false

        /// Waits for ``release()``, then goes on as `self` says.
        var late: Fault { Fault(waits: true, error: self.error, stores: self.stores) }

        static let none = Fault()
        static let unavailable = Fault(error: LogError(.unavailable, "full"))
        static let uncertain = Fault(error: LogError(.uncertain, "silent"))
        static let uncertainButStored = Fault(error: LogError(.uncertain, "silent"), stores: true)
    }

    let loop: any EventLoop
    /// For the next calls, in order. Calls beyond them succeed at once.
    var sealFaults: [Fault] = []
    var appendFaults: [Fault] = []
    var readFaults: [Fault] = []
    var forgetFaults: [Fault] = []
    var trimFaults: [Fault] = []
    var contents = LogContents(epochFloor: 1)
    /// What was asked, whatever came of it.
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

    /// Drops a channel's oldest events, as history does when they are old.
    func expire(_ channel: ChannelName, upTo offset: UInt64) {
        self.stored[channel]?.removeAll { $0.position.offset <= offset }
    }

    /// Lets go all calls that wait, and returns when they have gone on: a continuation resumes on another thread first.
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

    /// Returns when a call has made the condition true, or the test's time is over.
    func waitFor(_ condition: @escaping @Sendable (FaultLog) -> Bool) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                self.loop.execute {
                    self.watchers[self.nextWatcher] = (condition, continuation)
                    self.nextWatcher += 1
                    self.tell()
                }
            }
        } onCancel: {
            self.loop.execute { self.tell(all: true) }
        }
    }

    private func tell(all: Bool = false) {
        for (number, watcher) in self.watchers where all || watcher.condition(self) {
            self.watchers[number] = nil
            watcher.continuation.resume()
        }
    }

    private func meet(_ faults: ReferenceWritableKeyPath<FaultLog, [Fault]>, storing store: () -> Void = {}) async throws(LogError) {
        self.tell()
        let fault = self[keyPath: faults].isEmpty ? .none : self[keyPath: faults].removeFirst()
        if fault.waits {
            await withCheckedContinuation { self.waiting.append($0) }
            self.returning -= 1
            self.tell()
        }
        if fault.error == nil || fault.stores { store() }
        if let error = fault.error { throw error }
    }

    // MARK: - Log

    func seal(_ grants: [Grant]) async throws(LogError) -> LogContents {
        try await self.meet(\.sealFaults)
        return self.contents
    }

    func append(_ batch: [SequencedEvent]) async throws(LogError) {
        self.appends.append(batch.map(\.position))
        try await self.meet(\.appendFaults) {
            for event in batch where !self.stored[event.event.channel, default: []].contains(where: { $0.position == event.position }) {
                self.stored[event.event.channel, default: []].append(event)
            }
        }
    }

    func read(_ channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice {
        self.reads.append(position)
        let events = self.stored[channel] ?? []
        try await self.meet(\.readFaults)
        return LogSlice(events: Array(events.filter { $0.position > position }.prefix(limit)), oldest: events.first?.position)
    }

    func forget(_ channels: [ChannelName], epochFloor: UInt64) async throws(LogError) {
        self.forgets.append(channels)
        try await self.meet(\.forgetFaults)
    }

    func trim(now: Int64) async throws(LogError) {
        self.trims += 1
        try await self.meet(\.trimFaults)
    }

    var statistics: LogStatistics {
        get async {
            LogStatistics(kind: "memory", path: nil, durability: "none", events: 0, bytes: 0, channels: 0, commits: 0, failures: 0, error: nil)
        }
    }

    func close() async {}
}
