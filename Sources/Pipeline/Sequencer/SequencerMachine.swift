import DequeModule
import Partitioning

/// The sequencer's decisions: which publishes are duplicates, which positions events get, what the next commit contains, which outcomes publishers get.
/// A pure value; ``Sequencer`` executes its decisions.
///
/// The machine holds one ``PartitionMachine`` for each granted partition. An event gets its position when its commit is formed, not when it arrives. Only one
/// commit is in flight at a time. So a failed commit uses up no position, and nothing is relayed or acknowledged before the log has stored it.
struct SequencerMachine {
    enum State {
        /// No commit is in flight.
        /// Can transition to: forming, committing.
        case idle
        /// The next commit waits for the heads of its channels.
        /// Can transition to: committing.
        case forming
        /// The log is storing a commit.
        /// Can transition to: idle.
        case committing
    }

    /// Batches, or parts of batches, that the log stores together.
    struct Commit: Sendable {
        /// The events that the log stores, without duplicates and refused events.
        var batch = LogBatch()
        /// The serial of the partition's machine, for each grant of `batch`.
        var serials: [UInt64] = []
        /// The channel of each event of `batch`, as a place in the table.
        var places: [ChannelTable.Index] = []
        /// The message id of each event of `batch`.
        var keys: [MessageIDWindow.Key?] = []
        /// Each batch with the outcomes of its events, in their order. Valid when the commit has ended.
        var parts: [(batch: PublishBatch, outcomes: [PublishOutcome])] = []
        /// When the commit was formed, by the steady clock.
        var formedAt: Int64 = 0
        /// Partitions with an event that was refused because the head of its channel could not be read.
        var unreadable: [PartitionID: PublishRefusal] = [:]

        /// The number of published events, including duplicates and refused events.
        var publishedCount: Int { self.parts.reduce(0) { $0 + $1.batch.events.count } }
    }

    enum OnAccept: Equatable {
        /// The batch waits. The caller calls ``nextCommit(now:stamp:)``.
        case parked
        case refused(PublishRefusal)
    }

    enum OnNextCommit: Equatable {
        /// Nothing to do now.
        case nothing
        /// The caller reads heads, then calls again.
        case headsFirst
        /// The caller appends ``commit`` to the log, unless its batch is empty: then all its events were duplicates or refused.
        case commit
    }

    /// The result of a commit.
    struct Ended {
        /// Partitions whose events the log refused, because another node owns them now. These partitions have been released.
        var fenced: [Grant] = []
        /// The log has lost data of these partitions. The caller seals them again.
        var lost: [Grant] = []
        /// Publishes of other nodes that were parked behind events that the log has not stored. The caller refuses them.
        var behindFailed: [(batch: PublishBatch, refusal: PublishRefusal)] = []
        /// The log's results for the grants of the commit. Grants in doubt are in the commit no longer.
        var results: [Result<Void, LogError>] = []
        /// True if at least one event is committed. The caller then relays the commit.
        var isCommitted = false
    }

    private(set) var state = State.idle
    var channels: ChannelTable
    /// Indexed by partition. An array, because every event reads it.
    var partitions: [PartitionMachine?]
    /// The commit that is being formed, or is in flight. Its memory is reused for the next one.
    var commit = Commit()
    /// Commits of one partition each, which may or may not be stored. See `SequencerMachine+Doubt`.
    var doubts: [Commit] = []
    /// Commits in doubt whose grants have ended, with outcomes. See ``takeEndedDoubts()``.
    var endedDoubts: [Commit] = []
    private var lastSerial: UInt64 = 0
    /// True if a channel of the commit is new in the table, so that its head may be unknown.
    private var hasUnread = false
    /// Message ids of the commit that is being formed.
    private var pendingIDs: [MessageIDWindow.Key: Position] = [:]
    private var messageIDs: MessageIDWindow
    private var parked: Deque<PublishBatch> = []
    private(set) var parkedEvents = 0
    private(set) var parkedBytes = 0
    /// Partitions that are being acquired. While it is 0, batches need no check for such partitions.
    private var acquiringCount = 0
    /// Publishes to partitions that are being acquired, in the order of their arrival.
    private var waiting: [PartitionID: Deque<PublishBatch>] = [:]
    private var isStopping = false
    /// The number of channels that the log remembers: its last count, plus the channels added since.
    private var rememberedCount = 0
    /// The number of new channels in the commit in flight.
    private var addedCount = 0
    /// True if a new channel was refused since the last ``clearPressed()``.
    private(set) var isPressed = false
    private let limits: Limits

