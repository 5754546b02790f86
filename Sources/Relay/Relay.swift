import DequeModule
import NIOCore
import Partitioning
import Pipeline

/// Stands in front of one sequencer of this node, for the same partitions: passes publishes, interest and reads to the owner of each partition, which is the
/// sequencer or another node.
///
/// The actor is pinned to the sequencer's loop, so that a call of the sequencer crosses no thread. ``RouteTable`` says who owns a partition, ``PublishFlows``
/// keeps the order of publishes over changes of owners, ``InterestTable`` knows the channels of this node's subscribers.
actor Relay: ChannelOwner, Edge, PublishOrigin {
    nonisolated let unownedExecutor: UnownedSerialExecutor
    nonisolated let loop: any EventLoop
    /// The number of this relay, which other nodes send back with their replies.
    nonisolated let number: UInt16
    private let sequencer: Sequencer
    private let partitions: Partitions
    private let clocks: Clocks
    private let settings: RelaySettings
    private var routes: RouteTable
    private var flows: PublishFlows
    private var interest: InterestTable
    /// The fanouts, by the number of their loop.
    private var fanouts: [any Edge] = []
    /// Connections that this node has dialled.
    private var owners: [UInt64: LinkSender] = [:]
    /// Interest that the links to owners have not taken yet, by session.
    private var unsentInterest: [UInt64: InterestQueue] = [:]
    /// Requests at other nodes, by token.
    private var requests: [UInt64: (session: UInt64, continuation: CheckedContinuation<RelayReply, Never>)] = [:]
    private var nextToken: UInt64 = 1
    /// Calls that wait for a change of their partition's route, oldest first.
    private var waiting: [PartitionID: [(deadline: Int64, continuation: CheckedContinuation<Void, Never>)]] = [:]
    /// Reads at each owner. Each has its own places, so that reads at a slow one do not delay the others.
    private var reads: [RelayTarget: Reads] = [:]
    private var isFlushing = false
    private var isStopping = false
    private var refusedBatches: UInt64 = 0

    init(number: Int, sequencer: Sequencer, partitions: Partitions, clocks: Clocks, settings: RelaySettings) {
        self.number = UInt16(number)
        self.sequencer = sequencer
        self.loop = sequencer.loop
        self.unownedExecutor = sequencer.loop.executor.asUnownedSerialExecutor()
        self.partitions = partitions
        self.clocks = clocks
        self.settings = settings
        self.routes = RouteTable(partitions: partitions.count)
        self.flows = PublishFlows(partitions: partitions, eventsMax: settings.heldEventsMax, bytesMax: settings.heldBytesMax)
        self.interest = InterestTable(partitions: partitions.count)
    }

    /// Begins to follow the sequencer's partitions. `fanouts` are in the order of their loops' numbers.
    func start(_ fanouts: [any Edge]) async {
        self.fanouts = fanouts
        await self.sequencer.add(self, as: .relay)
    }

    nonisolated func run(_ body: @escaping @Sendable (isolated Relay) -> Void) {
        if self.loop.inEventLoop {
            self.assumeIsolated(body)
        } else {
            self.loop.execute { self.assumeIsolated(body) }
        }
    }

    private func partition(of channel: ChannelName) -> PartitionID { self.partitions.partition(ofHash: channel.hash64) }

    // MARK: - Routes

    /// The relay is an edge of its sequencer only to learn which partitions the sequencer owns.
    nonisolated func relay(_ messages: [EdgeMessage]) {}

    nonisolated func ownershipChanged(acquired: [Grant], ended: [Grant]) {
        self.run { relay in
            let changed = relay.routes.ended(ended, by: .here) + relay.routes.acquired(acquired, by: .here)
            relay.follow(changed)
        }
    }

    func opened(_ sender: LinkSender) { self.owners[sender.session] = sender }

    func closed(_ session: UInt64) {
        self.owners[session] = nil
        self.unsentInterest[session] = nil
        let target = RelayTarget.session(session)
        if !Defect.interestKeptOverSessions.isActive { self.interest.closed(target) }
        self.follow(self.routes.closed(target))
        self.flows.closed(target)
        self.flush()
        // Reads are asked again elsewhere; they change nothing at the owner.
        self.endQueuedReads(at: target, until: .max)
        for (token, request) in self.requests where request.session == session {
            self.requests[token] = nil
            request.continuation.resume(returning: .moved)
        }
    }

    func acquired(_ grants: [Grant], by session: UInt64) { self.follow(self.routes.acquired(grants, by: .session(session))) }

    func ended(_ grants: [Grant], by session: UInt64) { self.follow(self.routes.ended(grants, by: .session(session))) }

    private func follow(_ changed: [PartitionID]) {
        guard !changed.isEmpty else { return }
        self.flows.routesChanged(changed, self.routes)
        self.moveInterest(changed)
        for partition in changed {
            for waiting in self.waiting.removeValue(forKey: partition) ?? [] { waiting.continuation.resume() }
        }
        self.flush()
    }

    // MARK: - Publishing

    nonisolated func publish(_ batch: PublishBatch) { self.run { $0.take(batch) } }

    private func take(_ batch: PublishBatch) {
        if self.isStopping { return self.refuse(batch, .stopping) }
        guard let dispatches = self.flows.accept(batch, routes: self.routes, now: self.clocks.steady()) else {
            self.refusedBatches += 1
            return self.refuse(batch, .overloaded)
        }
        // Behind a dispatch that the link has refused, no later one of the same target is sent: it would overtake.
        var refused: [PublishFlows.Dispatch] = []
        for dispatch in dispatches where refused.contains(where: { $0.target == dispatch.target }) || !self.send(dispatch) { refused.append(dispatch) }
        for dispatch in refused.reversed() { self.flows.unsent(dispatch) }
    }

    private func refuse(_ batch: PublishBatch, _ refusal: PublishRefusal) {
        batch.origin.published(Array(repeating: .refused(refusal), count: batch.events.count), batch: batch.id, from: batch.events.startIndex)
    }

    /// Returns false if the link does not take the dispatch now.
    private func send(_ dispatch: PublishFlows.Dispatch) -> Bool {
        switch dispatch.target {
        case .here:
            switch dispatch.events {
            case .whole(var batch):
                // The events are not copied, and keep their indices.
                batch.id = dispatch.id
                batch.origin = self
                self.sequencer.publish(batch)
            case .picked(let picked):
                self.sequencer.publish(PublishBatch(id: dispatch.id, events: picked.map(\.event), origin: self))
            }
            return true
        case .session(let session):
            // In bulk, so that a link that is full of publishes still takes interest and reads.
            return self.owners[session]?.send(.publish(relay: self.number, id: dispatch.id, self.published(dispatch)), isBulk: true) ?? false
        }
    }

    private func published(_ dispatch: PublishFlows.Dispatch) -> [RelayFrame.PublishedEvent] {
        let flow = { (event: Event) in
            let flow = self.flows.flow(of: self.partition(of: event.channel))
            return RelayFrame.PublishedEvent(event: event, ownerEpoch: flow?.route.ownerEpoch ?? 0, flow: flow?.number ?? 0)
        }
        return switch dispatch.events {
        case .whole(let batch): batch.events.map(flow)
        case .picked(let events): events.map { flow($0.event) }
        }
    }

    /// Sends what is parked and has a target now. A call of the sequencer may change routes before it returns: then the loop of the first call goes on.
    private func flush() {
        guard !self.isFlushing else { return }
        if Defect.bufferFlushedByTimer.isActive, self.clocks.steady() % 6000 > 400 { return }
        self.isFlushing = true
        while let dispatch = self.flows.flush(self.routes, now: self.clocks.steady()) {
            if !self.send(dispatch) { self.flows.unsent(dispatch) }
        }
        self.isFlushing = false
    }

    /// From the sequencer.
    nonisolated func published(_ outcomes: [PublishOutcome], batch: UInt64, from index: Int) {
        self.run { relay in
            if let whole = relay.flows.finish(batch, outcomes, from: index) { return whole.origin.published(outcomes, batch: whole.id, from: index) }
            relay.finish(batch, outcomes.enumerated().map { RelayFrame.IndexedOutcome(index: index + $0, outcome: $1) })
        }
    }

    /// From the sequencer, or from another node.
    func finish(_ id: UInt64, _ outcomes: [RelayFrame.IndexedOutcome]) {
        let after = self.flows.outcomes(outcomes, of: id)
        self.deliver(after.deliveries)
        if after.hasBegunFlow { self.flush() }
        let changed = after.moved.flatMap { partition -> [PartitionID] in
            guard let flow = self.flows.flow(of: partition) else { return [] }
            return self.routes.ended([Grant(partition: partition, ownerEpoch: flow.route.ownerEpoch)], by: flow.route.target)
        }
        self.follow(changed)
    }

    private func deliver(_ deliveries: [PublishFlows.Delivery]) {
        for delivery in deliveries { delivery.origin.published(delivery.outcomes, batch: delivery.batch, at: delivery.indices) }
    }

    /// A link takes frames again.
    func drained(_ session: UInt64) {
        self.flows.drained(.session(session))
        self.flush()
        self.sendQueuedInterest(to: session)
    }

    // MARK: - Interest

    nonisolated func interest(_ changes: [InterestChange], edge: EdgeID) {
        guard case .loop(let number) = edge else { return }
        self.run { $0.take(changes, loop: number) }
    }

    private func take(_ changes: [InterestChange], loop number: Int) {
        var here: [InterestChange] = []
        var remote: [UInt64: [RelayFrame.ChannelInterest]] = [:]
        for change in changes {
            let partition = self.partition(of: change.channel)
            let interest = self.interest.change(change, loop: number, in: partition)
            switch self.interest.openedAt[partition] {
            case .here: here.append(change)
            case .session(let session): if let interest { remote[session, default: []].append(interest) }
            case nil: break
            }
        }
        if !here.isEmpty { self.sequencer.interest(here, edge: .loop(number)) }
        for (session, interests) in remote { self.send(interests, to: session) }
    }

    /// Opens the channels of partitions at their new owners, and closes them at their former ones. While a partition has no owner, they stay open where they
    /// are: the former owner may be the next one.
    private func moveInterest(_ changed: [PartitionID]) {
        var sessions: Set<UInt64> = []
        for partition in changed {
            let former = self.interest.openedAt[partition]
            guard let target = self.routes[partition]?.target, target != former else { continue }
            let entries = Defect.interestKeptOverSessions.isActive && former != nil ? [:] : self.interest.entries(of: partition)
            self.interest.open(partition, at: target)
            if former == .here { self.changeHere(entries, isOpening: false) }
            if target == .here { self.changeHere(entries, isOpening: true) }
            for case .session(let session)? in [former, target] where self.owners[session] != nil && !entries.isEmpty {
                for channel in entries.keys { self.unsentInterest[session, default: InterestQueue()].append(channel) }
                sessions.insert(session)
            }
        }
        for session in sessions { self.sendQueuedInterest(to: session) }
    }

    /// Sends changes, unless earlier ones wait: then the channels wait too.
    private func send(_ interests: [RelayFrame.ChannelInterest], to session: UInt64) {
        guard let sender = self.owners[session] else { return }
        if self.unsentInterest[session] == nil, interests.count <= Slices.channelsMax, sender.send(.interest(interests)) { return }
        let isSending = self.unsentInterest[session] != nil
        for interest in interests { self.unsentInterest[session, default: InterestQueue()].append(interest.channel) }
        if !isSending { self.sendQueuedInterest(to: session) }
    }

    /// Sends a slice of the waiting channels' present interest, and the next one in the next turn of the loop. A link that takes no more is tried again when it
    /// has drained.
    private func sendQueuedInterest(to session: UInt64) {
        guard let sender = self.owners[session], let channels = self.unsentInterest[session]?.take(Slices.channelsMax) else { return }
        let interests = channels.map { self.interest.interest(in: $0, of: self.partition(of: $0), at: .session(session)) }
        guard sender.send(.interest(interests)) else {
            for channel in channels { self.unsentInterest[session]!.append(channel) }
            return
        }
        if self.unsentInterest[session]!.isEmpty {
            self.unsentInterest[session] = nil
        } else if self.sendingInterest.insert(session).inserted {
            self.loop.afterSockets {
                self.assumeIsolated { relay in
                    relay.sendingInterest.remove(session)
                    relay.sendQueuedInterest(to: session)
                }
            }
        }
    }

    /// Sessions that get their next slice in the next turn of the loop.
    private var sendingInterest: Set<UInt64> = []

    private func changeHere(_ entries: [ChannelName: InterestTable.Entry], isOpening: Bool) {
        var byLoop: [[InterestChange]] = Array(repeating: [], count: self.fanouts.count)
        for (channel, entry) in entries {
            // The sequencer has one number of subscribers for each channel, so the first loop reports all of them.
            var subscribers = isOpening ? entry.subscribers : -entry.subscribers
            entry.loops.forEach { loop in
                byLoop[loop].append(InterestChange(channel: channel, subscribers: subscribers, wanted: isOpening ? .open : .close))
                subscribers = 0
            }
            if subscribers != 0 { byLoop[0].append(InterestChange(channel: channel, subscribers: subscribers, wanted: .unchanged)) }
        }
        for (loop, changes) in byLoop.enumerated() where !changes.isEmpty { self.sequencer.interest(changes, edge: .loop(loop)) }
    }

    // MARK: - Events of other nodes

    func received(_ channels: [RelayFrame.OpenedChannel]) {
        var byLoop: [[EdgeMessage]] = Array(repeating: [], count: self.fanouts.count)
        for opened in channels {
            self.interest.entry(opened.channel, in: self.partition(of: opened.channel))?.loops.forEach {
                byLoop[$0].append(.opened(opened.channel, head: opened.head, ownerEpoch: opened.ownerEpoch))
            }
        }
        for (loop, messages) in byLoop.enumerated() where !messages.isEmpty { self.fanouts[loop].relay(messages) }
    }

    func received(_ relayed: RelayedEvents) {
        if self.fanouts.count == 1 { return self.fanouts[0].relay([.events(relayed)]) }
        var byLoop: [RelayedEvents] = Array(repeating: RelayedEvents(), count: self.fanouts.count)
        for (index, event) in relayed.events.enumerated() {
            self.interest.entry(event.event.channel, in: self.partition(of: event.event.channel))?.loops.forEach {
                byLoop[$0].append(event, under: relayed.ownerEpoch(of: index))
            }
        }
        for (loop, events) in byLoop.enumerated() where !events.isEmpty { self.fanouts[loop].relay([.events(events)]) }
    }

    // MARK: - Reading

    nonisolated func history(of channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice {
        switch try await self.ask(.history(channel, after: position, limit: limit, bytesMax: bytesMax), about: channel) {
        case .history(let slice): return slice
        default: throw Self.unexpected
        }
    }

    /// The owner's present head reaches this node's loops before this method returns. So a feed that is behind, because events were held back at a full link or
    /// because a new owner has not reported its heads yet, is not compared with a subscriber that has seen more.
    nonisolated func barrier(_ channel: ChannelName) async throws(LogError) {
        switch try await self.ask(.barrier(channel), about: channel) {
        case .opened(let head, let ownerEpoch):
            await self.received([RelayFrame.OpenedChannel(channel: channel, head: head, ownerEpoch: ownerEpoch)])
        default: throw Self.unexpected
        }
    }

    nonisolated func head(of channel: ChannelName) async throws(LogError) -> Position {
        switch try await self.ask(.head(channel), about: channel) {
        case .head(let position): return position
        default: throw Self.unexpected
        }
    }

    nonisolated func subscribers(of channel: ChannelName) async throws(LogError) -> Int {
        switch try await self.ask(.subscribers(channel), about: channel) {
        case .subscribers(let count): return count
        default: throw Self.unexpected
        }
    }

    private static let unexpected = LogError(.unavailable, "another node has sent a reply of the wrong kind; run the same version on all nodes")
    private static let unreachable = LogError(
        .unavailable, "the node that owns this channel cannot be reached, and no other node owns it yet; try again in a few seconds")

    /// Asks the owner of the channel's partition, and its next owner if it has none or loses it meanwhile. Throws after ``RelaySettings/readMillisecondsMax``
    /// without an owner.
    private func ask(_ request: RelayRequest, about channel: ChannelName) async throws(LogError) -> RelayReply {
        let partition = self.partition(of: channel)
        let deadline = self.clocks.steady() + self.settings.readMillisecondsMax
        while true {
            let route = self.routes[partition]
            let reply = if let route { await self.ask(request, about: partition, at: route.target, deadline: deadline) } else { RelayReply.moved }
            switch reply {
            case .failed(let error): throw error
            case .moved: break
            default: return reply
            }
            guard self.clocks.steady() < deadline, !self.isStopping else { throw Self.unreachable }
            // Another route may have been announced during the request.
            if self.routes[partition] == route {
                await withCheckedContinuation { self.waiting[partition, default: []].append((deadline, $0)) }
            }
        }
    }

    private struct Reads {
        var inFlight = 0
        /// Reads that wait for a place. They continue with true if they have one.
        var queued: Deque<(deadline: Int64, continuation: CheckedContinuation<Bool, Never>)> = []
    }

    /// Asks in its turn: after a take-over the feeds of all channels read at the same time, and a log answers a bounded number of reads at once.
    private func ask(_ request: RelayRequest, about partition: PartitionID, at target: RelayTarget, deadline: Int64) async -> RelayReply {
        if target == .here {
            // Without a place: it is unknown how long the log is being sealed, and other partitions can be read meanwhile.
            do throws(LogError) {
                guard try await self.sequencer.isServed(partition) else { return .moved }
            } catch {
                return .failed(error)
            }
        }
        if self.reads[target]?.inFlight ?? 0 < Self.readsInFlightMax {
            self.reads[target, default: Reads()].inFlight += 1
        } else {
            let hasPlace = await withCheckedContinuation { self.reads[target, default: Reads()].queued.append((deadline, $0)) }
            guard hasPlace else { return .moved }
        }
        defer { self.readEnded(at: target) }
        return switch target {
        case .here: await self.sequencer.answer(request, partition: partition)
        case .session(let session): await self.ask(request, at: session)
        }
    }

    /// Gives the place to the next read.
    private func readEnded(at target: RelayTarget) {
        if let next = self.reads[target]?.queued.popFirst() {
            next.continuation.resume(returning: true)
        } else {
            self.reads[target]?.inFlight -= 1
            if self.reads[target]?.inFlight == 0 { self.reads[target] = nil }
        }
    }

    /// Ends the waiting reads whose deadline is not after `time`. They are asked again, unless their time is over.
    private func endQueuedReads(at target: RelayTarget, until time: Int64) {
        while let first = self.reads[target]?.queued.first, first.deadline <= time {
            self.reads[target]!.queued.removeFirst()
            first.continuation.resume(returning: false)
        }
    }

    private static let readsInFlightMax = 128

    private func ask(_ request: RelayRequest, at session: UInt64) async -> RelayReply {
        guard let sender = self.owners[session] else { return .moved }
        let token = self.nextToken
        self.nextToken += 1
        return await withCheckedContinuation { continuation in
            self.requests[token] = (session, continuation)
            guard sender.send(.request(relay: self.number, token: token, request)) else {
                self.requests[token] = nil
                continuation.resume(
                    returning: .failed(LogError(.unavailable, "too many bytes wait for the node that owns this channel; try again in a few seconds")))
                return
            }
        }
    }

    func replied(_ token: UInt64, _ reply: RelayReply) {
        self.requests.removeValue(forKey: token)?.continuation.resume(returning: reply)
    }

    /// The channels that other nodes serve, from each of them. Only one relay of a node asks, because each node answers for all its partitions.
    func listElsewhere(prefix: String, after: String?, limit: Int) async throws(LogError) -> [ListedChannel] {
        var found: [ListedChannel] = []
        for session in self.owners.keys.sorted() {
            switch await self.ask(.channels(prefix: prefix, after: after, limit: limit), at: session) {
            case .channels(let channels): found += channels
            case .failed(let error): throw error
            // The session has closed: its partitions get another owner.
            case .moved: throw LogError(.unavailable, "a node of the cluster has just become unreachable; try again in a few seconds")
            default: throw Self.unexpected
            }
        }
        return found
    }

    // MARK: - Time

    /// Refuses what has waited too long. Called a few times a second.
    func tick() {
        let now = self.clocks.steady()
        self.deliver(self.flows.expire(before: now - self.settings.parkedMillisecondsMax))
        if Defect.bufferFlushedByTimer.isActive { self.flush() }
        for (partition, waiting) in self.waiting where waiting.contains(where: { $0.deadline <= now }) {
            self.waiting[partition] = waiting.filter { $0.deadline > now }
            for expired in waiting where expired.deadline <= now { expired.continuation.resume() }
        }
        for target in self.reads.keys { self.endQueuedReads(at: target, until: now) }
    }

    /// Refuses new publishes. Returns true if every accepted publish has its outcome. Called again and again until then.
    func stop() -> Bool {
        self.isStopping = true
        self.tick()
        return self.flows.isDrained
    }

    /// Refuses every publish that waits, and ends all calls that wait.
    func abandon() {
        self.flows.takeBackAll()
        self.deliver(self.flows.expire(before: .max))
        for target in self.reads.keys { self.endQueuedReads(at: target, until: .max) }
        for (_, waiting) in self.waiting { for call in waiting { call.continuation.resume() } }
        self.waiting = [:]
        for (_, request) in self.requests { request.continuation.resume(returning: .moved) }
        self.requests = [:]
    }

    var metrics: RelayMetrics {
        RelayMetrics(
            parkedEvents: self.flows.parkedEvents, heldEvents: self.flows.heldEvents, sentAgain: self.flows.metrics.sentAgain,
            expired: self.flows.metrics.expired, refusedBatches: self.refusedBatches)
    }

    /// The partitions of this relay without an owner that this node knows.
    func unrouted(_ indices: (PartitionID) -> Bool) -> Int { (0..<self.partitions.count).count { indices($0) && self.routes[$0] == nil } }
}
