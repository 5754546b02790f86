import DequeModule
import NIOCore
import Partitioning
import Pipeline

/// Another node, seen from one sequencer of this node: the node's subscribers and publishers, over one data connection that the node has dialled.
///
/// The actor is pinned to the sequencer's loop. It lives as long as the connection: the node that connects again is a new edge, and tells all its interest
/// again.
actor RemoteEdge: Edge, PublishOrigin {
    nonisolated let unownedExecutor: UnownedSerialExecutor
    nonisolated let loop: any EventLoop
    private let sequencer: Sequencer
    private let sender: LinkSender
    private let partitions: Partitions
    /// The node's channels, with the numbers of its subscribers that the sequencer counts.
    private var channels: [ChannelName: Channel] = [:]
    /// The flows of which an event was refused, up to this number, by partition: see ``PublishFlows``.
    private var refusedFlows: [PartitionID: (number: UInt64, refusal: PublishRefusal)] = [:]
    /// Publishes whose outcomes the sequencer has not returned. The sequencer's numbers of batches are this actor's; the node's numbers may repeat over relays.
    private var batches: [UInt64: (relay: UInt16, id: UInt64, events: [IndexedEvent], outstanding: Int)] = [:]
    private var nextBatch: UInt64 = 0
    /// Channels with events that were not sent, because the link takes no more. Nil while the link takes events.
    private var missed: Set<ChannelName>?
    /// The channels whose heads are compared next, once a second some of them.
    private var toCompare: Deque<ChannelName> = []
    /// The channels in `toCompare`: a channel is listed once, however often it closes and opens.
    private var listed: Set<ChannelName> = []
    private var isClosed = false
    private var metrics = RelayMetrics()

    private struct Channel {
        var subscribers = 0
        var isOpen = false
    }

    init(sequencer: Sequencer, sender: LinkSender, partitions: Partitions) {
        self.sequencer = sequencer
        self.loop = sequencer.loop
        self.unownedExecutor = sequencer.loop.executor.asUnownedSerialExecutor()
        self.sender = sender
        self.partitions = partitions
    }

    nonisolated var id: EdgeID { .session(self.sender.session) }

    nonisolated func run(_ body: @escaping @Sendable (isolated RemoteEdge) -> Void) {
        if self.loop.inEventLoop {
            self.assumeIsolated(body)
        } else {
            self.loop.execute { self.assumeIsolated(body) }
        }
    }

    func open() {
        let edge = self
        self.sequencer.onLoop { $0.add(edge, as: edge.id) }
    }

    /// Ends the node's interest, in slices, then the edge.
    func close() {
        self.isClosed = true
        let slice = self.channels.prefix(Slices.channelsMax)
        let changes = slice.map { InterestChange(channel: $0.key, subscribers: -$0.value.subscribers, wanted: .close) }
        for change in changes { self.channels[change.channel] = nil }
        if !changes.isEmpty { self.sequencer.interest(changes, edge: self.id) }
        guard self.channels.isEmpty else {
            return self.loop.afterSockets { self.assumeIsolated { $0.close() } }
        }
        self.sequencer.onLoop { $0.removeEdge(self.id) }
    }

    /// A frame that must arrive. If the link has no room for it, the link is closed: the node then asks again for everything, and publishes again.
    private func send(_ frame: RelayFrame) {
        if !self.isClosed, !self.sender.send(frame) { self.sender.close() }
    }

    // MARK: - From the node

    /// An event of a frame, and its index there.
    typealias IndexedEvent = (index: Int, published: RelayFrame.PublishedEvent)

    func publish(relay: UInt16, id: UInt64, _ events: [IndexedEvent]) {
        var refused: [RelayFrame.IndexedOutcome] = []
        for (index, published) in events {
            if let refusal = self.refusal(of: published) { refused.append(RelayFrame.IndexedOutcome(index: index, outcome: .refused(refusal))) }
        }
        var accepted = events
        if !refused.isEmpty {
            let indices = Set(refused.map(\.index))
            accepted.removeAll { indices.contains($0.index) }
            self.send(refused, relay: relay, id: id)
        }
        guard !accepted.isEmpty else { return }
        let number = self.nextBatch
        self.nextBatch += 1
        self.batches[number] = (relay, id, accepted, accepted.count)
        self.sequencer.publish(PublishBatch(id: number, events: accepted.map(\.published.event), origin: self))
    }

    /// Why an event is refused before the sequencer gets it. Nil if it is not.
    private func refusal(of published: RelayFrame.PublishedEvent) -> PublishRefusal? {
        let partition = self.partitions.partition(ofHash: published.event.channel.hash64)
        guard self.sequencer.onLoop({ $0.ownerEpoch(of: partition) }) == published.ownerEpoch else {
            self.refuse(published, .moved)
            return .moved
        }
        guard let refused = self.refusedFlows[partition], published.flow <= refused.number else { return nil }
        return refused.refusal
    }

    /// Refuses all later events of this event's flow.
    private func refuse(_ published: RelayFrame.PublishedEvent, _ refusal: PublishRefusal) {
        let partition = self.partitions.partition(ofHash: published.event.channel.hash64)
        // The refusal of an older flow may come late: a commit was in doubt.
        if let refused = self.refusedFlows[partition], refused.number > published.flow { return }
        self.refusedFlows[partition] = (published.flow, refusal)
    }

    nonisolated var mayLoseOutcomes: Bool { true }

    /// From the sequencer.
    nonisolated func published(_ outcomes: [PublishOutcome], batch: UInt64, from index: Int) {
        self.run { $0.finish(batch, outcomes, from: index) }
    }

    private func finish(_ number: UInt64, _ outcomes: [PublishOutcome], from start: Int) {
        guard let batch = self.batches[number] else { return }
        self.batches[number] = batch.outstanding > outcomes.count ? (batch.relay, batch.id, batch.events, batch.outstanding - outcomes.count) : nil
        let indexed = outcomes.enumerated().map { index, outcome in
            let (index, published) = batch.events[start + index]
            guard case .refused(let refusal) = outcome else { return RelayFrame.IndexedOutcome(index: index, outcome: outcome) }
            // This node stops, and not the node that publishes: that one sends the event to the next owner.
            let refused = refusal == .stopping ? .moved : refusal
            if refused.isTransient { self.refuse(published, refused) }
            return RelayFrame.IndexedOutcome(index: index, outcome: .refused(refused))
        }
        self.send(indexed, relay: batch.relay, id: batch.id)
    }

    private func send(_ outcomes: [RelayFrame.IndexedOutcome], relay: UInt16, id: UInt64) {
        for part in stride(from: 0, to: outcomes.count, by: RelayFrame.outcomesMax) {
            self.send(.outcomes(relay: relay, id: id, Array(outcomes[part..<min(part + RelayFrame.outcomesMax, outcomes.count)])))
        }
    }

    func interest(_ interests: [RelayFrame.ChannelInterest]) {
        guard !self.isClosed else { return }
        let changes = interests.map { interest in
            var channel = self.channels[interest.channel] ?? Channel()
            let change = InterestChange(channel: interest.channel, subscribers: interest.subscribers - channel.subscribers, wanted: interest.wanted)
            channel.subscribers = interest.subscribers
            switch interest.wanted {
            case .open:
                if self.listed.insert(interest.channel).inserted { self.toCompare.append(interest.channel) }
                channel.isOpen = true
            case .close: channel.isOpen = false
            case .unchanged: break
            }
            self.channels[interest.channel] = channel.isOpen || channel.subscribers > 0 ? channel : nil
            return change
        }
        self.sequencer.interest(changes, edge: self.id)
    }

    func request(relay: UInt16, token: UInt64, _ request: RelayRequest) {
        guard let channel = request.channel else { return }
        let partition = self.partitions.partition(ofHash: channel.hash64)
        Task {
            let reply = await self.sequencer.answer(request, partition: partition)
            self.reply(relay: relay, token: token, reply)
        }
    }

    /// A reply for which the link has no room is replaced by a short one: the node asks again later.
    func reply(relay: UInt16, token: UInt64, _ reply: RelayReply) {
        guard !self.isClosed, !self.sender.send(.reply(relay: relay, token: token, reply), isBulk: true) else { return }
        let busy = LogError(.unavailable, "too many bytes wait for the link to the node that asks; try again in a few seconds")
        self.send(.reply(relay: relay, token: token, .failed(busy)))
    }

    // MARK: - From the sequencer

    nonisolated func ownershipChanged(acquired: [Grant], ended: [Grant]) {
        self.run { edge in
            // The end of an old grant and the next grant of the partition come together.
            if !ended.isEmpty { edge.send(.ended(ended)) }
            if !acquired.isEmpty { edge.send(.acquired(acquired)) }
        }
    }

    nonisolated func relay(_ messages: [EdgeMessage]) { self.run { $0.take(messages) } }

    private func take(_ messages: [EdgeMessage]) {
        guard !self.isClosed else { return }
        var opened: [RelayFrame.OpenedChannel] = []
        for message in messages {
            switch message {
            case .opened(let channel, let head, let ownerEpoch):
                opened.append(RelayFrame.OpenedChannel(channel: channel, head: head, ownerEpoch: ownerEpoch))
            case .events(let events): self.take(events)
            }
        }
        self.send(opened)
    }

    private func take(_ relayed: RelayedEvents) {
        var part = RelayedEvents()
        var bytes = 0
        for (index, event) in relayed.events.enumerated() {
            let size = event.event.accountedBytes
            if !part.isEmpty, bytes + size > RelayFrame.bytesMax {
                self.send(part)
                part = RelayedEvents()
                bytes = 0
            }
            part.append(event, under: relayed.ownerEpoch(of: index))
            bytes += size
        }
        self.send(part)
    }

    private func send(_ events: RelayedEvents) {
        if self.missed == nil {
            if self.sender.send(.events(events), isBulk: true) {
                self.metrics.relayedFrames += 1
                self.metrics.relayedEvents += UInt64(events.events.count)
                return
            }
            self.metrics.timesBehind += 1
            self.missed = []
        }
        for event in events.events { self.missed!.insert(event.event.channel) }
    }

    /// While the edge is behind, it gets no heads either: it would read from the log what it then gets again.
    private func send(_ opened: [RelayFrame.OpenedChannel]) {
        guard !opened.isEmpty else { return }
        if self.missed == nil, self.sender.send(.opened(opened), isBulk: true) { return }
        if self.missed == nil {
            self.metrics.timesBehind += 1
            self.missed = []
        }
        for channel in opened { self.missed!.insert(channel.channel) }
    }

    /// The link takes frames again: the node gets the present heads of all channels of which it missed events, and reads the events from the log.
    func drained() {
        guard let missed = self.missed, !self.isClosed else { return }
        self.missed = nil
        var rest = Array(missed)[...]
        while !rest.isEmpty {
            let part = Array(rest.prefix(RelayFrame.entriesMax))
            rest = rest.dropFirst(RelayFrame.entriesMax)
            let heads = self.sequencer.onLoop { $0.heads(of: part) }
            self.take(heads)
            // The link is full again.
            if self.missed != nil {
                self.missed!.formUnion(rest)
                return
            }
        }
    }

    // MARK: - Once a second

    /// Sends the present heads of some channels, in turn. A node that has a lower head has missed an event without noticing: nothing followed it.
    func compare() {
        guard self.missed == nil, !self.isClosed else { return }
        var channels: [ChannelName] = []
        for _ in 0..<min(self.toCompare.count, Slices.channelsMax) {
            let channel = self.toCompare.removeFirst()
            guard self.channels[channel]?.isOpen == true else {
                self.listed.remove(channel)
                continue
            }
            channels.append(channel)
            self.toCompare.append(channel)
        }
        if channels.isEmpty { return }
        let heads = self.sequencer.onLoop { $0.heads(of: channels) }
        self.take(heads)
    }

    var currentMetrics: RelayMetrics {
        var metrics = self.metrics
        metrics.edgesBehind = self.missed == nil ? 0 : 1
        return metrics
    }
}

extension Sequencer {
    /// Answers a read of a channel, if this sequencer serves the channel's partition. Waits while the log is being sealed.
    func answer(_ request: RelayRequest, partition: PartitionID) async -> RelayReply {
        do throws(LogError) {
            guard try await self.isServed(partition) else { return .moved }
            switch request {
            case .history(let channel, let position, let limit, let bytesMax):
                return .history(try await self.history(of: channel, after: position, limit: limit, bytesMax: bytesMax))
            case .barrier(let channel):
                let head = try await self.head(of: channel)
                return self.ownerEpoch(of: partition).map { .opened(head: head, ownerEpoch: $0) } ?? .moved
            case .head(let channel): return .head(try await self.head(of: channel))
            case .subscribers(let channel): return .subscribers(self.subscribers(of: channel))
            case .channels: return .moved
            }
        } catch {
            return error.code == .fenced ? .moved : .failed(error)
        }
    }
}
