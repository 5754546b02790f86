import DequeModule
import Partitioning
import Pipeline

/// The publishes of this node that wait for the outcome of their owner, or for an owner. A pure value.
///
/// All publishes to one partition form a *flow* while the partition's route stays the same. In a flow, events are sent in their order. An owner that has
/// refused one event of a flow as moved refuses all later ones of the same flow. When the route changes, the flow ends: all its events without an outcome are
/// taken back, in their order, and are sent to the next owner before any newer event, under the same message ids. So no event overtakes another one of its
/// channel, and an event that the former owner had committed is found by its message id.
///
/// An owner that has refused an event for a reason that may pass (``PublishRefusal/isTransient``) refuses all later ones of the flow too. This value counts them
/// as refused as soon as it learns of the first refusal, and begins another flow when all earlier events have their outcomes. Otherwise a refusal that is lost
/// with its connection would reorder events: the refused one would be sent again, after a later one that was committed.
struct PublishFlows {
    /// One event, and whom to tell its outcome.
    struct Pending {
        var event: Event
        var origin: any PublishOrigin
        var batch: UInt64
        var index: Int
        /// When the event was published, by the steady clock.
        var since: Int64
        /// The event was taken back from an owner, which may have committed it.
        var mayBeStored = false

        /// The outcome for the publisher. An owner that refuses the event knows nothing of what a former owner has done with it.
        func outcome(_ outcome: PublishOutcome) -> PublishOutcome {
            guard self.mayBeStored, case .refused(let refusal) = outcome else { return outcome }
            if case .logUnavailable = refusal { return outcome }
            return .refused(PublishFlows.unknown)
        }
    }

    /// Events for one target, in their order.
    struct Dispatch {
        /// Unique in this value. The outcomes come with it.
        var id: UInt64
        var target: RelayTarget
        var events: Events

        enum Events {
            /// All events of one batch.
            case whole(PublishBatch)
            case picked([Pending])
        }
    }

    /// Outcomes of events of one batch.
    struct Delivery {
        var origin: any PublishOrigin
        var batch: UInt64
        var indices: [Int]
        var outcomes: [PublishOutcome]
    }

    struct Flow {
        var route: RouteTable.Route
        /// Grows with each flow of this value. An owner refuses the flows of a partition up to this number, after it has refused one event of it.
        var number: UInt64
        /// After a refusal: the number of events before the refused one without an outcome. Nothing is sent until it is 0; then the next flow begins.
        var outstanding: Int?
    }

    private struct Sent {
        var target: RelayTarget
        var events: Dispatch.Events
        var since: Int64
        /// The number of events that have an outcome, or were taken back.
        var doneCount = 0
        /// Which events these are. Empty if they are the first `doneCount`.
        var done: [Bool] = []

        var count: Int {
            switch self.events {
            case .whole(let batch): batch.events.count
            case .picked(let events): events.count
            }
        }

        func event(_ index: Int) -> Event {
            switch self.events {
            case .whole(let batch): batch.events[batch.events.startIndex + index]
            case .picked(let events): events[index].event
            }
        }

        func pending(_ index: Int) -> Pending {
            switch self.events {
            case .whole(let batch):
                Pending(
                    event: batch.events[batch.events.startIndex + index], origin: batch.origin, batch: batch.id, index: batch.events.startIndex + index,
                    since: self.since)
            case .picked(let events): events[index]
            }
        }

        func isDone(_ index: Int) -> Bool { self.done.isEmpty ? index < self.doneCount : self.done[index] }

        mutating func finish(_ index: Int) {
            if self.done.isEmpty, index != self.doneCount {
                self.done = (0..<self.count).map { $0 < self.doneCount }
            }
            self.doneCount += 1
            if !self.done.isEmpty { self.done[index] = true }
        }
    }

