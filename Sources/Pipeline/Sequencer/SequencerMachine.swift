import DequeModule
import Partitioning

/// The sequencer's decisions: dedup, positions, what to commit next, what to answer. A pure value; ``Sequencer`` executes what it returns.
///
/// It holds one ``PartitionMachine`` for each partition it was granted. Positions are given when a commit is formed, not when a publish arrives, and one
/// commit is in flight at a time. So a commit that fails takes no position with it, and nothing is relayed or acknowledged before the log has it
/// (invariants I4 and I6).
struct SequencerMachine {
    enum State {
        /// Nothing is with the log.
        /// Can transition to: forming, committing.
        case idle
        /// The next commit waits for the heads of its channels.
        /// Can transition to: committing.
        case forming
        /// One commit is with the log.
        /// Can transition to: idle, uncertain.
        case committing
        /// The log does not know whether it has the commit. It is repeated until it does; new publishes are refused meanwhile.
        /// Can transition to: idle.
        case uncertain
    }

    /// Batches, or parts of them, on their way into the log together.
    struct Commit: Sendable {
        /// What the log stores.
        var batch = LogBatch()
        /// The channels of its events, in their order.
        var places: [ChannelTable.Index] = []
        /// Outcomes by batch, in its order; right once the commit has ended.
        var parts: [(batch: PublishBatch, outcomes: [PublishOutcome])] = []
        /// By the steady clock.
        var formedAt: Int64 = 0

        /// Events asked for, whatever becomes of them.
        var askedCount: Int { self.parts.reduce(0) { $0 + $1.batch.events.count } }
    }

    enum OnAccept: Equatable {
        /// It waits its turn. The caller asks ``nextCommit(now:stamp:)``.
        case parked
        case refused(PublishRefusal)
    }

    enum OnNextCommit: Equatable {
        /// Nothing to do now.
        case nothing
        /// The caller reads heads, then asks again.
        case headsFirst
        /// The caller gives ``commit`` to the log. One without events (all duplicates or refused) needs no log.
        case commit
    }

    /// What became of the commit in flight.
    struct Ended {
        /// Partitions whose part another owner refused: they are not this sequencer's any more.
        var fenced: [Grant] = []
        /// Events are committed, for the caller to relay.
        var isCommitted = false
    }

    private(set) var state = State.idle
    private(set) var channels: ChannelTable
    /// By partition. An array, because it is looked into for every event.
    private(set) var partitions: [PartitionMachine?]
    /// The commit in flight or in the making. Its memory is used again for the next.
    private(set) var commit = Commit()
    /// A channel of the commit is new here: its head may not be known yet.
    private var hasUnread = false
    /// Message ids of the commit that is being formed.
    private var pendingIDs: [String: [(hash: UInt64, position: Position)]] = [:]
    private var messageIDs: MessageIDWindow
    private var parked: Deque<PublishBatch> = []
    private(set) var parkedEvents = 0
    private(set) var parkedBytes = 0
    /// Partitions that are being acquired: while there are none, no batch has to be looked through for them.
    private var acquiringCount = 0
    /// What was published to them, in order.
    private var waiting: [PartitionID: Deque<PublishBatch>] = [:]
    private var isStopping = false
    /// Channels that the log remembers, as it counted last and as they were added and forgotten since.
    private var rememberedCount = 0
    /// Those that the commit in flight adds.
    private var addedCount = 0
    /// A new channel was refused since old heads were last forgotten.
    private(set) var isPressed = false
    private let limits: Limits

    init(limits: Limits, partitions: Partitions = Partitions()) {
        self.limits = limits
        self.channels = ChannelTable(partitions: partitions)
        self.partitions = Array(repeating: nil, count: partitions.count)
        self.messageIDs = MessageIDWindow(countMax: limits.messageIDsMax, secondsMax: limits.historySecondsMax)
    }

    // MARK: - Partitions

    /// Takes grants that are to be sealed. One that is held already changes nothing; one under a newer owner epoch ends the older one.
    mutating func acquire(_ grants: [Grant]) {
        for grant in grants {
            if let held = self.partitions[grant.partition] {
                guard held.grant.ownerEpoch < grant.ownerEpoch else { continue }
                self.end(grant.partition)
            }
            self.partitions[grant.partition] = PartitionMachine(grant)
            self.acquiringCount += 1
        }
    }