    init(limits: Limits, partitions: Partitions = Partitions()) {
        self.limits = limits
        self.channels = ChannelTable(partitions: partitions)
        self.partitions = Array(repeating: nil, count: partitions.count)
        self.messageIDs = MessageIDWindow(countMax: limits.messageIDsMax, secondsMax: limits.historySecondsMax)
    }

    // MARK: - Partitions

    /// Adds grants, which the caller then seals. A grant that is held already changes nothing. A newer owner epoch ends the older grant.
    mutating func acquire(_ grants: [Grant]) {
        self.end(grants.filter { grant in self.partitions[grant.partition].map { $0.grant.ownerEpoch < grant.ownerEpoch } ?? false }.map(\.partition))
        for grant in grants {
            if let held = self.partitions[grant.partition], held.grant.ownerEpoch >= grant.ownerEpoch { continue }
            self.lastSerial += 1
            self.partitions[grant.partition] = PartitionMachine(grant, serial: self.lastSerial)
            self.acquiringCount += 1
        }
    }

    /// The held grants that these grants would replace.
    func replaced(by grants: [Grant]) -> [Grant] {
        grants.compactMap { grant in
            guard let held = self.partitions[grant.partition], held.isHeld, held.grant.ownerEpoch < grant.ownerEpoch else { return nil }
            return held.grant
        }
    }

    /// The log has sealed the partition under this grant. Publishes that waited for the seal can be committed, and heads of the partition's channels can be
    /// read.
    mutating func sealed(_ grants: [Grant]) {
        let sealed = grants.filter { self.isAcquiring($0) }
        for grant in sealed {
            self.partitions[grant.partition]!.sealed()
            self.parkWaiting(grant.partition)
        }
        if !sealed.isEmpty { self.channels.readAll(of: Set(sealed.map(\.partition))) }
    }

    /// The grant is held, and the log has not sealed the partition yet.
    func isAcquiring(_ grant: Grant) -> Bool {
        self.partitions[grant.partition]?.grant == grant && self.partitions[grant.partition]?.state == .acquiring
    }

    func isBeingAcquired(_ partition: PartitionID) -> Bool { self.partitions[partition]?.state == .acquiring }

    func isServing(_ grant: Grant) -> Bool {
        self.partitions[grant.partition]?.grant == grant && self.partitions[grant.partition]?.state == .serving
    }

    /// The log has lost data of these partitions, or may have. Their publishes wait, and the heads of their channels are read again, after the next seal.
    /// Returns the grants for the caller to seal again.
    mutating func lost(_ grants: [Grant]) -> [Grant] {
        var lost: [Grant] = []
        for grant in grants where self.partitions[grant.partition]?.grant == grant {
            guard self.partitions[grant.partition]!.lost() else { continue }
            self.acquiringCount += 1
            lost.append(grant)
        }
        guard !lost.isEmpty else { return [] }
        self.channels.doubt(Set(lost.map(\.partition)))
        // What is parked already is sorted as new batches are, so that the order of each partition's publishes stays.
        let parked = self.parked
        self.parked = []
        for batch in parked { self.park(runsOf: batch) }
        return lost
    }

    /// Adds no more events to commits under these grants. A commit that is in flight is still valid. A commit in doubt is left to the next owner.
    mutating func handOver(_ grants: [Grant]) {
        for grant in grants where self.partitions[grant.partition]?.grant == grant {
            if self.partitions[grant.partition]!.state == .acquiring { self.parkWaiting(grant.partition) }
            self.partitions[grant.partition]!.handOver()
            if self.partitions[grant.partition]!.state == .relinquished { self.endDoubt(of: grant.partition) }
        }
    }

