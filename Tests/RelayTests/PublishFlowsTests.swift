import DequeModule
import NIOCore
import Partitioning
import TestKit
import Testing

@testable import Pipeline
@testable import Relay

/// Publishes over changes of owners, lost connections and full links: every accepted event is committed once, in the order in which it was published.
@Suite struct PublishFlowsTests {
    @Test(arguments: 0..<200)
    func noEventIsLostRepeatedOrReordered(_ seed: UInt64) {
        var walk = FlowWalk(seed: seed)
        for _ in 0..<600 { walk.step() }
        walk.settle()
        #expect(walk.problems == [], "seed \(seed)")
    }

    /// The walks together reach every case that they are meant to reach.
    @Test func theWalksReachEveryCase() {
        var seen = FlowWalk.Counts()
        for seed in UInt64(0)..<60 {
            var walk = FlowWalk(seed: seed)
            for _ in 0..<600 { walk.step() }
            walk.settle()
            seen.moved += walk.counts.moved
            seen.duplicates += walk.counts.duplicates
            seen.unsent += walk.counts.unsent
            seen.closed += walk.counts.closed
            seen.fenced += walk.counts.fenced
            seen.refused += walk.counts.refused
        }
        #expect(seen.moved > 100 && seen.duplicates > 20 && seen.unsent > 20 && seen.closed > 100 && seen.fenced > 20 && seen.refused > 100, "\(seen)")
    }

    private final class Origin: PublishOrigin {
        func published(_ outcomes: [PublishOutcome], batch: UInt64, from index: Int) {}
    }

    private static func event(_ channel: String, _ id: String = "m", bytes: Int = 10) -> Event {
        Event(channel: ChannelName(channel)!, payload: ByteBuffer(repeating: 1, count: bytes), messageID: id)
    }

    @Test func aBatchAboveTheLimitsIsRefusedWhole() {
        var flows = PublishFlows(partitions: Partitions(count: 4), eventsMax: 3, bytesMax: 100_000)
        let routes = RouteTable(partitions: 4)
        let batch = { PublishBatch(id: 1, events: (0..<$0).map { Self.event("a", "\($0)") }, origin: Origin()) }
        #expect(flows.accept(batch(2), routes: routes, now: 0)?.count == 0)
        #expect(flows.accept(batch(2), routes: routes, now: 0) == nil)
        #expect(flows.heldEvents == 2)
        let refused = flows.expire(before: 1)
        #expect(refused.map(\.outcomes) == [[.refused(.ownerUnreachable), .refused(.ownerUnreachable)]])
        #expect(flows.isDrained && flows.heldEvents == 0 && flows.heldBytes == 0)
    }

    @Test func aDispatchFitsIntoAFrame() {
        var flows = PublishFlows(partitions: Partitions(count: 1), eventsMax: 1000, bytesMax: 100_000_000)
        var routes = RouteTable(partitions: 1)
        let events = (0..<5).map { Self.event("a", "\($0)", bytes: 400_000) }
        _ = flows.accept(PublishBatch(id: 1, events: events, origin: Origin()), routes: routes, now: 0)
        _ = routes.acquired([Grant(partition: 0, ownerEpoch: 1)], by: .session(1))
        var counts: [Int] = []
        while let dispatch = flows.flush(routes, now: 0) {
            guard case .picked(let picked) = dispatch.events else { continue }
            counts.append(picked.count)
        }
        #expect(counts == [2, 2, 1])
    }

