import NIOCore
import Partitioning
import PipelineTestKit
import TestKit
import Testing

@testable import Pipeline

private final class NoOrigin: PublishOrigin {
    let mayLoseOutcomes: Bool

    init(mayLoseOutcomes: Bool = false) { self.mayLoseOutcomes = mayLoseOutcomes }

    func published(_ outcomes: [PublishOutcome], batch: UInt64, from index: Int) {}
}

/// A random walk: publishes, commits that fail or are uncertain, changes of owners, sweeps and interest. The results are compared with a simple model of the
/// log.
private struct Walk {
    static let partitions = Partitions(count: 5)
    var random: SplitMix
    let seed: UInt64
    let limits: Limits
    var machine: SequencerMachine
    var now: Int64 = 1_000_000
    /// All events that the log has ever stored, in order. `remembered` has the channels that the log remembers.
    var stored: [ChannelName: [(position: Position, messageID: String?, at: Int64)]] = [:]
    var remembered: Set<ChannelName> = []
    var floor: UInt64 = 1
    /// The log's fence.
    var sealed: [PartitionID: OwnerEpoch] = [:]
    /// The machine of the last seal. The log refuses what was sent under an older seal of the same grant.
    var sealedSerials: [PartitionID: UInt64] = [:]
    /// Grants whose seal has no result yet.
    var sealing: [Grant] = []
    /// Partitions of which the log has lost data since the last seal.
    var damaged: Set<PartitionID> = []
    /// The log trusts the heads of these epochs and later ones. It trusts an older head if the machine knows none that is above it.
    var trusted: [PartitionID: UInt64] = [:]
    /// Events that the log has lost after it had stored them.
    var lostEvents: [ChannelName: Set<Position>] = [:]
    /// Channels that the log has forgotten after it had lost their last events: nothing tells a later owner that there was a loss.
    var forgottenAfterLoss: Set<ChannelName> = []
    /// The epochs of the commit's channels at the time when it was formed.
    var epochsWhenFormed: [ChannelName: UInt64] = [:]
    var firstOf: [String: (position: Position, at: Int64)] = [:]
    /// The events of each batch that have no outcome yet.
    var open: [UInt64: Set<Int>] = [:]
    var nextBatch: UInt64 = 0
    var isInFlight = false
    var listening: Set<ChannelName> = []
    var step = 0
    var counts = (
        published: 0, duplicates: 0, failed: 0, forgotten: 0, refused: 0, parts: 0, moved: 0, fenced: 0, reads: 0, damaged: 0, resets: 0, doubts: 0,
        resolved: 0, movedDoubts: 0, behindFailed: 0
    )

    init(seed: UInt64) {
        self.seed = seed
        self.random = SplitMix(seed: seed)
        var limits = Limits()
        limits.parkedPublishesMax = 40
        limits.parkedBytesMax = 5000
        limits.commitEventsMax = 12
        limits.channelsMax = 9
        limits.historySecondsMax = 20
        limits.headSecondsMax = 30
        limits.messageIDsMax = 100_000
        self.limits = limits
        self.machine = SequencerMachine(limits: limits, partitions: Self.partitions)
        for grant in Grant.everyPartition(of: Self.partitions.count) { self.acquire(grant) }
    }

    var at: Comment { "seed \(self.seed), step \(self.step)" }
    var window: Int64 { Int64(self.limits.historySecondsMax) * 1000 }

    mutating func run(steps: Int) {
        for _ in 0..<steps {
            self.step += 1
            self.now += Int64(self.random.chance(3) ? 12_000 : self.random.below(40))
            switch self.random.below(14) {
            case 0..<5: self.publish()
            case 5..<7: self.form()
            case 7..<9: self.answerLog()
            case 9: if self.machine.hasDoubts, self.random.chance(40) { self.changeOwner() } else { self.changeInterest() }
            case 10: if self.random.chance(50) { self.readHeads() } else { self.repeatDoubts(failing: 10, doubting: 30) }
            case 11: if self.random.chance(12) { self.changeOwner() } else if self.random.chance(6) { self.damage() } else { self.seal() }
            default: self.sweep()
            }
        }
        self.drain()
    }

    // MARK: - Partitions

    private mutating func acquire(_ grant: Grant) {
        self.machine.acquire([grant])
        self.sealing.append(grant)
    }