    /// The grants under which publishes are accepted: they are served, or are being acquired.
    var heldGrants: [Grant] { self.partitions.compactMap { $0?.isHeld == true ? $0?.grant : nil } }

    /// Returns those of these grants under which publishes are accepted.
    func held(_ grants: [Grant]) -> [Grant] { grants.filter { self.partitions[$0.partition]?.grant == $0 && self.partitions[$0.partition]?.isHeld == true } }

    /// Removes the parked publishes to these partitions, in runs of one partition, for the caller to refuse. So a publish that arrived under an ended grant is
    /// never committed under a later one, after publishes that followed it.
    mutating func takeParked(of partitions: Set<PartitionID>, where isWanted: (PublishBatch) -> Bool = { _ in true }) -> [PublishBatch] {
        guard !partitions.isEmpty, !self.parked.isEmpty else { return [] }
        var taken: [PublishBatch] = []
        let parked = self.parked
        self.parked = []
        for batch in parked {
            if batch.events.isEmpty || !isWanted(batch) {
                self.parked.append(batch)
                continue
            }
            var rest = batch
            while let first = rest.events.first {
                let partition = self.channels.partition(of: first.channel)
                let isTaken = partitions.contains(partition)
                let count = rest.events.prefix {
                    let other = self.channels.partition(of: $0.channel)
                    return isTaken ? other == partition : !partitions.contains(other)
                }.count
                let run = rest.removePart(count)
                if isTaken { taken.append(run) } else { self.parked.append(run) }
            }
        }
        for batch in taken {
            self.parkedEvents -= batch.events.count
            self.parkedBytes -= batch.events.reduce(0) { $0 + $1.accountedBytes }
        }
        return taken
    }

    /// The grants that are served.
    var grants: [Grant] { self.partitions.compactMap { $0?.isServing == true ? $0?.grant : nil } }

    /// The grant of a channel's partition. Nil if this sequencer does not serve the partition.
    func grant(of channel: ChannelName) -> Grant? {
        self.partitions[self.channels.partition(of: channel)].flatMap { $0.isServing ? $0.grant : nil }
    }

    /// Returns true if nothing will be committed under this grant any more.
    func isRelinquished(_ grant: Grant) -> Bool {
        guard let held = self.partitions[grant.partition], held.grant == grant else { return true }
        return held.state == .relinquished
    }

    /// Ends these grants. Newer grants of the same partitions stay.
    mutating func release(_ grants: [Grant]) {
        let ended = grants.filter { self.partitions[$0.partition]?.grant == $0 }.map(\.partition)
        self.end(ended)
        // A commit in flight may still contain these grants. Its result then does not change the heads.
        for partition in ended { self.partitions[partition] = nil }
    }

    /// All together, because the table of channels is searched for the channels of these partitions.
    private mutating func end(_ partitions: [PartitionID]) {
        guard !partitions.isEmpty else { return }
        for partition in partitions {
            if self.partitions[partition]!.state == .acquiring { self.parkWaiting(partition) }
            self.partitions[partition]!.relinquish()
            self.endDoubt(of: partition)
        }
        self.channels.invalidate(Set(partitions))
    }

    /// Moves the publishes that waited for the seal to `parked`. If the partition was not sealed, they are refused when their commit is formed.
    private mutating func parkWaiting(_ partition: PartitionID) {
        self.acquiringCount -= 1
        self.parked.append(contentsOf: self.waiting.removeValue(forKey: partition) ?? [])
    }

    /// Accepts no more publishes. Parked publishes are still committed.
    mutating func stop() {
        self.isStopping = true
    }

    /// True if every accepted publish has its outcome.
    var isDrained: Bool {
        switch self.state {
        case .idle: self.parkedEvents == 0 && self.doubts.isEmpty && self.endedDoubts.isEmpty
        case .forming, .committing: false
        }
    }

    // MARK: - Heads

