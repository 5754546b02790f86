import DequeModule

/// The sequencer's decisions: dedup, positions, what to commit next, what to answer. A pure value; ``Sequencer`` executes its answers.
///
/// Positions are given when a commit is formed, not when a publish arrives, and one commit is in flight at a time. So a commit that fails takes no position
/// with it, and nothing is ever relayed or acknowledged before the log has it (invariants I4 and I6).
struct Sequencing {
    enum State {
        /// The partitions are not sealed yet. Publishes wait.
        /// Can transition to: ready, closed.
        case sealing
        /// Nothing is in flight.
        /// Can transition to: committing, closed.
        case ready
        /// One commit is with the log.
        /// Can transition to: ready, uncertain, closed (after its answer).
        case committing(Commit)
        /// The log does not know whether it has the commit. It is repeated until it does; new publishes are refused meanwhile.
        /// Can transition to: ready.
        case uncertain(Commit)
        /// Publishes are refused.
        case closed
    }

    /// Batches, or parts of them, on their way into the log together.
    struct Commit: Sendable {
        var events: [SequencedEvent] = []
        /// When it was formed, by the steady clock.
        var formedAt: Int64
        /// Outcomes by batch, in its order; right once the commit has succeeded.
        var batches: [(batch: PublishBatch, outcomes: [PublishOutcome])] = []

        /// Events asked for, whatever becomes of them.
        var askedCount: Int { self.batches.reduce(0) { $0 + $1.batch.events.count } }
    }

    enum OnAccept: Equatable {
        /// It waits its turn. The caller asks ``nextCommit(now:stamp:)``.
        case parked
        case refused(PublishRefusal)
    }

    private(set) var state = State.sealing
    private(set) var channels = ChannelTable()
    private var messageIDs: MessageIDWindow
    private var parked: Deque<PublishBatch> = []
    private(set) var parkedEvents = 0
    private(set) var parkedBytes = 0
    private var isStopping = false
    private let limits: Limits

    init(limits: Limits) {
        self.limits = limits
        self.messageIDs = MessageIDWindow(countMax: limits.messageIDsMax, secondsMax: limits.historySecondsMax)
    }

    // MARK: - Lifecycle

    mutating func sealed(_ contents: LogContents) {
        guard case .sealing = self.state else { preconditionFailure("A sequencer seals once") }
        for (channel, head, timestamp) in contents.heads { self.channels.restore(channel, head: head, timestamp: timestamp) }
        for (channel, messageID, position, timestamp) in contents.messageIDs {
            self.messageIDs.insert(messageID, in: channel, position: position, timestamp: timestamp)
        }
        self.channels.epochFloor = contents.epochFloor
        self.state = .ready
    }

    /// Takes nothing new from here on; what waits is still committed.
    mutating func stop() {
        self.isStopping = true
    }

    /// Whether everything that was accepted has been answered.
    var isDrained: Bool {
        switch self.state {
        case .ready, .closed: self.parked.isEmpty
        case .sealing, .committing, .uncertain: false
        }
    }

    // MARK: - Interest

    /// Answers the head where the edge asked to open.
    mutating func interest(_ change: InterestChange, edge: Int) -> Position? {
        self.channels.interest(change, edge: edge)
    }

    // MARK: - Upkeep

    /// Message ids age; idle channels beyond their time are dropped and answered, to be forgotten by the log before the next commit is formed. A slice of
    /// this at a time: true when there is more to do at once.
    mutating func sweep(now: Int64) -> (forgotten: [ChannelName], isMore: Bool) {
        let hasOldIDs = self.messageIDs.trim(now: now, limit: Self.sweptAtOnce)
        let (forgotten, hasUnseen) = self.channels.sweep(now: now, limits: self.limits, count: Self.sweptAtOnce)
        return (forgotten, hasOldIDs || hasUnseen)
    }

    private static let sweptAtOnce = 1024

    var messageIDCount: Int { self.messageIDs.count }

    // MARK: - Publishing

    mutating func accept(_ batch: PublishBatch) -> OnAccept {
        if self.isStopping { return .refused(.stopping) }
        switch self.state {
        case .closed: return .refused(.stopping)
        case .uncertain: return .refused(Self.uncertain)
        case .sealing, .ready, .committing: break
        }
        let bytes = batch.events.reduce(0) { $0 + $1.cost }
        // One batch is taken whatever its size, or it would be refused for ever; the size of a request has its own bound.
        guard
            self.parkedEvents == 0
                || (self.parkedEvents + batch.events.count <= self.limits.parkedPublishesMax && self.parkedBytes + bytes <= self.limits.parkedBytesMax)
        else { return .refused(.overloaded) }
        self.parkedEvents += batch.events.count
        self.parkedBytes += bytes
        self.parked.append(batch)
        return .parked
    }