    private let partitions: Partitions
    private let eventsMax: Int
    private let bytesMax: Int
    /// By partition. Nil without a route, and until the first publish.
    private var flows: [Flow?]
    /// The events of each partition that are not sent, oldest first.
    private var parked: [PartitionID: Deque<Pending>] = [:]
    private var sent: [UInt64: Sent] = [:]
    /// Sessions whose links have refused a frame because too many bytes wait for them.
    private var blocked: Set<RelayTarget> = []
    private var next: UInt64 = 1
    /// The number of flows that wait for their last outcomes after a refusal. Nearly always 0.
    private var endingFlows = 0
    /// Events that are parked, or are sent to other nodes, and their bytes.
    private(set) var heldEvents = 0
    private(set) var heldBytes = 0
    private(set) var metrics = Metrics()

    struct Metrics {
        /// Events that were taken back and sent again.
        var sentAgain: UInt64 = 0
        /// Events that were refused because they had waited too long.
        var expired: UInt64 = 0
    }

    /// - Parameters:
    ///   - eventsMax: of parked events, and of events at other nodes. A batch above it is refused.
    ///   - bytesMax: of the same events.
    init(partitions: Partitions, eventsMax: Int, bytesMax: Int) {
        self.partitions = partitions
        self.eventsMax = eventsMax
        self.bytesMax = bytesMax
        self.flows = Array(repeating: nil, count: partitions.count)
    }

    var parkedEvents: Int { self.parked.reduce(0) { $0 + $1.value.count } }

    /// True if every accepted event has its outcome.
    var isDrained: Bool { self.parked.isEmpty && self.sent.isEmpty }

    func flow(of partition: PartitionID) -> Flow? { self.flows[partition] }

    // MARK: - Accepting

    /// Accepts a batch. Returns nil if the limits refuse it.
    mutating func accept(_ batch: PublishBatch, routes: RouteTable, now: Int64) -> [Dispatch]? {
        guard let first = batch.events.first else { return [] }
        // Nearly always the first branch at a lone owner, and for single publishes.
        if batch.events.startIndex == 0, let target = self.target(of: first, routes), batch.events.allSatisfy({ self.target(of: $0, routes) == target }) {
            if target == .here { return [self.send(.whole(batch), to: target, since: now)] }
            if batch.events.count <= RelayFrame.entriesMax, batch.events.reduce(0, { $0 + Self.frameBytes($1) }) <= RelayFrame.bytesMax {
                return self.hold(batch.events) ? [self.send(.whole(batch), to: target, since: now)] : nil
            }
        }
        guard self.hold(batch.events) else { return nil }
        var picked: [(target: RelayTarget, events: [Pending])] = []
        for (index, event) in zip(batch.events.indices, batch.events) {
            let pending = Pending(event: event, origin: batch.origin, batch: batch.id, index: index, since: now)
            guard let target = self.target(of: event, routes) else {
                self.parked[self.partition(of: event), default: []].append(pending)
                continue
            }
            if target == .here { self.letGo(event) }
            if let place = picked.firstIndex(where: { $0.target == target }) {
                picked[place].events.append(pending)
            } else {
                picked.append((target, [pending]))
            }
        }
        return picked.flatMap { target, events in self.split(events).map { self.send(.picked($0), to: target, since: now) } }
    }

    /// The target that an event can be sent to now. Nil if it must wait.
    private mutating func target(of event: Event, _ routes: RouteTable) -> RelayTarget? {
        let partition = self.partition(of: event)
        guard self.parked.isEmpty || self.parked[partition] == nil, let route = routes[partition], self.blocked.isEmpty || !self.blocked.contains(route.target)
        else { return nil }
        if let flow = self.flows[partition] {
            if flow.outstanding != nil { return nil }
        } else {
            self.flows[partition] = Flow(route: route, number: self.takeNumber())
        }
        return route.target
    }

    private mutating func send(_ events: Dispatch.Events, to target: RelayTarget, since: Int64) -> Dispatch {
        let id = self.takeNumber()
        self.sent[id] = Sent(target: target, events: events, since: since)
        return Dispatch(id: id, target: target, events: events)
    }