    private mutating func changeOwner() {
        let partition = self.random.below(Self.partitions.count)
        guard let held = self.machine.partitions[partition] else {
            return self.acquire(Grant(partition: partition, ownerEpoch: (self.sealed[partition] ?? 0) + 1))
        }
        switch self.random.below(4) {
        case 0:
            let isDoubtful = held.state == .doubtful
            self.machine.handOver([held.grant])
            if !self.isInFlight || isDoubtful { #expect(self.machine.isRelinquished(held.grant), self.at) }
        case 1:
            self.machine.release([held.grant])
            // The same grant, while a commit under it may be in flight.
            if self.random.chance(30), self.sealed[partition] == held.grant.ownerEpoch { self.acquire(held.grant) }
        case 2: self.acquire(Grant(partition: partition, ownerEpoch: held.grant.ownerEpoch + 1))
        // Another node acquires the partition: the log is sealed, but this machine has not been notified.
        default: self.sealed[partition] = held.grant.ownerEpoch + 1
        }
        self.answerEndedDoubts()
    }

    private mutating func answerEndedDoubts() {
        for commit in self.machine.takeEndedDoubts() {
            self.counts.movedDoubts += 1
            self.answer(commit)
        }
    }

    /// The log responds to some commits of which it did not say whether they are stored.
    private mutating func repeatDoubts(failing percent: Int, doubting doubt: Int) {
        let (batch, serials) = self.machine.doubtfulBatch
        guard !batch.isEmpty else { return }
        for (serial, result) in zip(serials, self.append(batch, serials, failing: percent, doubting: doubt)) {
            if case .failure(let error) = result, error.code == .uncertain { continue }
            guard let (commit, ended) = self.machine.resolved(serial, result) else {
                Issue.record("a doubt has gone: seed \(self.seed), step \(self.step)")
                continue
            }
            self.counts.resolved += 1
            self.answer(commit)
            self.finish(ended)
        }
    }

    /// The storage loses the last events of some of a partition's channels. The machine finds out by a look at the seals, or by its next commit.
    private mutating func damage() {
        let partition = self.random.below(Self.partitions.count)
        // A commit that may be stored already is repeated with the same positions; the walk's model of the log has no answer for half of it.
        guard self.machine.partitions[partition]?.state != .doubtful else { return }
        self.damaged.insert(partition)
        self.counts.damaged += 1
        // Sorted, so that a seed always has the same walk.
        for name in self.remembered.sorted(by: { $0.string < $1.string }) where Self.partitions.partition(ofHash: name.hash64) == partition {
            guard self.random.chance(50) else { continue }
            let count = min(self.stored[name]!.count, self.random.below(3))
            self.lostEvents[name, default: []].formUnion(self.stored[name]!.suffix(count).map(\.position))
            self.stored[name]!.removeLast(count)
            if self.stored[name]!.isEmpty { self.remembered.remove(name) }
        }
        if self.random.chance(50), let held = self.machine.partitions[partition] { self.sealing += self.machine.lost([held.grant]) }
    }

    private mutating func seal() {
        if self.sealing.isEmpty, let partition = self.machine.partitions.firstIndex(where: { $0 == nil || $0!.state == .relinquished }) {
            let held = self.machine.partitions[partition]?.grant.ownerEpoch ?? 0
            self.acquire(Grant(partition: partition, ownerEpoch: max(held, self.sealed[partition] ?? 0) + 1))
        }
        guard !self.sealing.isEmpty else { return }
        let grant = self.sealing.removeFirst()
        if let newer = self.sealed[grant.partition], newer > grant.ownerEpoch {
            self.machine.release([grant])
            return self.answerEndedDoubts()
        }
        self.sealed[grant.partition] = grant.ownerEpoch
        if self.damaged.remove(grant.partition) != nil {
            self.floor = max(self.floor, UInt64(grant.ownerEpoch)) + 1
            self.trusted[grant.partition] = self.floor
        }
        self.sealedSerials[grant.partition] = self.machine.partitions[grant.partition]?.serial
        self.machine.sealed([grant])
    }

    // MARK: - Publishing

    private mutating func publish() {
        let events = (0..<self.random.below(self.random.chance(10) ? 30 : 6)).map { _ in
            let name = channel("c\(self.random.below(14))")
            return Event(
                channel: name, payload: ByteBuffer(string: "x"), messageID: self.random.chance(50) ? "m\(self.random.below(12))" : nil)
        }
        let batch = PublishBatch(id: self.nextBatch, events: events, origin: NoOrigin(mayLoseOutcomes: self.random.chance(50)))
        self.nextBatch += 1
        let bytes = self.machine.parkedBytes + events.reduce(0) { $0 + $1.accountedBytes }
        let fits =
            self.machine.parkedEvents == 0
            || self.machine.parkedEvents + events.count <= self.limits.parkedPublishesMax && bytes <= self.limits.parkedBytesMax
        switch self.machine.accept(batch) {
        case .parked:
            #expect(fits, self.at)
            self.open[batch.id] = Set(events.indices)
        case .refused(.overloaded):
            #expect(!fits, self.at)
            self.counts.refused += 1
        case .refused(let refusal): Issue.record("\(refusal): seed \(self.seed), step \(self.step)")
        }
    }

    private mutating func form() {
        switch self.machine.nextCommit(now: self.now, stamp: self.now) {
        case .nothing: break
        case .headsFirst: self.readHeads()
        case .commit:
            #expect(!self.isInFlight, "one commit is in flight at a time: seed \(self.seed), step \(self.step)")
            #expect(self.machine.commit.publishedCount <= self.limits.commitEventsMax, self.at)
            if self.machine.commit.parts.contains(where: { $0.batch.events.startIndex > 0 }) { self.counts.parts += 1 }
            self.isInFlight = true
            self.epochsWhenFormed.removeAll()
            for channel in self.machine.commit.parts.flatMap({ $0.batch.events.map(\.channel) }) {
                self.epochsWhenFormed[channel] = self.machine.channels[channel]?.head.epoch
            }
        }
    }

    // MARK: - The log

    private mutating func readHeads() {
        let (places, channels) = self.machine.headsToRead(limit: 1 + self.random.below(4))
        guard !channels.isEmpty else { return }
        self.counts.reads += 1
        if self.random.chance(10) || channels.contains(where: { self.damaged.contains($0.grant.partition) }) {
            self.machine.readingFailed(places, "busy")
            self.machine.retryReading(places)
            return
        }
        let heads = channels.map { asked -> ChannelHead? in
            guard self.sealed[asked.grant.partition] == asked.grant.ownerEpoch else { return nil }
            guard self.remembered.contains(asked.channel), let stored = self.stored[asked.channel] else {
                return ChannelHead(head: position(self.newEpoch(asked.grant), 0), lostAfter: asked.known.map { position($0.epoch, 0) })
            }
            let isTrusted = stored.last!.position.epoch >= self.trusted[asked.grant.partition] ?? 0
            if asked.known.map({ stored.last!.position < $0 }) ?? !isTrusted {
                return ChannelHead(head: position(self.newEpoch(asked.grant), 0), lostAfter: stored.last!.position)
            }
            let ids = stored.filter { $0.at >= self.now - self.window && $0.position.epoch == stored.last!.position.epoch }
            return ChannelHead(head: stored.last!.position, messageIDs: ids.compactMap { entry in entry.messageID.map { ($0, entry.position, entry.at) } })
        }
        let read = self.machine.headsRead(LogHeads(heads: heads, channelCount: self.remembered.count), of: places, now: self.now)
        #expect(
            Set(read.fenced.map(\.partition)).count == read.fenced.count && read.fenced.allSatisfy { self.machine.partitions[$0.partition] == nil }, self.at)
        for index in read.opened {
            #expect(self.listening.contains(self.machine.channels.name(of: index)!), self.at)
        }
    }