    /// Takes up to `limit` channels whose heads must be read from the log.
    mutating func headsToRead(limit: Int) -> (places: [ChannelTable.Index], channels: [ChannelOfPartition]) {
        let partitions = self.partitions
        func isReadable(_ partition: PartitionID) -> Bool { partitions[partition]?.isServing ?? false }
        // A commit that is being formed waits for its heads only, although after a loss there may be a million others to read.
        var places = self.state == .forming ? self.channels.takeToRead(self.commit.places, limit: limit, isReadable: isReadable) : []
        if places.isEmpty { places = self.channels.takeToRead(limit, isReadable: isReadable) }
        let channels = places.map { index in
            let head = self.channels[index].head
            return ChannelOfPartition(
                self.channels.name(of: index)!, partitions[self.channels[index].partition]!.grant, known: head.epoch > 0 ? head : nil)
        }
        return (places, channels)
    }

    var hasHeadsToRead: Bool { self.channels.hasToRead }

    /// The result of a read of heads.
    struct HeadsRead {
        /// Channels that edges wait for. The caller sends ``EdgeMessage/opened(_:head:ownerEpoch:)`` for them.
        var opened: [ChannelTable.Index] = []
        /// Partitions that another node owns now. They have been released.
        var fenced: [Grant] = []
    }

