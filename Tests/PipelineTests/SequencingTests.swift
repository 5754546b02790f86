import NIOCore
import TestKit
import Testing

@testable import Pipeline

private struct NoOrigin: PublishOrigin {
    func published(_ outcomes: [PublishOutcome], batch: UInt64, from index: Int) {}
}

/// Publishes, commits that fail or are uncertain, sweeps and interest at random, held against what a log would hold.
private struct Walk {
    var random: SplitMix
    let seed: UInt64
    let limits: Limits
    var machine: Sequencing
    var now: Int64 = 1_000_000
    /// What is stored, in order.
    var stored: [ChannelName: [Position]] = [:]
    var firstOf: [String: (position: Position, at: Int64)] = [:]
    /// Which events of a batch are not answered yet.
    var open: [UInt64: Set<Int>] = [:]
    var nextBatch: UInt64 = 0
    var inFlight: Sequencing.Commit?
    /// What the events of the commit in flight are dated.
    var formedAt: Int64 = 0
    var isUncertain = false
    var forgottenEpochs: [ChannelName: UInt64] = [:]
    var listening: Set<ChannelName> = []
    var step = 0
    var counts = (published: 0, duplicates: 0, failed: 0, forgotten: 0, refused: 0, parts: 0)

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
        self.machine = Sequencing(limits: limits)
        self.machine.sealed(LogContents(epochFloor: 1))
    }

    var at: Comment { "seed \(self.seed), step \(self.step)" }

    mutating func run(steps: Int) {
        for _ in 0..<steps {
            self.step += 1
            self.now += Int64(self.random.chance(3) ? 12_000 : self.random.below(40))
            switch self.random.below(12) {
            case 0..<5: self.publish()
            case 5..<7: self.form()
            case 7..<9: self.answerLog()
            case 9: self.changeInterest()
            default: self.sweep()
            }
        }
        self.drain()
    }

    private mutating func publish() {
        let events = (0..<self.random.below(self.random.chance(10) ? 30 : 6)).map { _ in
            let name = channel("c\(self.random.below(14))")
            return Event(
                channel: name, payload: ByteBuffer(string: "x"), messageID: self.random.chance(50) ? "m\(self.random.below(30))" : nil)
        }
        let batch = PublishBatch(id: self.nextBatch, events: events, origin: NoOrigin())
        self.nextBatch += 1
        let bytes = self.machine.parkedBytes + events.reduce(0) { $0 + $1.cost }
        let fits =
            self.machine.parkedEvents == 0
            || self.machine.parkedEvents + events.count <= self.limits.parkedPublishesMax && bytes <= self.limits.parkedBytesMax
        switch self.machine.accept(batch) {
        case .parked:
            #expect(fits && !self.isUncertain, self.at)
            self.open[batch.id] = Set(events.indices)
        case .refused(.overloaded):
            #expect(!fits, self.at)
            self.counts.refused += 1
        case .refused(let refusal):
            #expect(self.isUncertain, "\(refusal): seed \(self.seed), step \(self.step)")
        }
    }

    private mutating func form() {
        guard let commit = self.machine.nextCommit(now: self.now, stamp: self.now) else { return }
        #expect(self.inFlight == nil, "one commit is in flight at a time: seed \(self.seed), step \(self.step)")
        #expect(commit.askedCount <= self.limits.commitEventsMax, self.at)
        if commit.batches.contains(where: { $0.batch.events.startIndex > 0 }) { self.counts.parts += 1 }
        self.inFlight = commit
        self.formedAt = self.now
    }

    private mutating func answerLog() {
        guard let commit = self.inFlight else { return }
        if commit.events.isEmpty || self.random.chance(60) {
            self.inFlight = nil
            self.isUncertain = false
            self.store(commit)
            self.finish(self.machine.committed(), stored: true)
        } else if !self.isUncertain, self.random.chance(50) {
            for batch in self.machine.becameUncertain() {
                self.answered(batch)
            }
            #expect(self.machine.parkedEvents == 0 && self.machine.parkedBytes == 0, self.at)
            self.isUncertain = true
        } else if self.random.chance(50) {
            self.inFlight = nil
            self.isUncertain = false
            self.counts.failed += 1
            self.finish(self.machine.failed("disk full"), stored: false)
        }
    }

    /// The log's rule: positions continue what is there, and a new epoch begins at 1.
    private mutating func store(_ commit: Sequencing.Commit) {
        for event in commit.events {
            let name = event.event.channel
            if let last = self.stored[name]?.last, last.epoch == event.position.epoch {
                #expect(event.position == last.next, self.at)
            } else {
                #expect(event.position.offset == 1, self.at)
                #expect(event.position.epoch > self.stored[name]?.last?.epoch ?? 0, self.at)
                #expect(event.position.epoch > self.forgottenEpochs[name] ?? 0, self.at)
            }
            self.stored[name, default: []].append(event.position)
        }
    }

    private mutating func finish(_ commit: Sequencing.Commit, stored: Bool) {
        for (batch, outcomes) in commit.batches {
            self.answered(batch)
            #expect(batch.events.count == outcomes.count, self.at)
            for (event, outcome) in zip(batch.events, outcomes) { self.check(event, outcome, stored: stored) }
        }
    }

    /// Each event once, in one part of its batch or another.
    private mutating func answered(_ batch: PublishBatch) {
        let left = self.open.removeValue(forKey: batch.id)
        #expect(left?.isSuperset(of: batch.events.indices) == true, "answered once: seed \(self.seed), step \(self.step)")
        if let left, left.count > batch.events.count { self.open[batch.id] = left.subtracting(batch.events.indices) }
    }

    private mutating func check(_ event: Event, _ outcome: PublishOutcome, stored: Bool) {
        let key = event.messageID.map { "\(event.channel)/\($0)" }
        switch outcome {
        case .published(let position, _):
            self.counts.published += 1
            #expect(stored && self.stored[event.channel]?.contains(position) == true, "published only what is stored: seed \(self.seed), step \(self.step)")
            if let key {
                if let first = self.firstOf[key] {
                    #expect(first.at < self.formedAt - Int64(self.limits.historySecondsMax) * 1000, "published twice: seed \(self.seed), step \(self.step)")
                }
                self.firstOf[key] = (position, self.formedAt)
            }
        case .duplicate(let position, _):
            self.counts.duplicates += 1
            #expect(key.flatMap { self.firstOf[$0]?.position } == position, "the first one's position: seed \(self.seed), step \(self.step)")
        case .refused(.tooManyChannels):
            self.counts.refused += 1
        case .refused(.logUnavailable):
            #expect(!stored, self.at)
        case .refused(let refusal):
            Issue.record("\(refusal): seed \(self.seed), step \(self.step)")
        }
    }

    private mutating func changeInterest() {
        let name = channel("c\(self.random.below(14))")
        if self.listening.remove(name) != nil {
            #expect(self.machine.interest(InterestChange(channel: name, subscribers: -1, wanted: .close), edge: 0) == nil, self.at)
            #expect(self.machine.channels.edges(of: name) == 0, self.at)
        } else {
            self.listening.insert(name)
            let head = self.machine.interest(InterestChange(channel: name, subscribers: 1, wanted: .open), edge: 0)
            #expect(head == self.machine.channels.head(of: name), self.at)
            if let last = self.stored[name]?.last, head?.epoch == last.epoch { #expect(head == last, self.at) }
            #expect(self.machine.channels.subscribers(of: name) == 1, self.at)
        }
    }

    private mutating func sweep() {
        let pending = Set((self.inFlight?.events ?? []).map(\.event.channel))
        for name in self.machine.sweep(now: self.now).forgotten {
            self.counts.forgotten += 1
            #expect(!pending.contains(name) && !self.listening.contains(name), "\(name) is in use: seed \(self.seed), step \(self.step)")
            if let last = self.stored[name]?.last { self.forgottenEpochs[name] = last.epoch }
            #expect(self.machine.channels.epochFloor > self.forgottenEpochs[name] ?? 0, self.at)
        }
    }

    private mutating func drain() {
        for _ in 0..<1000 where !self.machine.isDrained {
            self.form()
            guard let commit = self.inFlight else { continue }
            self.inFlight = nil
            self.isUncertain = false
            self.store(commit)
            self.finish(self.machine.committed(), stored: true)
        }
        #expect(self.machine.isDrained && self.open.isEmpty, self.at)
        #expect(self.machine.parkedEvents == 0 && self.machine.parkedBytes == 0, self.at)
    }
}