    private func newEpoch(_ grant: Grant) -> UInt64 { max(self.floor, UInt64(grant.ownerEpoch)) }

    private mutating func answerLog() {
        guard self.isInFlight else { return }
        self.finish(failing: self.random.chance(30) ? 60 : 0, doubting: self.random.chance(20) ? 50 : 0)
    }

    /// Applies the log's rules. The fence refuses older owner epochs. Positions continue the stored positions. A new epoch begins at offset 1, and is above all
    /// former epochs of the channel.
    private mutating func append(_ batch: LogBatch, _ serials: [UInt64], failing percent: Int, doubting doubt: Int) -> [Result<Void, LogError>] {
        let results = zip(batch.grants, serials).map { grant, serial -> Result<Void, LogError> in
            guard self.sealed[grant.partition] == grant.ownerEpoch else { return .failure(LogError(.fenced, "newer")) }
            if self.damaged.contains(grant.partition) || self.sealedSerials[grant.partition] != serial { return .failure(LogError(.lost, "lost")) }
            // Events that were stored by an uncertain commit are still stored, so the repeated commit succeeds.
            if self.random.chance(doubt) { return .failure(LogError(.uncertain, "silent")) }
            return self.random.chance(percent) && !self.isStored(grant.partition, batch) ? .failure(LogError(.unavailable, "disk full")) : .success(())
        }
        // The log may have stored events although their result is uncertain.
        let isStored = results.map { if case .failure(let error) = $0 { error.code == .uncertain && self.random.chance(50) } else { true } }
        for (event, grantIndex) in zip(batch.events, batch.grantIndices) {
            guard isStored[Int(grantIndex)] else { continue }
            let name = event.event.channel
            #expect(batch.grants[Int(grantIndex)].partition == Self.partitions.partition(ofHash: name.hash64), self.at)
            if let last = self.stored[name]?.last?.position, self.remembered.contains(name), last.epoch == event.position.epoch {
                if event.position <= last { continue }
                #expect(event.position == last.next, self.at)
            } else {
                #expect(event.position.offset == 1, self.at)
                let former = max(self.stored[name]?.last?.position.epoch ?? 0, self.lostEvents[name]?.map(\.epoch).max() ?? 0)
                #expect(event.position.epoch > former, self.at)
                if self.lostEvents[name] != nil { self.counts.resets += 1 }
            }
            #expect(self.lostEvents[name]?.contains(event.position) != true, "\(event.position) is used twice: seed \(self.seed), step \(self.step)")
            self.stored[name, default: []].append((event.position, event.event.messageID, self.now))
            self.remembered.insert(name)
        }
        return results
    }