    @Test func outcomesThatComeTwiceOrLateAreIgnored() {
        var flows = PublishFlows(partitions: Partitions(count: 1), eventsMax: 10, bytesMax: 10_000)
        var routes = RouteTable(partitions: 1)
        _ = routes.acquired([Grant(partition: 0, ownerEpoch: 1)], by: .session(1))
        let sent = flows.accept(PublishBatch(id: 1, events: [Self.event("a")], origin: Origin()), routes: routes, now: 0)![0]
        let outcome = RelayFrame.IndexedOutcome(index: 0, outcome: .published(Position(epoch: 1, offset: 1), subscribers: 0))
        flows.routesChanged(routes.acquired([Grant(partition: 0, ownerEpoch: 2)], by: .session(2)), routes)
        #expect(flows.outcomes([outcome], of: sent.id).deliveries.isEmpty, "the event was taken back")
        let again = flows.flush(routes, now: 0)!
        #expect(again.target == .session(2))
        #expect(flows.outcomes([outcome, outcome], of: again.id).deliveries.map(\.outcomes.count) == [1])
        #expect(flows.outcomes([outcome], of: again.id).deliveries.isEmpty)
        #expect(flows.outcomes([RelayFrame.IndexedOutcome(index: 7, outcome: outcome.outcome)], of: again.id).deliveries.isEmpty)
        #expect(flows.isDrained && flows.heldEvents == 0)
    }
}

/// One ingress, its own sequencer and two other nodes, over a shared log with fences.
private struct FlowWalk {
    struct Counts {
        var moved = 0
        var duplicates = 0
        var unsent = 0
        var closed = 0
        var fenced = 0
        var refused = 0
    }

    /// A node that may own partitions, as `RemoteEdge` and the sequencer behave.
    private struct Owner {
        /// The owner epoch under which publishes are accepted.
        var held: [PartitionID: OwnerEpoch] = [:]
        var refusedFlows: [PartitionID: (number: UInt64, refusal: PublishRefusal)] = [:]
        /// Accepted events that are not committed yet, in their order.
        var parked: [Accepted] = []
        /// On their way to the owner, and from it. Lost when the connection ends.
        var arriving: Deque<(dispatch: UInt64, events: [RelayFrame.PublishedEvent])> = []
        var leaving: Deque<Message> = []
        var session: UInt64 = 0
        var isFull = false
    }

    private struct Accepted {
        var dispatch: UInt64
        var index: Int
        var published: RelayFrame.PublishedEvent
        var partition: PartitionID { FlowWalk.partitions.partition(ofHash: self.published.event.channel.hash64) }
    }

    private enum Message {
        case acquired(Grant)
        case ended(Grant)
        case outcome(UInt64, RelayFrame.IndexedOutcome)
    }

    private final class Origin: PublishOrigin {
        func published(_ outcomes: [PublishOutcome], batch: UInt64, from index: Int) {}
    }

    private static let partitions = Partitions(count: 3)
    private static let channels = ["a", "b", "c", "d", "e"].map { ChannelName($0)! }
    private var random: SplitMix
    private var routes = RouteTable(partitions: partitions.count)
    private var flows = PublishFlows(partitions: partitions, eventsMax: 10_000, bytesMax: 10_000_000)
    /// The first is this node's own sequencer: nothing on the way to it is lost, and it is told of its own grants at once.
    private var owners = [Owner(), Owner(), Owner()]
    private var nextSession: UInt64 = 1
    private let origin = Origin()
    private var nextBatch: UInt64 = 0
    private var published: [UInt64: Int] = [:]
    private var outcomeCounts: [UInt64: [Int: Int]] = [:]
    // The log.
    private var sealed: [PartitionID: OwnerEpoch] = [:]
    private var log: [ChannelName: [String]] = [:]
    private var order: [ChannelName: [String]] = [:]
    private var nextID = 0
    /// By batch, and the refused ones.
    private var ids: [UInt64: [String]] = [:]
    private var refused: Set<String> = []
    private(set) var problems: [String] = []
    private(set) var counts = Counts()

    init(seed: UInt64) {
        self.random = SplitMix(seed: seed)
        for index in 1..<3 { self.connect(index) }
    }

    private func target(_ index: Int) -> RelayTarget { index == 0 ? .here : .session(self.owners[index].session) }