    /// The log has returned these heads.
    mutating func headsRead(_ heads: LogHeads, of places: [ChannelTable.Index], now: Int64) -> HeadsRead {
        self.rememberedCount = heads.channelCount
        var read = HeadsRead()
        // If the partition was released meanwhile, its channels are no longer in the state `reading`.
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
            if let after = found.lostAfter { self.messageIDs.lose(in: hash, after: after, before: found.head, timestamp: now) }
            for (messageID, position, timestamp) in found.messageIDs {
                self.messageIDs.insertFound(MessageIDWindow.Key(channelHash: hash, messageID: messageID), position: position, timestamp: timestamp)
            }
            if self.channels[index].edges.isEmpty { self.removeIfBlank(index) } else { read.opened.append(index) }
        }
        return read
    }

    /// The log could not read these heads. Publishes to the channels are refused; edges wait until ``retryReading(_:)``.
    mutating func readingFailed(_ places: [ChannelTable.Index], _ message: String) {
        for index in places where self.channels[index].reading == .reading { self.channels[index].reading = .failed(message) }
    }

    /// Marks channels to be read again, if an edge waits for them.
    mutating func retryReading(_ places: [ChannelTable.Index]) {
        for index in places {
            guard case .failed = self.channels[index].reading, self.channels.name(of: index) != nil else { continue }
            if !self.channels[index].edges.isEmpty { self.channels.readAgain(index) }
        }
    }

    // MARK: - Interest

    /// Returns the channel's place if the edge opens the channel and the head is known. If the head is unknown, the edge receives it after it has been read.
    mutating func interest(_ change: InterestChange, edge slot: Int, now: Int64) -> ChannelTable.Index? {
        guard change.wanted == .open || change.subscribers != 0 || self.channels[change.channel] != nil else { return nil }
        let index = self.channels.touch(change.channel, at: now)
        self.channels[index].subscribers += change.subscribers
        switch change.wanted {
        case .open:
            self.channels[index].edges.insert(slot)
            switch self.channels[index].reading {
            case .done where self.partitions[self.channels[index].partition]?.isServing ?? false: return index
            case .done, .wanted, .reading, .forgetting: return nil
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

    /// Removes a channel without events, subscribers and edges. So clients cannot use up memory with the names of channels that do not exist.
    private mutating func removeIfBlank(_ index: ChannelTable.Index) {
        let state = self.channels[index]
        if state.isIdle, state.head.offset == 0, let name = self.channels.name(of: index) { _ = self.channels.letGo(name) }
    }

    // MARK: - Upkeep

    /// Removes old message ids and unused channels, in a slice of bounded size. Returns true if more remain.
    mutating func sweep(now: Int64) -> Bool {
        let hasOldIDs = self.messageIDs.trim(now: now, limit: Slices.channelsMax)
        let hasUnseen = self.channels.sweep(unusedSince: now - Int64(self.limits.historySecondsMax) * 1000, count: Slices.channelsMax)
        return hasOldIDs || hasUnseen
    }

    /// Returns the channels that may be forgotten, by grant. A channel may be forgotten if its partition is served here and the channel is not in use. The
    /// caller calls ``forgot(_:)`` afterwards in all cases; until then no head of them is read.
    mutating func forgettable(_ channels: [ChannelName], now: Int64) -> [Grant: [ChannelName]] {
        var forgettable: [Grant: [ChannelName]] = [:]
        for channel in channels {
            guard let held = self.partitions[self.channels.partition(of: channel)], held.isServing, self.channels.beginForgetting(channel, at: now) else {
                continue
            }
            forgettable[held.grant, default: []].append(channel)
        }
        return forgettable
    }

    /// The log has forgotten these channels, or has failed to. The heads of channels that were used meanwhile are read now.
    mutating func forgot(_ channels: [Grant: [ChannelName]]) {
        // In order, so that a seed of a test always has the same walk.
        for (_, names) in channels.sorted(by: { $0.key.partition < $1.key.partition }) {
            for name in names { self.channels.endForgetting(name) }
        }
    }

    mutating func clearPressed() { self.isPressed = false }

    /// Sets the number of channels that the log remembers. Ignored while a commit adds channels, because the log may have counted these channels already.
    mutating func remembers(_ count: Int) {
        if self.addedCount == 0 { self.rememberedCount = count }
    }

    var messageIDCount: Int { self.messageIDs.count }

    // MARK: - Publishing

    mutating func accept(_ batch: PublishBatch) -> OnAccept {
        if self.isStopping { return .refused(.stopping) }
        let bytes = batch.events.reduce(0) { $0 + $1.accountedBytes }
        // If nothing is parked, a batch of any size is accepted: otherwise a batch above the limits would never be accepted. The size of a request has its own
        // limit.
        guard
            self.parkedEvents == 0
                || (self.parkedEvents + batch.events.count <= self.limits.parkedPublishesMax && self.parkedBytes + bytes <= self.limits.parkedBytesMax)
        else { return .refused(.overloaded) }
        self.parkedEvents += batch.events.count
        self.parkedBytes += bytes
        if self.acquiringCount == 0 { self.parked.append(batch) } else { self.park(runsOf: batch) }
        return .parked
    }

    /// While partitions are being acquired: splits the batch into runs of one partition, and queues each run for its partition.
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

    /// Forms the next commit from parked publishes, if none is in flight.
    ///
    /// - Parameters:
    ///   - now: the time on the steady clock, for ages.
    ///   - stamp: the time on the wall clock, stored with the events.
    mutating func nextCommit(now: Int64, stamp: Int64) -> OnNextCommit {
        switch self.state {
        case .committing: return .nothing
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

    /// Returns true if the channel's head is unknown and will be read. If the partition is not served, the head is not read, and the events are refused.
    private func isUnread(_ index: ChannelTable.Index) -> Bool {
        switch self.channels[index].reading {
        case .wanted, .reading, .forgetting: self.partitions[self.channels[index].partition]?.isServing ?? false
        case .done, .failed: false
        }
    }

    /// Takes parked batches for the commit, and finds the place of each event's channel.
    private mutating func gather(now: Int64) {
        // Duplicates and refused events count too: they use no space in the log, but they take time.
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
                case .wanted, .reading, .forgetting: self.hasUnread = true
                case .failed:
                    self.channels.readAgain(index)
                    self.hasUnread = true
                }
                self.commit.places.append(index)
            }
            self.commit.parts.append((batch, []))
        }
    }

    /// Takes the first of the batches that wait, or a part of it, for this commit. `room` is the number of events that the commit can still take.
    ///
    /// Returns nil if there is no batch, or if the batch is too large for the rest of this commit but not for a whole commit. A batch that is larger than a whole
    /// commit is split over several commits, so that other batches wait for at most one commit. Each part may have a different outcome.
    private mutating func nextPart(_ room: Int) -> PublishBatch? {
        guard let batch = self.parked.first else { return nil }
        if batch.events.count <= room { return self.parked.removeFirst() }
        return batch.events.count <= self.limits.commitEventsMax ? nil : self.parked[0].removePart(room)
    }

    private mutating func sequence(now: Int64, stamp: Int64) {
        self.commit.formedAt = now
        self.pendingIDs.removeAll(keepingCapacity: true)
        var sequenced = 0
        var place = 0
        for part in self.commit.parts.indices {
            let events = self.commit.parts[part].batch.events
            var outcomes: [PublishOutcome] = []
            outcomes.reserveCapacity(events.count)
            for event in events {
                let index = self.commit.places[place]
                place += 1
                let outcome = self.sequence(event, at: index, stamp: stamp)
                self.channels[index].forming -= 1
                // Places of events that go into the log move to the front, in the order of the log batch.
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
        self.commit.places.removeLast(place - sequenced)
    }

    private mutating func sequence(_ event: Event, at index: ChannelTable.Index, stamp: Int64) -> PublishOutcome {
        let partition = self.channels[index].partition
        let subscribers = self.channels[index].subscribers
        switch self.partitions[partition]?.state {
        case .serving: break
        case .acquiring: return .refused(Self.sealing)
        case .doubtful: return .refused(Self.uncertain)
        case .handingOver, .relinquished, nil: return .refused(.moved)
        }
        if case .failed(let message) = self.channels[index].reading {
            self.commit.unreadable[partition] = .logUnavailable(message)
            return .refused(.logUnavailable(message))
        }
        let hash = self.channels[index].hash
        let key = event.messageID.map { MessageIDWindow.Key(channelHash: hash, messageID: $0) }
        if let key, let position = self.pendingIDs[key] ?? self.messageIDs.position(key, in: hash) { return .duplicate(position, subscribers: subscribers) }
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
        if let key { self.pendingIDs[key] = position }
        self.commit.keys.append(key)
        self.commit.batch.add(SequencedEvent(event: event, position: position, timestamp: stamp), grantIndex: self.grantIndex(of: partition))
        return .published(position, subscribers: subscribers)
    }

    private mutating func grantIndex(of partition: PartitionID) -> UInt16 {
        if let index = self.partitions[partition]!.grantIndex { return index }
        let index = self.commit.batch.add(self.partitions[partition]!.grant)
        self.commit.serials.append(self.partitions[partition]!.serial)
        self.partitions[partition]!.joined(as: index)
        return index
    }

    // MARK: - Results of the log

    /// Takes the log's result for each partition of the commit. Advances the heads of channels with committed events, frees the positions of the other events,
    /// and corrects the outcomes. The caller then acknowledges, relays, and calls ``finished()``. Events whose result is unknown are taken out of the commit.
    mutating func ended(_ results: [Result<Void, LogError>]) -> Ended {
        switch self.state {
        case .committing: self.state = .idle
        case .idle, .forming: preconditionFailure("The log returned results, but no commit is in flight")
        }
        self.addedCount = 0
        return self.apply(results.contains(where: \.isUncertain) ? self.setAsideDoubts(results) : results)
    }

    /// Replaces the commit by another one for the duration of `body`, which returns what becomes of the other one.
    mutating func with(_ other: Commit, _ body: (inout SequencerMachine) -> Ended) -> (commit: Commit, ended: Ended) {
        var other = other
        swap(&self.commit, &other)
        let ended = body(&self)
        swap(&self.commit, &other)
        return (other, ended)
    }

    /// See ``ended(_:)``.
    mutating func apply(_ results: [Result<Void, LogError>]) -> Ended {
        var ended = Ended()
        ended.results = results
        // A grant may have ended meanwhile, or a newer grant may have replaced it. Then the heads of the partition's channels are read from the log again.
        let isHeld = zip(self.commit.batch.grants, self.commit.serials).map { self.partitions[$0.partition]?.serial == $1 }
        for (index, grant) in self.commit.batch.grants.enumerated() where isHeld[index] {
            self.partitions[grant.partition]!.commitEnded()
            guard case .failure(let error) = results[index] else { continue }
            if error.code == .fenced { ended.fenced.append(grant) }
            if error.code == .lost { ended.lost.append(grant) }
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
        let refusals = hasFailed ? self.refuseFailed(results) : [:]
        ended.behindFailed = self.takeParkedBehind(refusals.merging(self.commit.unreadable) { failed, _ in failed })
        self.release(ended.fenced)
        ended.lost = self.lost(ended.lost)
        return ended
    }

    /// Takes the publishes of other nodes that are parked behind events that are refused now. If they were committed, and the refusal were lost with its connection,
    /// the other node would publish the refused events again, after the later ones.
    private mutating func takeParkedBehind(_ refusals: [PartitionID: PublishRefusal]) -> [(batch: PublishBatch, refusal: PublishRefusal)] {
        // What was parked under an ended grant has been taken already.
        let refusals = refusals.filter { $0.value != .moved }
        if refusals.isEmpty { return [] }
        return self.takeParked(of: Set(refusals.keys), where: { $0.origin.mayLoseOutcomes }).compactMap { batch in
            guard let first = batch.events.first, let refusal = refusals[self.channels.partition(of: first.channel)] else { return nil }
            return (batch, refusal)
        }
    }

    /// The commit is not needed any more.
    mutating func finished() {
        self.commit.batch.removeAll()
        self.commit.serials.removeAll(keepingCapacity: true)
        self.commit.keys.removeAll(keepingCapacity: true)
        self.commit.places.removeAll(keepingCapacity: true)
        self.commit.parts.removeAll(keepingCapacity: true)
        self.commit.unreadable = [:]
    }

    private mutating func committed(_ number: Int, at index: ChannelTable.Index, isHeld: Bool) {
        let position = self.commit.batch.events[number].position
        if isHeld {
            let head = self.channels[index].head
            precondition(position == head.next, "\(position) does not follow \(head)")
            if head.offset == 0 { self.rememberedCount += 1 }
            self.channels[index].head = position
        }
        if let key = self.commit.keys[number] { self.messageIDs.insert(key, position: position, timestamp: self.commit.formedAt) }
    }

    /// Corrects the outcomes of events that the log did not store. Returns the refusal of each partition.
    private mutating func refuseFailed(_ results: [Result<Void, LogError>]) -> [PartitionID: PublishRefusal] {
        var refusals: [PartitionID: PublishRefusal] = [:]
        for (grant, result) in zip(self.commit.batch.grants, results) {
            guard case .failure(let error) = result else { continue }
            // A result that is unknown is here only if the grant has ended: the next owner recognises what was stored by its message id.
            refusals[grant.partition] = error.code == .fenced || error.code == .uncertain ? .moved : .logUnavailable(error.message)
        }
        for part in self.commit.parts.indices {
            let events = self.commit.parts[part].batch.events
            self.commit.parts[part].outcomes = zip(events, self.commit.parts[part].outcomes).map { event, outcome in
                guard let refusal = refusals[self.channels.partition(of: event.channel)] else { return outcome }
                switch outcome {
                case .published:
                    return .refused(refusal)
                case .duplicate where !self.isInWindow(event):
                    // The event is a duplicate of an event of this commit, and that event was not stored.
                    return .refused(refusal)
                case .duplicate, .refused:
                    return outcome
                }
            }
        }
        return refusals
    }

    private func isInWindow(_ event: Event) -> Bool {
        guard let messageID = event.messageID else { return false }
        let hash = event.channel.hash64
        return self.messageIDs.position(MessageIDWindow.Key(channelHash: hash, messageID: messageID), in: hash) != nil
    }

    /// The log cannot be sealed now, and it is unknown for how long. Returns the publishes that wait for the seal, for the caller to refuse.
    mutating func stoppedWaiting(for grant: Grant) -> [PublishBatch] {
        guard self.isAcquiring(grant), let batches = self.waiting.removeValue(forKey: grant.partition) else { return [] }
        for batch in batches {
            self.parkedEvents -= batch.events.count
            self.parkedBytes -= batch.events.reduce(0) { $0 + $1.accountedBytes }
        }
        return Array(batches)
    }

    static let sealing = PublishRefusal.logUnavailable("the log is being sealed; publish again with the same message id")
    static let uncertain = PublishRefusal.logUnavailable(
        "the log is checking whether it has stored the last publishes to this partition; publish again with the same message id")
}