    /// The log is sealed under the grant: what waited for it goes its way, and its channels can be read.
    mutating func sealed(_ grant: Grant) {
        guard self.partitions[grant.partition]?.grant == grant, self.partitions[grant.partition]?.state == .acquiring else { return }
        self.partitions[grant.partition]!.sealed()
        self.parkWaiting(grant.partition)
        self.channels.readAll(of: grant.partition)
    }

    /// Commits nothing more under these grants but what is with the log already.
    mutating func handOver(_ grants: [Grant]) {
        for grant in grants where self.partitions[grant.partition]?.grant == grant {
            if self.partitions[grant.partition]!.state == .acquiring { self.parkWaiting(grant.partition) }
            self.partitions[grant.partition]!.handOver()
        }
    }

    /// What is served.
    var grants: [Grant] { self.partitions.compactMap { $0?.isServing == true ? $0?.grant : nil } }

    /// Under what a channel is served; nil when it is not.
    func grant(of channel: ChannelName) -> Grant? {
        self.partitions[self.channels.partition(of: channel)].flatMap { $0.isServing ? $0.grant : nil }
    }

    /// Whether nothing is committed under this grant any more.
    func isRelinquished(_ grant: Grant) -> Bool {
        guard let held = self.partitions[grant.partition], held.grant == grant else { return true }
        return held.state == .relinquished
    }

    /// Ends these grants. Newer ones of the same partitions stay.
    mutating func release(_ grants: [Grant]) {
        for grant in grants where self.partitions[grant.partition]?.grant == grant {
            self.end(grant.partition)
            // A commit that is with the log still names it; the log's result for it is then ignored.
            self.partitions[grant.partition] = nil
        }
    }

    private mutating func end(_ partition: PartitionID) {
        if self.partitions[partition]!.state == .acquiring { self.parkWaiting(partition) }
        self.partitions[partition]!.relinquish()
        self.channels.invalidate(partition)
    }

    /// What waited for the seal gets in line. If the seal does not come, it is refused when its turn comes.
    private mutating func parkWaiting(_ partition: PartitionID) {
        self.acquiringCount -= 1
        self.parked.append(contentsOf: self.waiting.removeValue(forKey: partition) ?? [])
    }

    /// Takes nothing new from here on; what waits is still committed.
    mutating func stop() {
        self.isStopping = true
    }

    /// Whether everything that was accepted has been answered.
    var isDrained: Bool {
        switch self.state {
        case .idle: self.parkedEvents == 0
        case .forming, .committing, .uncertain: false
        }
    }

    // MARK: - Heads

    /// Channels to read from the log, at most so many.
    mutating func headsToRead(limit: Int) -> (places: [ChannelTable.Index], channels: [ChannelOfPartition]) {
        let partitions = self.partitions
        let places = self.channels.takeToRead(limit) { partitions[$0]?.isServing ?? false }
        return (places, places.map { ChannelOfPartition(self.channels.name(of: $0)!, partitions[self.channels[$0].partition]!.grant) })
    }

    var hasHeadsToRead: Bool { self.channels.hasToRead }

    /// What the log said of heads.
    struct HeadsRead {
        /// Edges listen to these, for the caller to open.
        var opened: [ChannelTable.Index] = []
        /// Another owner has taken these over: they are not this sequencer's any more.
        var fenced: [Grant] = []
    }

    /// The log has said where the channels stand.
    mutating func headsRead(_ heads: LogHeads, of places: [ChannelTable.Index]) -> HeadsRead {
        self.rememberedCount = heads.channelCount
        var read = HeadsRead()
        // A place whose partition has gone meanwhile is not `reading` any more.
        for (index, found) in zip(places, heads.heads) where self.channels[index].reading == .reading {
            guard let found else {
                if let grant = self.partitions[self.channels[index].partition]?.grant {
                    self.channels[index].reading = .wanted
                    self.release([grant])
                    read.fenced.append(grant)
                }
                continue
            }
            let hash = self.channels[index].hash
            self.channels[index].head = found.head
            self.channels[index].reading = .done
            for (messageID, position, timestamp) in found.messageIDs {
                self.messageIDs.insert(messageID, in: hash, position: position, timestamp: timestamp)
            }
            if self.channels[index].edges.isEmpty { self.removeIfBlank(index) } else { read.opened.append(index) }
        }
        return read
    }

    /// The log could not say. Publishes to these channels are refused; edges wait until ``retryReading(_:)``.
    mutating func readingFailed(_ places: [ChannelTable.Index], _ message: String) {
        for index in places where self.channels[index].reading == .reading { self.channels[index].reading = .failed(message) }
    }