    private func isStored(_ partition: PartitionID, _ batch: LogBatch) -> Bool {
        batch.events.contains { event in
            Self.partitions.partition(ofHash: event.event.channel.hash64) == partition
                && self.stored[event.event.channel]?.contains { $0.position == event.position } ?? false
        }
    }

    private mutating func finish(failing percent: Int, doubting doubt: Int) {
        let doubts = self.machine.doubts.count
        let results = self.append(self.machine.commit.batch, self.machine.commit.serials, failing: percent, doubting: doubt)
        let ended = self.machine.ended(results)
        self.counts.doubts += self.machine.doubts.count - doubts
        // A log's failure is for a whole partition: nothing of another node that was parked behind a failed event stays.
        let failed = zip(self.machine.commit.batch.grants, ended.results).filter { !self.isSuperseded($0.0) && $0.1.isRefusal }.map(\.0.partition)
        var parked = self.machine
        #expect(parked.takeParked(of: Set(failed), where: { $0.origin.mayLoseOutcomes }).isEmpty, self.at)
        self.answer(self.machine.commit)
        self.machine.finished()
        self.isInFlight = false
        self.finish(ended)
    }

    /// Whether a newer grant of the partition is held.
    private func isSuperseded(_ grant: Grant) -> Bool { self.machine.partitions[grant.partition].map { $0.grant != grant } ?? true }

    private mutating func answer(_ commit: SequencerMachine.Commit) {
        for (batch, outcomes) in commit.parts {
            self.answered(batch)
            #expect(batch.events.count == outcomes.count, self.at)
            for (event, outcome) in zip(batch.events, outcomes) { self.check(event, outcome, commit.formedAt) }
        }
    }