    private mutating func takeNumber() -> UInt64 {
        defer { self.next += 1 }
        return self.next
    }

    private func partition(of event: Event) -> PartitionID { self.partitions.partition(ofHash: event.channel.hash64) }

    private mutating func hold(_ events: ArraySlice<Event>) -> Bool {
        let bytes = events.reduce(0) { $0 + $1.accountedBytes }
        guard self.heldEvents == 0 || (self.heldEvents + events.count <= self.eventsMax && self.heldBytes + bytes <= self.bytesMax) else { return false }
        self.heldEvents += events.count
        self.heldBytes += bytes
        return true
    }

    private mutating func letGo(_ event: Event) {
        self.heldEvents -= 1
        self.heldBytes -= event.accountedBytes
    }

    /// Parts that each fit into a frame.
    private func split(_ events: [Pending]) -> [[Pending]] {
        var parts: [[Pending]] = []
        var part: [Pending] = []
        var bytes = 0
        for pending in events {
            let size = Self.frameBytes(pending.event)
            if !part.isEmpty, bytes + size > RelayFrame.bytesMax || part.count == RelayFrame.entriesMax {
                parts.append(part)
                part = []
                bytes = 0
            }
            part.append(pending)
            bytes += size
        }
        return part.isEmpty ? parts : parts + [part]
    }

    private static func frameBytes(_ event: Event) -> Int { event.accountedBytes + (event.messageID?.utf8.count ?? 0) + (event.type?.utf8.count ?? 0) }

    // MARK: - Outcomes

    /// Takes outcomes of a batch that this node's own sequencer got whole. Returns the batch, whose origin gets the same outcomes; nil if they need more than
    /// that. Nearly every publish of a channel that this node owns ends here.
    mutating func finish(_ id: UInt64, _ outcomes: [PublishOutcome], from index: Int) -> PublishBatch? {
        guard let sent = self.sent[id], sent.target == .here, sent.done.isEmpty, case .whole(let batch) = sent.events, index == sent.doneCount,
            !outcomes.contains(.refused(.moved))
        else { return nil }
        if index + outcomes.count == sent.count { self.sent[id] = nil } else { self.sent[id]!.doneCount += outcomes.count }
        return batch
    }

    /// What the caller does after outcomes of another node.
    struct AfterOutcomes {
        var deliveries: [Delivery] = []
        /// Partitions whose owner has refused an event as moved: the caller removes these routes, and calls ``routesChanged(_:_:)``.
        var moved: [PartitionID] = []
        /// True if parked events may be sent now: the caller calls ``flush(_:now:)``.
        var hasBegunFlow = false
    }

    /// Takes outcomes of a dispatch, by the indices of its events.
    mutating func outcomes(_ outcomes: [RelayFrame.IndexedOutcome], of id: UInt64) -> AfterOutcomes {
        guard var sent = self.sent[id] else { return AfterOutcomes() }
        var after = AfterOutcomes()
        // The first refused event of each partition.
        var refused: [PartitionID: (index: Int, refusal: PublishRefusal)] = [:]
        for indexed in outcomes where indexed.index < sent.count && !sent.isDone(indexed.index) {
            if case .refused(.moved) = indexed.outcome, !Defect.movedAsFailure.isActive {
                // The event stays in the dispatch: it is taken back with all later ones of its flow.
                let partition = self.partition(of: sent.event(indexed.index))
                if !after.moved.contains(partition) { after.moved.append(partition) }
                continue
            }
            let pending = sent.pending(indexed.index)
            sent.finish(indexed.index)
            after.deliveries.add(pending.outcome(indexed.outcome), to: pending)
            if sent.target == .here { continue }
            self.letGo(pending.event)
            if case .refused(let refusal) = indexed.outcome, refusal.isTransient {
                let partition = self.partition(of: pending.event)
                if refused[partition].map({ indexed.index < $0.index }) ?? true { refused[partition] = (indexed.index, refusal) }
            }
            if self.endingFlows > 0 { self.countOutcome(of: pending.event, in: id, &after) }
        }
        self.sent[id] = sent.doneCount == sent.count ? nil : sent
        if !refused.isEmpty { self.refuse(behind: id, refused, at: sent.target, &after) }
        return after
    }