    /// Reads those again that edges wait for.
    mutating func retryReading(_ places: [ChannelTable.Index]) {
        for index in places {
            guard case .failed = self.channels[index].reading, self.channels.name(of: index) != nil else { continue }
            if !self.channels[index].edges.isEmpty { self.channels.readAgain(index) }
        }
    }

    // MARK: - Interest

    /// Returns the channel's place where the edge asked to open and the head is known; otherwise the head is read, and the edge hears of it then.
    mutating func interest(_ change: InterestChange, edge slot: Int, now: Int64) -> ChannelTable.Index? {
        guard change.wanted == .open || change.subscribers != 0 || self.channels[change.channel] != nil else { return nil }
        let index = self.channels.touch(change.channel, at: now)
        self.channels[index].subscribers += change.subscribers
        switch change.wanted {
        case .open:
            self.channels[index].edges.insert(slot)
            switch self.channels[index].reading {
            case .done where self.partitions[self.channels[index].partition]?.isServing ?? false: return index
            case .done, .wanted, .reading: return nil
            case .failed:
                self.channels.readAgain(index)
                return nil
            }
        case .close: self.channels[index].edges.remove(slot)
        case .unchanged: break
        }
        self.removeIfBlank(index)
        return nil
    }

    /// A channel without events and without anyone: a client that names channels leaves nothing behind.
    private mutating func removeIfBlank(_ index: ChannelTable.Index) {
        let state = self.channels[index]
        if state.isIdle, state.head.offset == 0, let name = self.channels.name(of: index) { _ = self.channels.letGo(name) }
    }

    // MARK: - Upkeep

    /// Message ids age, and channels that have not been used leave the table. A slice at a time: true when there is more to do now.
    mutating func sweep(now: Int64) -> Bool {
        let hasOldIDs = self.messageIDs.trim(now: now, limit: Slices.channelsMax)
        let hasUnseen = self.channels.sweep(unusedSince: now - Int64(self.limits.historySecondsMax) * 1000, count: Slices.channelsMax)
        return hasOldIDs || hasUnseen
    }

    /// Of these channels those that may be forgotten, by grant: their partitions are served here, and they are not in use. They are removed from the table.
    mutating func forgettable(_ channels: [ChannelName]) -> [Grant: [ChannelName]] {
        var forgettable: [Grant: [ChannelName]] = [:]
        for channel in channels {
            guard let held = self.partitions[self.channels.partition(of: channel)], held.isServing, self.channels.letGo(channel) else { continue }
            forgettable[held.grant, default: []].append(channel)
        }
        return forgettable
    }

    /// Old heads have been forgotten, and the log remembers this many channels now.
    mutating func forgot(remembered count: Int) {
        self.rememberedCount = count
        self.isPressed = false
    }

    var messageIDCount: Int { self.messageIDs.count }

    // MARK: - Publishing

    mutating func accept(_ batch: PublishBatch) -> OnAccept {
        if self.isStopping { return .refused(.stopping) }
        if case .uncertain = self.state { return .refused(Self.uncertain) }
        let bytes = batch.events.reduce(0) { $0 + $1.accountedBytes }
        // One batch is taken whatever its size, or it would never be taken; the size of a request has its own bound.
        guard
            self.parkedEvents == 0
                || (self.parkedEvents + batch.events.count <= self.limits.parkedPublishesMax && self.parkedBytes + bytes <= self.limits.parkedBytesMax)
        else { return .refused(.overloaded) }
        self.parkedEvents += batch.events.count
        self.parkedBytes += bytes
        if self.acquiringCount == 0 { self.parked.append(batch) } else { self.park(runsOf: batch) }
        return .parked
    }

    /// While partitions are being acquired, each run of events of one partition waits in its own place.
    private mutating func park(runsOf batch: PublishBatch) {
        if batch.events.isEmpty { self.parked.append(batch) }
        var rest = batch
        while let first = rest.events.first {
            let partition = self.channels.partition(of: first.channel)
            let count = rest.events.prefix { self.channels.partition(of: $0.channel) == partition }.count
            let run = rest.removePart(count)
            if self.partitions[partition]?.state == .acquiring { self.waiting[partition, default: []].append(run) } else { self.parked.append(run) }
        }
    }