    private mutating func finish(_ ended: SequencerMachine.Ended) {
        for (batch, refusal) in ended.behindFailed {
            self.counts.behindFailed += batch.events.count
            #expect(refusal.isTransient && batch.origin.mayLoseOutcomes, self.at)
            self.answered(batch)
        }
        for grant in ended.fenced {
            self.counts.fenced += 1
            #expect(self.machine.partitions[grant.partition] == nil, self.at)
        }
        for grant in ended.lost { #expect(self.machine.isAcquiring(grant), self.at) }
        self.sealing += ended.lost
        if ended.results.contains(where: { $0.isFailure }) { self.counts.failed += 1 }
    }

    /// Checks that each event of a batch gets exactly one outcome. A batch may be split into parts.
    private mutating func answered(_ batch: PublishBatch) {
        let left = self.open.removeValue(forKey: batch.id)
        #expect(left?.isSuperset(of: batch.events.indices) == true, "each event has one outcome: seed \(self.seed), step \(self.step)")
        if let left, left.count > batch.events.count { self.open[batch.id] = left.subtracting(batch.events.indices) }
    }

    private mutating func check(_ event: Event, _ outcome: PublishOutcome, _ formedAt: Int64) {
        let key = event.messageID.map { "\(event.channel)/\($0)" }
        switch outcome {
        case .published(let position, _):
            self.counts.published += 1
            #expect(
                self.stored[event.channel]?.contains { $0.position == position } == true, "a published event is stored: seed \(self.seed), step \(self.step)")
            if let key {
                if let first = self.firstOf[key] {
                    let isLost = self.lostEvents[event.channel]?.contains(first.position) == true
                    #expect(first.at < formedAt - self.window || isLost, "published twice: seed \(self.seed), step \(self.step)")
                }
                self.firstOf[key] = (position, formedAt)
            }
        case .duplicate(let position, _):
            self.counts.duplicates += 1
            // An id may be known for longer than the window, also if the channel was forgotten meanwhile.
            let isOld = key.flatMap { self.firstOf[$0] }.map { $0.at < formedAt - self.window } ?? false
            #expect(
                isOld || self.stored[event.channel]?.contains { $0.position == position && $0.messageID == event.messageID } == true
                    || self.lostEvents[event.channel]?.contains(position) == true
                        && (self.epochsWhenFormed[event.channel, default: 0] <= position.epoch || self.forgottenAfterLoss.contains(event.channel)),
                "a duplicate has the position of the first event: seed \(self.seed), step \(self.step)")
        case .refused(.moved): self.counts.moved += 1
        case .refused(.tooManyChannels): self.counts.refused += 1
        case .refused(.logUnavailable): break
        case .refused(let refusal):
            Issue.record("\(refusal): seed \(self.seed), step \(self.step)")
        }
    }

    // MARK: - Interest and upkeep

    private mutating func changeInterest() {
        let name = channel("c\(self.random.below(14))")
        if self.listening.remove(name) != nil {
            #expect(self.machine.interest(InterestChange(channel: name, subscribers: -1, wanted: .close), edge: 0, now: self.now) == nil, self.at)
            #expect(self.machine.channels[name]?.edges.isEmpty ?? true, self.at)
        } else {
            self.listening.insert(name)
            if let index = self.machine.interest(InterestChange(channel: name, subscribers: 1, wanted: .open), edge: 0, now: self.now) {
                let head = self.machine.channels[index].head
                if let last = self.stored[name]?.last?.position, head.epoch == last.epoch,
                    self.machine.partitions[self.machine.channels[index].partition]?.state != .doubtful,
                    !self.damaged.contains(self.machine.channels[index].partition)
                {
                    #expect(head == last, self.at)
                }
            }
            #expect(self.machine.channels[name]?.subscribers == 1, self.at)
        }
    }

    private mutating func sweep() {
        _ = self.machine.sweep(now: self.now)
        let seconds = self.machine.isPressed ? self.limits.historySecondsMax : max(self.limits.headSecondsMax, self.limits.historySecondsMax)
        let oldest = self.now - Int64(seconds) * 1000
        let old = self.remembered.filter { self.stored[$0]!.last!.at < oldest }.sorted { $0.string < $1.string }
        let pending = Set(self.isInFlight ? self.machine.commit.batch.events.map(\.event.channel) : [])
        let listening = self.listening
        let forgettable = self.machine.forgettable(old, now: self.now)
        // Publishes and edges that arrive while the log forgets.
        if self.random.chance(30) { self.publish() }
        if self.random.chance(30) { self.changeInterest() }
        if !self.isInFlight, self.random.chance(30) { self.form() }
        defer { self.machine.forgot(forgettable) }
        for (grant, channels) in forgettable where self.sealed[grant.partition] == grant.ownerEpoch {
            for name in channels {
                self.counts.forgotten += 1
                #expect(!pending.contains(name) && !listening.contains(name), "\(name) is in use: seed \(self.seed), step \(self.step)")
                self.floor = max(self.floor, self.stored[name]!.last!.position.epoch + 1)
                self.remembered.remove(name)
                if self.lostEvents[name] != nil { self.forgottenAfterLoss.insert(name) }
            }
        }
        self.machine.clearPressed()
        self.machine.remembers(self.remembered.count)
    }

    private mutating func drain() {
        // A batch without events is not counted as parked.
        for _ in 0..<1000 where !self.machine.isDrained || !self.open.isEmpty {
            self.sealing += self.machine.lost(self.machine.grants.filter { self.damaged.contains($0.partition) })
            self.seal()
            self.readHeads()
            self.form()
            if self.isInFlight { self.finish(failing: 0, doubting: 0) }
            self.repeatDoubts(failing: 0, doubting: 0)
            self.answerEndedDoubts()
        }
        #expect(self.machine.isDrained && self.open.isEmpty, self.at)
        #expect(self.machine.parkedEvents == 0 && self.machine.parkedBytes == 0, self.at)
    }
}