    /// The owner has refused an event of each of these partitions, and refuses everything of the same flows that was sent behind it.
    private mutating func refuse(
        behind dispatch: UInt64, _ refused: [PartitionID: (index: Int, refusal: PublishRefusal)], at target: RelayTarget, _ after: inout AfterOutcomes
    ) {
        // Numbers of flows and of dispatches are from one sequence: an outcome of an earlier flow ends nothing. A flow that ends already waits for this outcome.
        let refused = refused.filter {
            self.flows[$0.key].map { $0.number < dispatch && $0.route.target == target && $0.outstanding == nil } ?? false
        }
        if refused.isEmpty { return }
        var outstanding = refused.mapValues { _ in 0 }
        for id in self.sent.keys.sorted() {
            var sent = self.sent[id]!
            guard sent.target == target else { continue }
            for index in 0..<sent.count where !sent.isDone(index) {
                let partition = self.partition(of: sent.event(index))
                guard let (first, refusal) = refused[partition] else { continue }
                if id < dispatch || id == dispatch && index < first {
                    outstanding[partition]! += 1
                    continue
                }
                let pending = sent.pending(index)
                sent.finish(index)
                self.letGo(pending.event)
                after.deliveries.add(pending.outcome(.refused(refusal)), to: pending)
            }
            self.sent[id] = sent.doneCount == sent.count ? nil : sent
        }
        for (partition, count) in outstanding {
            self.flows[partition]!.outstanding = count
            self.endingFlows += 1
            self.beginNextFlow(of: partition, &after)
        }
    }

    private mutating func countOutcome(of event: Event, in dispatch: UInt64, _ after: inout AfterOutcomes) {
        let partition = self.partition(of: event)
        guard let flow = self.flows[partition], let outstanding = flow.outstanding, flow.number < dispatch else { return }
        self.flows[partition]!.outstanding = outstanding - 1
        self.beginNextFlow(of: partition, &after)
    }

    private mutating func beginNextFlow(of partition: PartitionID, _ after: inout AfterOutcomes) {
        guard let flow = self.flows[partition], flow.outstanding == 0 else { return }
        self.flows[partition] = Flow(route: flow.route, number: self.takeNumber())
        self.endingFlows -= 1
        after.hasBegunFlow = true
    }

    private mutating func endFlow(of partition: PartitionID) {
        if self.flows[partition]?.outstanding != nil { self.endingFlows -= 1 }
        self.flows[partition] = nil
    }

    // MARK: - Changes of routes

    /// Follows changed routes. Events without an outcome wait at the front of their partition's queue; the caller then calls ``flush(_:now:)``.
    mutating func routesChanged(_ partitions: [PartitionID], _ routes: RouteTable) {
        let ended = Set(partitions.filter { partition in self.flows[partition].map { $0.route != routes[partition] } ?? false })
        guard !ended.isEmpty else { return }
        for partition in ended { self.endFlow(of: partition) }
        self.takeBack { ended.contains($0) }
    }

    /// A session has closed. Its events have been taken back by ``routesChanged(_:_:)``, unless their partition has no flow any more.
    mutating func closed(_ target: RelayTarget) {
        self.blocked.remove(target)
        self.takeBack(from: target) { _ in true }
    }

    /// Takes back every event without an outcome, for ``expire(before:)``.
    mutating func takeBackAll() { self.takeBack { _ in true } }