    private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self.random) < percent }

    // MARK: - Steps

    mutating func step() {
        switch Int.random(in: 0..<100, using: &self.random) {
        case 0..<30: self.publish()
        case 30..<60: self.arrive(Int.random(in: 0..<3, using: &self.random))
        case 60..<75: self.commit(Int.random(in: 0..<3, using: &self.random))
        case 75..<90: self.leave(Int.random(in: 0..<3, using: &self.random))
        case 90..<94: self.move()
        case 94..<96: self.end()
        case 96..<97: self.reconnect(Int.random(in: 1..<3, using: &self.random))
        case 97: self.owners[Int.random(in: 1..<3, using: &self.random)].isFull = true
        case 98: self.fail(Int.random(in: 0..<3, using: &self.random))
        default: self.drain(Int.random(in: 1..<3, using: &self.random))
        }
        // The own sequencer is on the same loop: its outcomes are known before anything else happens.
        while !self.owners[0].leaving.isEmpty { self.leave(0) }
    }

    private mutating func publish() {
        let batch = self.nextBatch
        self.nextBatch += 1
        var events: [Event] = []
        for _ in 0..<Int.random(in: 1...4, using: &self.random) {
            let channel = Self.channels.randomElement(using: &self.random)!
            self.nextID += 1
            events.append(Event(channel: channel, payload: ByteBuffer(), messageID: "\(self.nextID)"))
            self.order[channel, default: []].append("\(self.nextID)")
        }
        self.published[batch] = events.count
        self.ids[batch] = events.map { $0.messageID! }
        for dispatch in self.flows.accept(PublishBatch(id: batch, events: events, origin: self.origin), routes: self.routes, now: 0) ?? [] {
            self.send(dispatch)
        }
    }

    private mutating func send(_ dispatch: PublishFlows.Dispatch) {
        guard let index = (0..<3).first(where: { self.target($0) == dispatch.target }) else { return self.flows.unsent(dispatch) }
        if self.owners[index].isFull {
            self.counts.unsent += 1
            return self.flows.unsent(dispatch)
        }
        let events: [Event] =
            switch dispatch.events {
            case .whole(let batch): Array(batch.events)
            case .picked(let picked): picked.map(\.event)
            }
        let published = events.map { event in
            let flow = self.flows.flow(of: Self.partitions.partition(ofHash: event.channel.hash64))
            return RelayFrame.PublishedEvent(event: event, ownerEpoch: flow!.route.ownerEpoch, flow: flow!.number)
        }
        self.owners[index].arriving.append((dispatch.id, published))
        // A call of the own sequencer arrives at once.
        if index == 0 { self.arrive(0) }
    }

    /// As `RemoteEdge.publish`; for the own sequencer the check never fails.
    private mutating func arrive(_ index: Int) {
        guard let (dispatch, events) = self.owners[index].arriving.popFirst() else { return }
        for (number, published) in events.enumerated() {
            let partition = Self.partitions.partition(ofHash: published.event.channel.hash64)
            if self.owners[index].held[partition] != published.ownerEpoch {
                if index == 0 { self.problems.append("the own sequencer got an event of another grant") }
                self.owners[index].refusedFlows[partition] = (published.flow, .moved)
                self.reply(index, dispatch, number, .refused(.moved))
            } else if index != 0, let refused = self.owners[index].refusedFlows[partition], published.flow <= refused.number {
                self.reply(index, dispatch, number, .refused(refused.refusal))
            } else if self.chance(1) {
                self.refuse(index, Accepted(dispatch: dispatch, index: number, published: published), .overloaded)
            } else {
                self.owners[index].parked.append(Accepted(dispatch: dispatch, index: number, published: published))
            }
        }
    }

    private mutating func reply(_ index: Int, _ dispatch: UInt64, _ number: Int, _ outcome: PublishOutcome) {
        if case .refused(.moved) = outcome { self.counts.moved += 1 }
        self.owners[index].leaving.append(.outcome(dispatch, RelayFrame.IndexedOutcome(index: number, outcome: outcome)))
    }

    /// The owner's sequencer commits what it has accepted, or learns from the log that it is fenced.
    private mutating func commit(_ index: Int) {
        for accepted in self.owners[index].parked.prefix(Int.random(in: 1...3, using: &self.random)) {
            self.owners[index].parked.removeFirst()
            let event = accepted.published.event
            guard self.sealed[accepted.partition] == accepted.published.ownerEpoch else {
                self.counts.fenced += 1
                self.reply(index, accepted.dispatch, accepted.index, .refused(.moved))
                self.release(index, accepted.partition)
                return
            }
            let committed = self.log[event.channel, default: []]
            if committed.contains(event.messageID!) {
                self.counts.duplicates += 1
            } else {
                self.log[event.channel, default: []].append(event.messageID!)
            }
            self.reply(index, accepted.dispatch, accepted.index, .published(Position(epoch: 1, offset: 1), subscribers: 0))
        }
    }

    /// The log refuses a commit: its events, and the events of its partition behind it, are refused, as `SequencerMachine.takeParkedBehind` says.
    private mutating func fail(_ index: Int) {
        guard let first = self.owners[index].parked.first else { return }
        for accepted in self.owners[index].parked where accepted.partition == first.partition { self.refuse(index, accepted, .logUnavailable("full")) }
        self.owners[index].parked.removeAll { $0.partition == first.partition }
    }

    /// As `RemoteEdge.refuse`.
    private mutating func refuse(_ index: Int, _ accepted: Accepted, _ refusal: PublishRefusal) {
        self.counts.refused += 1
        // An event of a former connection has no flow of this one.
        if accepted.dispatch != .max, accepted.published.flow >= self.owners[index].refusedFlows[accepted.partition]?.number ?? 0 {
            self.owners[index].refusedFlows[accepted.partition] = (accepted.published.flow, refusal)
        }
        self.reply(index, accepted.dispatch, accepted.index, .refused(refusal))
    }

    /// The ingress reads one message of the owner.
    private mutating func leave(_ index: Int) {
        guard let message = self.owners[index].leaving.popFirst() else { return }
        switch message {
        case .acquired(let grant): self.follow(self.routes.acquired([grant], by: self.target(index)))
        case .ended(let grant): self.follow(self.routes.ended([grant], by: self.target(index)))
        case .outcome(let dispatch, let outcome):
            let after = self.flows.outcomes([outcome], of: dispatch)
            self.take(after.deliveries)
            if after.hasBegunFlow { self.flush() }
            // As `Relay.finish`.
            let changed = after.moved.flatMap { partition -> [PartitionID] in
                guard let flow = self.flows.flow(of: partition) else { return [] }
                return self.routes.ended([Grant(partition: partition, ownerEpoch: flow.route.ownerEpoch)], by: flow.route.target)
            }
            self.follow(changed)
        }
    }

    private mutating func take(_ deliveries: [PublishFlows.Delivery]) {
        for delivery in deliveries {
            for (index, outcome) in zip(delivery.indices, delivery.outcomes) {
                self.outcomeCounts[delivery.batch, default: [:]][index, default: 0] += 1
                guard case .refused = outcome else { continue }
                self.refused.insert(self.ids[delivery.batch]![index])
            }
        }
    }

    private mutating func follow(_ changed: [PartitionID]) {
        guard !changed.isEmpty else { return }
        self.flows.routesChanged(changed, self.routes)
        self.flush()
    }

    private mutating func flush() {
        while let dispatch = self.flows.flush(self.routes, now: 0) { self.send(dispatch) }
    }

    // MARK: - Faults

    /// A partition gets another owner, which seals the log. The former owner may learn that later.
    private mutating func move() {
        let partition = Int.random(in: 0..<Self.partitions.count, using: &self.random)
        let index = Int.random(in: 0..<3, using: &self.random)
        if self.chance(70) { for former in 0..<3 where former != index { self.release(former, partition) } }
        self.acquire(index, partition)
    }

    private mutating func acquire(_ index: Int, _ partition: PartitionID) {
        // Of an older grant of the same node.
        self.release(index, partition)
        let grant = Grant(partition: partition, ownerEpoch: (self.sealed[partition] ?? 0) + 1)
        self.sealed[partition] = grant.ownerEpoch
        self.owners[index].held[partition] = grant.ownerEpoch
        if index == 0 {
            // Before any later call of the sequencer returns.
            while !self.owners[0].leaving.isEmpty { self.leave(0) }
            self.follow(self.routes.acquired([grant], by: .here))
        } else {
            self.owners[index].leaving.append(.acquired(grant))
        }
    }

    private mutating func end() {
        self.release(Int.random(in: 0..<3, using: &self.random), Int.random(in: 0..<Self.partitions.count, using: &self.random))
    }

    /// As `Sequencer.end`: what is parked is refused, then the edges are told.
    private mutating func release(_ index: Int, _ partition: PartitionID) {
        guard let ownerEpoch = self.owners[index].held.removeValue(forKey: partition) else { return }
        let parked = self.owners[index].parked
        self.owners[index].parked = []
        for accepted in parked {
            if accepted.partition == partition {
                self.reply(index, accepted.dispatch, accepted.index, .refused(.moved))
            } else {
                self.owners[index].parked.append(accepted)
            }
        }
        let grant = Grant(partition: partition, ownerEpoch: ownerEpoch)
        if index == 0 {
            while !self.owners[0].leaving.isEmpty { self.leave(0) }
            self.follow(self.routes.ended([grant], by: .here))
        } else {
            self.owners[index].leaving.append(.ended(grant))
        }
    }

    /// The connection breaks: what is on its way is lost. The owner goes on with what it has accepted.
    private mutating func reconnect(_ index: Int) {
        self.counts.closed += 1
        let target = self.target(index)
        self.owners[index].arriving = []
        self.owners[index].leaving = []
        self.owners[index].session = 0
        self.follow(self.routes.closed(target))
        self.flows.closed(target)
        self.flush()
        self.connect(index)
    }

    private mutating func connect(_ index: Int) {
        self.owners[index].session = self.nextSession
        self.owners[index].isFull = false
        self.owners[index].refusedFlows = [:]
        self.nextSession += 1
        // Outcomes of events that the former connection has brought have no connection any more.
        self.owners[index].parked = self.owners[index].parked.map { Accepted(dispatch: .max, index: $0.index, published: $0.published) }
        for (partition, ownerEpoch) in self.owners[index].held.sorted(by: { $0.key < $1.key }) {
            self.owners[index].leaving.append(.acquired(Grant(partition: partition, ownerEpoch: ownerEpoch)))
        }
    }

    private mutating func drain(_ index: Int) {
        guard self.owners[index].isFull else { return }
        self.owners[index].isFull = false
        self.flows.drained(self.target(index))
        self.flush()
    }

    // MARK: - The end

    /// Gives every partition an owner, and lets everything arrive.
    mutating func settle() {
        for index in 1..<3 { self.drain(index) }
        for partition in 0..<Self.partitions.count {
            for index in 0..<3 { self.release(index, partition) }
            self.acquire(Int.random(in: 0..<3, using: &self.random), partition)
        }
        for _ in 0..<10_000 {
            for index in 0..<3 {
                self.arrive(index)
                self.commit(index)
                self.leave(index)
            }
        }
        for (channel, ids) in self.log where Set(ids).count != ids.count { self.problems.append("\(channel) has an event twice: \(ids)") }
        // A refused event may be stored: it was sent again after the refusal was lost, and refused there as a whole.
        for (channel, ids) in self.order {
            let stored = self.log[channel] ?? []
            let isComplete = Set(ids).subtracting(self.refused).isSubset(of: stored)
            if !isComplete || ids.filter(stored.contains) != stored { self.problems.append("\(channel) has \(stored) instead of \(ids)") }
        }
        for (batch, count) in self.published where self.outcomeCounts[batch]?.count != count || self.outcomeCounts[batch]!.values.contains(where: { $0 != 1 }) {
            self.problems.append("batch \(batch) of \(count) events has the outcomes \(self.outcomeCounts[batch] ?? [:])")
        }
        if !self.flows.isDrained || self.flows.heldEvents != 0 || self.flows.heldBytes != 0 {
            self.problems.append("\(self.flows.heldEvents) events, \(self.flows.heldBytes) bytes are still held")
        }
    }
}