    /// Forms the next commit out of what waits, if none is in flight.
    ///
    /// - Parameters:
    ///   - now: the steady clock's time, from which ages count.
    ///   - stamp: the time of day, which its events carry.
    mutating func nextCommit(now: Int64, stamp: Int64) -> OnNextCommit {
        switch self.state {
        case .committing, .uncertain: return .nothing
        case .idle:
            guard !self.parked.isEmpty else { return .nothing }
            self.gather(now: now)
            self.state = .forming
        case .forming: break
        }
        if self.hasUnread {
            self.hasUnread = self.commit.places.contains { self.isUnread($0) }
            if self.hasUnread { return .headsFirst }
        }
        self.sequence(now: now, stamp: stamp)
        self.state = .committing
        return .commit
    }

    /// Its head is not known, and will be: a partition that is not served is not read, and its events are refused.
    private func isUnread(_ index: ChannelTable.Index) -> Bool {
        switch self.channels[index].reading {
        case .wanted, .reading: self.partitions[self.channels[index].partition]?.isServing ?? false
        case .done, .failed: false
        }
    }

    /// Takes what the commit is made of, and finds the place of each event's channel.
    private mutating func gather(now: Int64) {
        // Duplicates and refusals take no room in a commit, but time; so they count.
        var room = self.limits.commitEventsMax
        while room > 0, let batch = self.nextPart(room) {
            room -= batch.events.count
            self.parkedEvents -= batch.events.count
            for event in batch.events {
                self.parkedBytes -= event.accountedBytes
                let index = self.channels.touch(event.channel, at: now)
                self.channels[index].forming += 1
                switch self.channels[index].reading {
                case .done: break
                case .wanted, .reading: self.hasUnread = true
                case .failed:
                    self.channels.readAgain(index)
                    self.hasUnread = true
                }
                self.commit.places.append(index)
            }
            self.commit.parts.append((batch, []))
        }
    }

    /// The batch whose turn it is. One that is larger than a commit goes in parts, so that no other waits for more than a commit; the rest is
    /// a batch of its own, and may have another outcome.
    private mutating func nextPart(_ room: Int) -> PublishBatch? {
        guard let batch = self.parked.first else { return nil }
        if batch.events.count <= room { return self.parked.removeFirst() }
        return batch.events.count <= self.limits.commitEventsMax ? nil : self.parked[0].removePart(room)
    }

    private mutating func sequence(now: Int64, stamp: Int64) {
        self.commit.formedAt = now
        self.pendingIDs.removeAll(keepingCapacity: true)
        var sequenced = 0
        var asked = 0
        for part in self.commit.parts.indices {
            let events = self.commit.parts[part].batch.events
            var outcomes: [PublishOutcome] = []
            outcomes.reserveCapacity(events.count)
            for event in events {
                let index = self.commit.places[asked]
                asked += 1
                let outcome = self.sequence(event, at: index, stamp: stamp)
                self.channels[index].forming -= 1
                // The places of the events that go into the log move to the front.
                if case .published = outcome {
                    self.commit.places[sequenced] = index
                    sequenced += 1
                } else {
                    self.removeIfBlank(index)
                }
                outcomes.append(outcome)
            }
            self.commit.parts[part].outcomes = outcomes
        }
        self.commit.places.removeLast(asked - sequenced)
    }

    private mutating func sequence(_ event: Event, at index: ChannelTable.Index, stamp: Int64) -> PublishOutcome {
        let partition = self.channels[index].partition
        let subscribers = self.channels[index].subscribers
        guard self.partitions[partition]?.isServing ?? false else { return .refused(.moved) }
        if case .failed(let message) = self.channels[index].reading { return .refused(.logUnavailable(message)) }
        if let messageID = event.messageID {
            let hash = self.channels[index].hash
            let pending = self.pendingIDs[messageID]?.first { $0.hash == hash }?.position
            if let position = pending ?? self.messageIDs.position(messageID, in: hash) { return .duplicate(position, subscribers: subscribers) }
        }
        let head = self.channels[index].head
        if head.offset == 0, self.channels[index].inFlight == 0 {
            guard self.rememberedCount + self.addedCount < self.limits.channelsMax else {
                self.isPressed = true
                return .refused(.tooManyChannels)
            }
            self.addedCount += 1
        }
        self.channels[index].inFlight += 1
        let position = Position(epoch: head.epoch, offset: head.offset + self.channels[index].inFlight)
        if let messageID = event.messageID { self.pendingIDs[messageID, default: []].append((self.channels[index].hash, position)) }
        self.commit.batch.add(SequencedEvent(event: event, position: position, timestamp: stamp), grantIndex: self.grantIndex(of: partition))
        return .published(position, subscribers: subscribers)
    }