    private mutating func takeBack(from target: RelayTarget? = nil, _ isEnded: (PartitionID) -> Bool) {
        var taken: [PartitionID: Deque<Pending>] = [:]
        for id in self.sent.keys.sorted() {
            var sent = self.sent[id]!
            if let target, sent.target != target { continue }
            for index in 0..<sent.count where !sent.isDone(index) {
                var pending = sent.pending(index)
                let partition = self.partition(of: pending.event)
                guard isEnded(partition) else { continue }
                pending.mayBeStored = true
                sent.finish(index)
                if sent.target == .here {
                    self.heldEvents += 1
                    self.heldBytes += pending.event.accountedBytes
                }
                taken[partition, default: []].append(pending)
                self.metrics.sentAgain += 1
            }
            self.sent[id] = sent.doneCount == sent.count ? nil : sent
        }
        for (partition, events) in taken { self.parked[partition] = events + (self.parked[partition] ?? []) }
    }

    /// The next parked events that have a target now, as one dispatch. Nil if there are none.
    mutating func flush(_ routes: RouteTable, now: Int64) -> Dispatch? {
        for partition in self.parked.keys {
            guard let route = routes[partition], !self.blocked.contains(route.target), self.flows[partition]?.outstanding == nil else { continue }
            if self.flows[partition] == nil { self.flows[partition] = Flow(route: route, number: self.takeNumber()) }
            var events: [Pending] = []
            var bytes = 0
            while let first = self.parked[partition]?.first, events.count < RelayFrame.entriesMax,
                events.isEmpty || bytes + Self.frameBytes(first.event) <= RelayFrame.bytesMax
            {
                bytes += Self.frameBytes(first.event)
                events.append(self.parked[partition]!.removeFirst())
                if route.target == .here { self.letGo(first.event) }
            }
            if self.parked[partition]!.isEmpty { self.parked[partition] = nil }
            return self.send(.picked(events), to: route.target, since: now)
        }
        return nil
    }

    // MARK: - Slow links

    /// The link has not taken a dispatch, because too many bytes wait for it. The events wait until ``drained(_:)``, and the flow goes on.
    mutating func unsent(_ dispatch: Dispatch) {
        self.blocked.insert(dispatch.target)
        guard let sent = self.sent.removeValue(forKey: dispatch.id) else { return }
        for index in (0..<sent.count).reversed() where !sent.isDone(index) {
            let pending = sent.pending(index)
            self.parked[self.partition(of: pending.event), default: []].prepend(pending)
        }
    }

    /// The link takes frames again.
    mutating func drained(_ target: RelayTarget) { self.blocked.remove(target) }

    // MARK: - Deadlines

    private static let unknown = PublishRefusal.logUnavailable(
        "the node that owned this channel was lost before it answered, and it is unknown whether it has stored the event; publish again with the same message id"
    )

    /// Removes the events that have waited since before `oldest`, and returns their refusals.
    mutating func expire(before oldest: Int64) -> [Delivery] {
        var deliveries: [Delivery] = []
        for partition in self.parked.keys {
            while let first = self.parked[partition]?.first, first.since < oldest {
                self.parked[partition]!.removeFirst()
                self.letGo(first.event)
                self.metrics.expired += 1
                deliveries.add(first.outcome(.refused(.ownerUnreachable)), to: first)
            }
            if self.parked[partition]?.isEmpty == true { self.parked[partition] = nil }
        }
        return deliveries
    }
}

extension [PublishFlows.Delivery] {
    /// Joins outcomes of one batch that follow each other, so that they cross to the publisher's loop together.
    fileprivate mutating func add(_ outcome: PublishOutcome, to pending: PublishFlows.Pending) {
        if let last = self.last, last.batch == pending.batch, last.origin === pending.origin {
            self[self.count - 1].indices.append(pending.index)
            self[self.count - 1].outcomes.append(outcome)
        } else {
            self.append(
                PublishFlows.Delivery(origin: pending.origin, batch: pending.batch, indices: [pending.index], outcomes: [outcome]))
        }
    }
}