@Suite struct SequencingTests {
    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] as [UInt64])
    func walk(seed: UInt64) {
        var walk = Walk(seed: seed)
        walk.run(steps: 4000)
        // A walk that meets nothing shows nothing.
        let counts = walk.counts
        #expect(counts.published > 50 && counts.duplicates > 20 && counts.failed > 20, "seed \(seed): \(counts)")
        #expect(counts.forgotten > 0 && counts.refused > 0 && counts.parts > 20, "seed \(seed): \(counts)")
    }

    private func batch(_ id: UInt64, _ names: [String], messageID: String? = nil) -> PublishBatch {
        PublishBatch(
            id: id, events: names.map { Event(channel: channel($0), payload: ByteBuffer(string: "x"), messageID: messageID) }, origin: NoOrigin())
    }

    private func ready(_ limits: Limits = Limits()) -> Sequencing {
        var machine = Sequencing(limits: limits)
        machine.sealed(LogContents(epochFloor: 1))
        return machine
    }

    @Test func severalEventsOfANewChannelCanFailTogether() {
        var machine = self.ready()
        #expect(machine.accept(self.batch(1, ["a", "a", "b", "a"])) == .parked)
        #expect(machine.nextCommit(now: 1, stamp: 1)?.events.count == 4)
        let failed = machine.failed("disk full")
        #expect(failed.batches[0].outcomes == Array(repeating: .refused(.logUnavailable("disk full")), count: 4))
        #expect(machine.channels.count == 0)
        #expect(machine.accept(self.batch(2, ["a"])) == .parked)
        #expect(machine.nextCommit(now: 2, stamp: 2)?.events.map(\.position) == [position(1, 1)])
    }

    @Test func waitsForTheSealAndStopsForGood() {
        var machine = Sequencing(limits: Limits())
        #expect(machine.accept(self.batch(1, ["a"])) == .parked)
        #expect(machine.nextCommit(now: 1, stamp: 1) == nil)
        machine.sealed(
            LogContents(
                heads: [(channel("a"), position(3, 7), 0)], messageIDs: [(channel("a"), "m", position(3, 6), 0)], epochFloor: 5))
        #expect(machine.accept(self.batch(2, ["a", "new"], messageID: "m")) == .parked)
        let commit = machine.nextCommit(now: 1, stamp: 1)
        #expect(commit?.events.map(\.position) == [position(3, 8), position(5, 1)])
        machine.stop()
        #expect(machine.accept(self.batch(3, ["a"])) == .refused(.stopping))
        #expect(!machine.isDrained)
        let outcomes = machine.committed().batches.map(\.outcomes)
        #expect(outcomes[1][0] == .duplicate(position(3, 6), subscribers: 0))
        #expect(machine.isDrained)
    }

    @Test func aDuplicateOfWhatFailedInTheSameCommitFailsToo() {
        var machine = self.ready()
        _ = machine.accept(self.batch(1, ["a"], messageID: "m"))
        _ = machine.accept(self.batch(2, ["a"], messageID: "m"))
        #expect(machine.nextCommit(now: 1, stamp: 1)?.batches[1].outcomes == [.duplicate(position(1, 1), subscribers: 0)])
        #expect(machine.failed("x").batches.map(\.outcomes) == [[.refused(.logUnavailable("x"))], [.refused(.logUnavailable("x"))]])
    }

    @Test func messageIDWindowIsBoundedByCountAndAge() {
        var window = MessageIDWindow(countMax: 3, secondsMax: 10)
        for number in 1...5 { window.insert("m\(number)", in: channel("a"), position: position(1, UInt64(number)), timestamp: Int64(number) * 1000) }
        #expect(window.count == 3)
        #expect(window.position("m2", in: channel("a")) == nil)
        #expect(window.position("m3", in: channel("a")) == position(1, 3))
        #expect(window.position("m3", in: channel("b")) == nil)
        var isMore = window.trim(now: 14_000, limit: 1)
        #expect(!isMore)
        #expect(window.position("m3", in: channel("a")) == nil)
        #expect(window.position("m4", in: channel("a")) == position(1, 4))
        isMore = window.trim(now: 60_000, limit: 1)
        #expect(isMore && window.count == 1)
        isMore = window.trim(now: 60_000, limit: 1)
        #expect(!isMore)
        #expect(window.count == 0)
    }

    @Test func channelTableGivesBackAndForgets() {
        var table = ChannelTable()
        var limits = Limits()
        limits.headSecondsMax = 10
        limits.historySecondsMax = 5
        #expect(table.take(channel("a"), channelsMax: 1)?.0 == position(1, 1))
        #expect(table.take(channel("b"), channelsMax: 1) == nil)
        let event = sequenced("a", position(1, 1), [])
        table.commit(event, at: event.timestamp)
        #expect(table.head(of: channel("a")) == position(1, 1))
        var forgotten = table.sweep(now: 100_000, limits: limits, count: 10).forgotten
        #expect(forgotten == [channel("a")])
        #expect(table.head(of: channel("a")) == position(2, 0))
        #expect(table.interest(InterestChange(channel: channel("a"), subscribers: 2, wanted: .open), edge: 63) == position(2, 0))
        #expect(table.edges(of: channel("a")) == 1 << 63)
        forgotten = table.sweep(now: 1_000_000, limits: limits, count: 10).forgotten
        #expect(forgotten == [])
        #expect(table.interest(InterestChange(channel: channel("a"), subscribers: -2, wanted: .close), edge: 63) == nil)
        #expect(table.count == 0)
        #expect(table.interest(InterestChange(channel: channel("z"), subscribers: 0, wanted: .close), edge: 0) == nil)
        #expect(table.count == 0)
    }

    @Test func channelTableIsSweptInSlices() {
        var table = ChannelTable()
        var limits = Limits()
        limits.headSecondsMax = 10
        limits.historySecondsMax = 5
        for number in 0..<100 { table.restore(channel("c\(number)"), head: position(UInt64(number + 1), 1), timestamp: number % 2 == 0 ? 0 : 99_000) }
        var forgotten: [ChannelName] = []
        var slices = 0
        var isMore = true
        while isMore {
            let slice = table.sweep(now: 100_000, limits: limits, count: 7)
            #expect(slice.forgotten.count <= 7)
            forgotten += slice.forgotten
            isMore = slice.isMore
            slices += 1
            // New ones take the places of those that are gone, before and behind where it goes on.
            if isMore { _ = table.take(channel("new\(slices)"), channelsMax: 1000) }
        }
        #expect(slices == 15)
        #expect(Set(forgotten) == Set((0..<50).map { channel("c\($0 * 2)") }) && forgotten.count == 50)
        #expect(table.epochFloor == 100)
        #expect(table.rememberedCount == 50 + 14 && table.count == 64)
        // Not again at once, and in a while from the beginning.
        isMore = table.sweep(now: 104_999, limits: limits, count: 7).isMore
        #expect(!isMore)
        let next = table.sweep(now: 105_000, limits: limits, count: 7)
        #expect(next.isMore && next.forgotten == [])
    }
}