    /// Forms the next commit out of what waits, if none is in flight. Nil when there is nothing to do now.
    ///
    /// A commit without events (all duplicates or refused) needs no log: the caller reports it committed at once.
    ///
    /// - Parameters:
    ///   - now: the steady clock's time, from which ages count.
    ///   - stamp: the time of day, which its events carry.
    mutating func nextCommit(now: Int64, stamp: Int64) -> Commit? {
        guard case .ready = self.state, !self.parked.isEmpty else { return nil }
        var commit = Commit(formedAt: now)
        var pendingIDs: [String: [(channel: ChannelName, position: Position)]] = [:]
        // Duplicates and refusals take no room in a commit, but time; so they count.
        var room = self.limits.commitEventsMax
        while room > 0, let batch = self.nextPart(room) {
            room -= batch.events.count
            self.parkedEvents -= batch.events.count
            let outcomes = batch.events.map { event in
                self.parkedBytes -= event.cost
                return self.sequence(event, into: &commit, pendingIDs: &pendingIDs, stamp: stamp)
            }
            commit.batches.append((batch, outcomes))
        }
        self.state = .committing(commit)
        return commit
    }

    /// The batch whose turn it is. One that is larger than a commit goes in parts, so that nobody waits for more than a commit at once; what is left of it is
    /// a batch of its own, and may have another fate.
    private mutating func nextPart(_ room: Int) -> PublishBatch? {
        guard let batch = self.parked.first else { return nil }
        if batch.events.count <= room { return self.parked.removeFirst() }
        return batch.events.count <= self.limits.commitEventsMax ? nil : self.parked[0].removePart(room)
    }

    private mutating func sequence(
        _ event: Event, into commit: inout Commit, pendingIDs: inout [String: [(channel: ChannelName, position: Position)]], stamp: Int64
    ) -> PublishOutcome {
        if let messageID = event.messageID {
            let pending = pendingIDs[messageID]?.first { $0.channel == event.channel }?.position
            if let position = pending ?? self.messageIDs.position(messageID, in: event.channel) {
                return .duplicate(position, subscribers: self.channels.subscribers(of: event.channel))
            }
        }
        guard let (position, subscribers) = self.channels.take(event.channel, channelsMax: self.limits.channelsMax) else {
            return .refused(.tooManyChannels)
        }
        if let messageID = event.messageID { pendingIDs[messageID, default: []].append((event.channel, position)) }
        commit.events.append(SequencedEvent(event: event, position: position, timestamp: stamp))
        return .published(position, subscribers: subscribers)
    }

    /// The log has the commit: heads move, and the caller relays, then acknowledges.
    mutating func committed() -> Commit {
        let commit = self.takeInFlight()
        for event in commit.events {
            self.channels.commit(event, at: commit.formedAt)
            if let messageID = event.event.messageID {
                self.messageIDs.insert(messageID, in: event.event.channel, position: event.position, timestamp: commit.formedAt)
            }
        }
        return commit
    }

    /// Nothing of the commit was stored: its positions are free again and its publishers hear so.
    mutating func failed(_ message: String) -> Commit {
        var commit = self.takeInFlight()
        for event in commit.events { self.channels.giveBack(event) }
        for index in commit.batches.indices {
            let events = commit.batches[index].batch.events
            commit.batches[index].outcomes = zip(events, commit.batches[index].outcomes).map { event, outcome in
                switch outcome {
                case .published:
                    .refused(.logUnavailable(message))
                case .duplicate where event.messageID.flatMap({ self.messageIDs.position($0, in: event.channel) }) == nil:
                    // A duplicate of an event of this same commit.
                    .refused(.logUnavailable(message))
                case .duplicate, .refused:
                    outcome
                }
            }
        }
        return commit
    }

    /// It is not known whether the log has the commit: it stays in flight, to be repeated. Answers the batches that waited behind it, for the
    /// caller to refuse: they have no positions yet, and nobody knows how long this lasts.
    mutating func becameUncertain() -> [PublishBatch] {
        guard case .committing(let commit) = self.state else { return [] }
        self.state = .uncertain(commit)
        let batches = Array(self.parked)
        self.parked.removeAll()
        self.parkedEvents = 0
        self.parkedBytes = 0
        return batches
    }

    static let uncertain = PublishRefusal.logUnavailable("the log does not answer; publish again with the same message id")

    private mutating func takeInFlight() -> Commit {
        switch self.state {
        case .committing(let commit), .uncertain(let commit):
            self.state = .ready
            return commit
        case .sealing, .ready, .closed:
            preconditionFailure("The log answers only what was asked of it")
        }
    }
}