extension Result where Success == Void, Failure == LogError {
    /// The log has stored nothing, and the grant has not ended.
    fileprivate var isRefusal: Bool {
        if case .failure(let error) = self { error.code != .fenced && error.code != .uncertain } else { false }
    }
}

@Suite struct SequencerMachineTests {
    @Test(arguments: (1...20).map { UInt64($0) })
    func walk(seed: UInt64) {
        var walk = Walk(seed: seed)
        walk.run(steps: 6000)
        // The walk must have met every case often enough.
        let counts = walk.counts
        #expect(counts.published > 50 && counts.duplicates > 20 && counts.failed > 20 && counts.parts > 20, "seed \(seed): \(counts)")
        #expect(
            counts.forgotten > 0 && counts.refused > 0 && counts.moved > 10 && counts.fenced > 0 && counts.reads > 20 && counts.damaged > 5
                && counts.resets > 3 && counts.behindFailed > 10 && counts.doubts > 10 && counts.resolved > 5 && counts.movedDoubts > 0,
            "seed \(seed): \(counts)")
    }

    private func batch(_ id: UInt64, _ names: [String], messageID: String? = nil) -> PublishBatch {
        PublishBatch(
            id: id, events: names.map { Event(channel: channel($0), payload: ByteBuffer(string: "x"), messageID: messageID) }, origin: NoOrigin())
    }

    /// A machine that serves every partition, with a simulated log that has these heads.
    private struct Ready {
        var machine: SequencerMachine
        var heads: [ChannelName: ChannelHead] = [:]

        init(_ limits: Limits = Limits(), isSealed: Bool = true) {
            self.machine = SequencerMachine(limits: limits)
            self.machine.acquire(Grant.everyPartition())
            if isSealed { self.seal() }
        }

        mutating func seal() { self.machine.sealed(Grant.everyPartition()) }

        mutating func form(at now: Int64) -> [Position]? {
            while true {
                switch self.machine.nextCommit(now: now, stamp: now) {
                case .nothing: return nil
                case .commit: return self.machine.commit.batch.events.map(\.position)
                case .headsFirst:
                    let (places, channels) = self.machine.headsToRead(limit: 10)
                    let found = channels.map { self.heads[$0.channel] ?? ChannelHead(head: position(5, 0)) }
                    _ = self.machine.headsRead(LogHeads(heads: found, channelCount: self.heads.count), of: places, now: now)
                }
            }
        }

        mutating func end(_ result: Result<Void, LogError> = .success(())) -> [[PublishOutcome]] {
            _ = self.machine.ended(self.machine.commit.batch.grants.map { _ in result })
            defer { self.machine.finished() }
            return self.machine.commit.parts.map(\.outcomes)
        }
    }

    private static let full = Result<Void, LogError>.failure(LogError(.unavailable, "disk full"))

    @Test func severalEventsOfANewChannelCanFailTogether() {
        var ready = Ready()
        #expect(ready.machine.accept(self.batch(1, ["a", "a", "b", "a"])) == .parked)
        #expect(ready.form(at: 1)?.count == 4)
        #expect(ready.end(Self.full) == [Array(repeating: .refused(.logUnavailable("disk full")), count: 4)])
        #expect(ready.machine.channels.count == 0)
        #expect(ready.machine.accept(self.batch(2, ["a"])) == .parked)
        #expect(ready.form(at: 2) == [position(5, 1)])
    }

    @Test func publishesWaitForTheSealAndAreRefusedAfterStop() {
        var ready = Ready(isSealed: false)
        ready.heads[channel("a")] = ChannelHead(head: position(3, 7), messageIDs: [("m", position(3, 6), 0)])
        #expect(ready.machine.accept(self.batch(1, ["a"])) == .parked)
        #expect(ready.form(at: 1) == nil)
        ready.seal()
        #expect(ready.machine.accept(self.batch(2, ["a", "new"], messageID: "m")) == .parked)
        #expect(ready.form(at: 1) == [position(3, 8), position(5, 1)])
        ready.machine.stop()
        #expect(ready.machine.accept(self.batch(3, ["a"])) == .refused(.stopping))
        #expect(!ready.machine.isDrained)
        let outcomes = ready.end()
        #expect(outcomes[1][0] == .duplicate(position(3, 6), subscribers: 0))
        #expect(ready.machine.isDrained)
    }

    /// A partition that is being acquired delays only its own publishes, and these stay in order.
    @Test func acquiringAPartitionDelaysNoOtherPartition() {
        var ready = Ready()
        let partition = ready.machine.channels.partition(of: channel("a"))
        ready.machine.acquire([Grant(partition: partition, ownerEpoch: 2)])
        #expect(ready.machine.accept(self.batch(1, ["a", "b", "a"])) == .parked)
        #expect(ready.form(at: 1) == [position(5, 1)])
        #expect(ready.machine.commit.batch.events.map(\.event.channel) == [channel("b")])
        _ = ready.end()
        #expect(!ready.machine.isDrained && ready.form(at: 1) == nil)
        ready.machine.sealed([Grant(partition: partition, ownerEpoch: 2)])
        #expect(ready.form(at: 1) == [position(5, 1), position(5, 2)])
        #expect(ready.machine.commit.batch.grants == [Grant(partition: partition, ownerEpoch: 2)])
        _ = ready.end()
        #expect(ready.machine.isDrained)
    }

    /// After a loss, all heads are read again. A commit does not wait for the heads of other channels.
    @Test func theHeadsThatACommitNeedsAreReadFirst() {
        var ready = Ready()
        for number in 0..<3000 {
            _ = ready.machine.interest(InterestChange(channel: channel("c\(number)"), subscribers: 1, wanted: .open), edge: 0, now: 1)
        }
        #expect(ready.machine.accept(self.batch(1, ["c2999", "c2000"])) == .parked)
        #expect(ready.machine.nextCommit(now: 1, stamp: 1) == .headsFirst)
        let (places, channels) = ready.machine.headsToRead(limit: 1024)
        #expect(channels.map(\.channel) == [channel("c2999"), channel("c2000")])
        #expect(ready.machine.headsToRead(limit: 1024).channels.count == 1024)
        let heads = channels.map { _ in ChannelHead(head: position(5, 0)) as ChannelHead? }
        _ = ready.machine.headsRead(LogHeads(heads: heads, channelCount: 0), of: places, now: 1)
        #expect(ready.machine.nextCommit(now: 1, stamp: 1) == .commit)
    }

    /// A commit under the first grant has a result after the same grant was acquired again.
    @Test func aCommitOfAGrantThatWasAcquiredAgainDoesNotChangeHeads() {
        var ready = Ready()
        let grant = Grant(partition: ready.machine.channels.partition(of: channel("a")), ownerEpoch: 1)
        _ = ready.machine.accept(self.batch(1, ["a"]))
        #expect(ready.form(at: 1) == [position(5, 1)])
        ready.machine.release([grant])
        ready.machine.acquire([grant])
        ready.machine.sealed([grant])
        // The log has stored the event before the head is read.
        ready.heads[channel("a")] = ChannelHead(head: position(5, 1))
        _ = ready.machine.interest(InterestChange(channel: channel("a"), subscribers: 0, wanted: .open), edge: 0, now: 1)
        let (places, _) = ready.machine.headsToRead(limit: 10)
        _ = ready.machine.headsRead(LogHeads(heads: [ready.heads[channel("a")]], channelCount: 1), of: places, now: 1)
        #expect(ready.end() == [[.published(position(5, 1), subscribers: 0)]])
        #expect(ready.machine.channels[channel("a")]?.head == position(5, 1))
        _ = ready.machine.accept(self.batch(2, ["a"]))
        #expect(ready.form(at: 1) == [position(5, 2)])
    }

    @Test func aDuplicateOfAFailedEventInTheSameCommitFailsToo() {
        var ready = Ready()
        _ = ready.machine.accept(self.batch(1, ["a"], messageID: "m"))
        _ = ready.machine.accept(self.batch(2, ["a"], messageID: "m"))
        #expect(ready.form(at: 1) == [position(5, 1)])
        #expect(ready.machine.commit.parts[1].outcomes == [.duplicate(position(5, 1), subscribers: 0)])
        #expect(ready.end(Self.full) == [[.refused(.logUnavailable("disk full"))], [.refused(.logUnavailable("disk full"))]])
    }

    @Test func anEdgeListHasEachEdgeOnce() {
        var edges = EdgeList()
        #expect(edges.isEmpty && !edges.contains(0))
        for slot in [3, 0, 200, 3] { edges.insert(slot) }
        var slots: [Int] = []
        edges.forEach { slots.append($0) }
        #expect(slots == [3, 0, 200])
        edges.remove(3)
        edges.remove(7)
        slots = []
        edges.forEach { slots.append($0) }
        #expect(slots == [200, 0])
        edges.remove(0)
        edges.remove(200)
        #expect(edges.isEmpty)
    }

    @Test func messageIDWindowIsBoundedByCountAndAge() {
        var window = MessageIDWindow(countMax: 3, secondsMax: 10)
        func key(_ id: String, _ name: String = "a") -> MessageIDWindow.Key { MessageIDWindow.Key(channelHash: channel(name).hash64, messageID: id) }
        for number in 1...5 { window.insert(key("m\(number)"), position: position(1, UInt64(number)), timestamp: Int64(number) * 1000) }
        #expect(window.count == 3)
        #expect(window.position(key("m2"), in: channel("a").hash64) == nil)
        #expect(window.position(key("m3"), in: channel("a").hash64) == position(1, 3))
        #expect(window.position(key("m3", "b"), in: channel("b").hash64) == nil)
        var isMore = window.trim(now: 14_000, limit: 1)
        #expect(!isMore)
        #expect(window.position(key("m3"), in: channel("a").hash64) == nil)
        #expect(window.position(key("m4"), in: channel("a").hash64) == position(1, 4))
        isMore = window.trim(now: 60_000, limit: 1)
        #expect(isMore && window.count == 1)
        isMore = window.trim(now: 60_000, limit: 1)
        #expect(!isMore)
        #expect(window.count == 0)
    }

    /// After a take-over the channels' ids are read in any order of their ages.
    @Test func theOldestMessageIDsGoFirstAlsoIfTheyWereReadLast() {
        var window = MessageIDWindow(countMax: 4, secondsMax: 1000)
        let hash = channel("a").hash64
        func key(_ number: Int) -> MessageIDWindow.Key { MessageIDWindow.Key(channelHash: hash, messageID: "\(number)") }
        func known() -> [Int] { (0..<100).filter { window.position(key($0), in: hash) != nil } }
        window.insert(key(50), position: position(1, 50), timestamp: 50)
        for number in [40, 60, 10, 20, 30] { window.insertFound(key(number), position: position(1, UInt64(number)), timestamp: Int64(number)) }
        #expect(known() == [30, 40, 50, 60])
        window.insert(key(70), position: position(1, 70), timestamp: 70)
        #expect(known() == [40, 50, 60, 70])
        var isMore = window.trim(now: 1_000_055, limit: 1)
        #expect(isMore && known() == [50, 60, 70])
        isMore = window.trim(now: 1_000_055, limit: 10)
        #expect(!isMore && known() == [60, 70] && window.count == 2)
    }

    @Test func aChannelWithoutEventsAndEdgesIsRemoved() {
        var ready = Ready()
        let open = InterestChange(channel: channel("a"), subscribers: 2, wanted: .open)
        #expect(ready.machine.interest(open, edge: 63, now: 1) == nil)
        #expect(ready.machine.channels.count == 1 && ready.machine.hasHeadsToRead)
        #expect(ready.machine.interest(InterestChange(channel: channel("a"), subscribers: -2, wanted: .close), edge: 63, now: 1) == nil)
        #expect(ready.machine.channels.count == 0)
        #expect(ready.machine.interest(InterestChange(channel: channel("z"), subscribers: 0, wanted: .close), edge: 0, now: 1) == nil)
        #expect(ready.machine.channels.count == 0)
    }

    @Test func unusedChannelsAreRemovedInSlices() {
        var table = ChannelTable(partitions: Partitions())
        for number in 0..<100 { _ = table.touch(channel("c\(number)"), at: number % 2 == 0 ? 0 : 99_000) }
        var slices = 1
        while table.sweep(unusedSince: 50_000, count: 7) {
            slices += 1
            // New channels use the places of removed channels, before and after the place where the sweep continues.
            _ = table.touch(channel("new\(slices)"), at: 100_000)
        }
        #expect(slices == 15 && table.count == 50 + 14)
        #expect((0..<100).allSatisfy { (table[channel("c\($0)")] == nil) == ($0 % 2 == 0) })
        // A channel in use stays.
        let index = table.touch(channel("c1"), at: 0)
        table[index].edges.insert(3)
        while table.sweep(unusedSince: 1_000_000, count: 7) {}
        #expect(table.count == 1 && table[channel("c1")]?.usedAt == 0)
    }
}