    private mutating func grantIndex(of partition: PartitionID) -> UInt16 {
        if let index = self.partitions[partition]!.grantIndex { return index }
        let index = self.commit.batch.add(self.partitions[partition]!.grant)
        self.partitions[partition]!.joined(as: index)
        return index
    }

    // MARK: - What the log said

    /// The log has answered for each partition of the commit. Heads of what it has move on, positions of what it has not are free again, and the outcomes
    /// are right. The caller acknowledges and relays, then calls ``finished()``.
    mutating func ended(_ results: [Result<Void, LogError>]) -> Ended {
        switch self.state {
        case .committing, .uncertain: self.state = .idle
        case .idle, .forming: preconditionFailure("The log answers only what was asked of it")
        }
        self.addedCount = 0
        var ended = Ended()
        // A grant that has ended meanwhile, or has become a newer one: its channels are read again, from what the log has.
        let isHeld = self.commit.batch.grants.map { self.partitions[$0.partition]?.grant == $0 }
        for (index, grant) in self.commit.batch.grants.enumerated() where isHeld[index] {
            self.partitions[grant.partition]!.commitEnded()
            if case .failure(let error) = results[index], error.code == .fenced { ended.fenced.append(grant) }
        }
        var hasFailed = false
        for (number, index) in self.commit.places.enumerated() {
            let grantIndex = Int(self.commit.batch.grantIndices[number])
            self.channels[index].inFlight -= 1
            if case .success = results[grantIndex] {
                self.committed(number, at: index, isHeld: isHeld[grantIndex])
                ended.isCommitted = true
            } else {
                hasFailed = true
                self.removeIfBlank(index)
            }
        }
        if hasFailed { self.refuseFailed(results) }
        self.release(ended.fenced)
        return ended
    }

    /// Nothing of the commit is needed any more.
    mutating func finished() {
        self.commit.batch.removeAll()
        self.commit.places.removeAll(keepingCapacity: true)
        self.commit.parts.removeAll(keepingCapacity: true)
    }

    private mutating func committed(_ number: Int, at index: ChannelTable.Index, isHeld: Bool) {
        let position = self.commit.batch.events[number].position
        if isHeld {
            let head = self.channels[index].head
            precondition(position == head.next, "\(position) does not follow \(head)")
            if head.offset == 0 { self.rememberedCount += 1 }
            self.channels[index].head = position
        }
        if let messageID = self.commit.batch.events[number].event.messageID {
            self.messageIDs.insert(messageID, in: self.channels[index].hash, position: position, timestamp: self.commit.formedAt)
        }
    }

    /// Outcomes of a commit of which not everything was stored.
    private mutating func refuseFailed(_ results: [Result<Void, LogError>]) {
        var refusals: [PartitionID: PublishRefusal] = [:]
        for (grant, result) in zip(self.commit.batch.grants, results) {
            guard case .failure(let error) = result else { continue }
            refusals[grant.partition] = error.code == .fenced ? .moved : .logUnavailable(error.message)
        }
        for part in self.commit.parts.indices {
            let events = self.commit.parts[part].batch.events
            self.commit.parts[part].outcomes = zip(events, self.commit.parts[part].outcomes).map { event, outcome in
                guard let refusal = refusals[self.channels.partition(of: event.channel)] else { return outcome }
                switch outcome {
                case .published:
                    return .refused(refusal)
                case .duplicate where event.messageID.flatMap({ self.messageIDs.position($0, in: event.channel.hash64) }) == nil:
                    // A duplicate of an event of this same commit.
                    return .refused(refusal)
                case .duplicate, .refused:
                    return outcome
                }
            }
        }
    }

    /// It is not known whether the log has the commit: it stays in flight, to be repeated. Returns the batches that waited behind it, for the
    /// caller to refuse: they have no positions yet, and it is not known how long this lasts.
    mutating func becameUncertain() -> [PublishBatch] {
        guard case .committing = self.state else { return [] }
        self.state = .uncertain
        let batches = Array(self.parked)
        self.parked.removeAll()
        for batch in batches {
            self.parkedEvents -= batch.events.count
            self.parkedBytes -= batch.events.reduce(0) { $0 + $1.accountedBytes }
        }
        return batches
    }

    static let uncertain = PublishRefusal.logUnavailable("the log does not answer; publish again with the same message id")
}
