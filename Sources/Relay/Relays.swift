package import Link
package import Logging
import NIOConcurrencyHelpers
package import NIOCore
package import Partitioning
package import Pipeline

/// The data path between this node and the others: a ``Relay`` in front of each sequencer, and a ``RemoteEdge`` for each sequencer and each connection that
/// another node has dialled.
///
/// On a connection that this node has dialled, it is the edge and the other node the owner; on a connection that the other node has dialled, the roles are
/// swapped. Frames are decoded on the connection's loop, and cross to the loops of the relays or sequencers as batches. One lock protects the list of sessions;
/// it is held for a look-up.
package final class Relays: LinkDataReceiver, ChannelDirectory {
    private enum Session {
        case owner(LinkSender)
        case edge([RemoteEdge], HandoffReceiver)
    }

    private struct State {
        var sessions: [UInt64: Session] = [:]
        /// Nil before ``start(_:fanouts:clocks:settings:)``.
        var stages: Stages?
        var malformed: UInt64 = 0
    }

    /// What exists after the start.
    private struct Stages {
        var relays: [Relay]
        var router: Router
        var sequencers: Sequencers
        var partitions: Partitions
        /// Nil if nodes share the log's storage.
        var handoffs: Handoffs?
    }

    private let state = NIOLockedValueBox(State())
    private let logger: Logger

    package init(logger: Logger) {
        self.logger = logger
    }

    /// Makes the relays. Connections that open before this call are closed; the other node dials again.
    ///
    /// Returns the router that fanouts and publishers use.
    package func makeRouter(_ sequencers: Sequencers, partitions: Partitions, clocks: Clocks, settings: RelaySettings) -> Router {
        let relays = sequencers.all.enumerated().map { number, sequencer in
            Relay(number: number, sequencer: sequencer, partitions: partitions, clocks: clocks, settings: settings)
        }
        let router = Router(relays, partitions: partitions)
        let handoffs = sequencers.transfer.map { Handoffs(sequencers: sequencers, transfer: $0, clocks: clocks, logger: self.logger) }
        self.state.withLockedValue {
            $0.stages = Stages(relays: relays, router: router, sequencers: sequencers, partitions: partitions, handoffs: handoffs)
        }
        return router
    }

    /// Begins to follow the sequencers' partitions. `fanouts` are in the order of their loops' numbers. Must be called before the sequencers acquire partitions.
    package func start(_ fanouts: [any Edge]) async {
        for relay in self.relays { await relay.start(fanouts) }
    }

    private var relays: [Relay] { self.state.withLockedValue { $0.stages?.relays ?? [] } }

    // MARK: - Connections

    package func opened(_ connection: LinkDataConnection) {
        let sender = LinkSender(connection)
        let opened: (Stages, Session)? = self.state.withLockedValue { state in
            guard let stages = state.stages else { return nil }
            let session: Session
            switch connection.direction {
            case .outgoing: session = .owner(sender)
            case .incoming:
                session = .edge(
                    stages.sequencers.all.map { RemoteEdge(sequencer: $0, sender: sender, partitions: stages.partitions) },
                    HandoffReceiver(transfer: stages.sequencers.transfer, sender: sender))
            }
            state.sessions[connection.session] = session
            return (stages, session)
        }
        guard let (stages, session) = opened else { return connection.close() }
        switch session {
        case .owner: for relay in stages.relays { relay.run { $0.opened(sender) } }
        case .edge(let edges, _): for edge in edges { edge.run { $0.open() } }
        }
    }

    package func closed(_ connection: LinkDataConnection, _ loss: LinkLoss) {
        let closed = self.state.withLockedValue { state in
            state.sessions.removeValue(forKey: connection.session).map { ($0, state.stages) }
        }
        guard let (session, stages) = closed else { return }
        switch session {
        case .owner:
            for relay in stages?.relays ?? [] { relay.run { $0.closed(connection.session) } }
            if let handoffs = stages?.handoffs { Task { await handoffs.closed(connection.session) } }
        case .edge(let edges, let receiver):
            for edge in edges { edge.run { $0.close() } }
            receiver.close()
        }
    }

    package func drained(_ connection: LinkDataConnection) {
        guard let (session, stages) = self.session(connection) else { return }
        switch session {
        case .owner:
            for relay in stages.relays { relay.run { $0.drained(connection.session) } }
            if let handoffs = stages.handoffs { Task { await handoffs.drained(connection.session) } }
        case .edge(let edges, _): for edge in edges { edge.run { $0.drained() } }
        }
    }

    package func readCompleted(_ connection: LinkDataConnection) {}

    package func received(_ bytes: ByteBuffer, on connection: LinkDataConnection) {
        guard let (session, stages) = self.session(connection) else { return }
        do throws(RelayFrame.Malformed) {
            let frame = try RelayFrame(bytes)
            let work = Work(connection: connection, bytes: bytes.readableBytes)
            switch session {
            case .owner: try self.fromOwner(frame, work, stages)
            case .edge(let edges, let receiver): try self.fromEdge(frame, work, edges, receiver, stages)
            }
        } catch {
            self.state.withLockedValue { $0.malformed += 1 }
            self.logger.error(
                "another node has sent bytes that this version cannot read; run the same version on all nodes",
                metadata: ["node": "\(connection.peer.id)", "problem": "\(error.description)"])
            connection.close()
        }
    }

    private func session(_ connection: LinkDataConnection) -> (Session, Stages)? {
        self.state.withLockedValue { state in
            guard let session = state.sessions[connection.session], let stages = state.stages else { return nil }
            return (session, stages)
        }
    }

    /// A frame that is being handled. While other loops have much of it to do, its connection is not read.
    private struct Work {
        let connection: LinkDataConnection
        let bytes: Int

        func on(_ relay: Relay, _ body: @escaping @Sendable (isolated Relay) -> Void) {
            if relay.loop.inEventLoop { return relay.run(body) }
            self.connection.passedOn(self.bytes)
            relay.run { [connection, bytes] relay in
                body(relay)
                connection.finished(bytes)
            }
        }

        func on(_ edge: RemoteEdge, _ body: @escaping @Sendable (isolated RemoteEdge) -> Void) {
            if edge.loop.inEventLoop { return edge.run(body) }
            self.connection.passedOn(self.bytes)
            edge.run { [connection, bytes] edge in
                body(edge)
                connection.finished(bytes)
            }
        }
    }

    // MARK: - Frames of an owner

    private func fromOwner(_ frame: RelayFrame, _ work: Work, _ stages: Stages) throws(RelayFrame.Malformed) {
        let session = work.connection.session
        switch frame {
        case .acquired(let grants):
            for (relay, grants) in self.sorted(grants, stages.relays, { $0.partition }) { work.on(relay) { $0.acquired(grants, by: session) } }
        case .ended(let grants):
            for (relay, grants) in self.sorted(grants, stages.relays, { $0.partition }) { work.on(relay) { $0.ended(grants, by: session) } }
        case .opened(let channels):
            let router = stages.router
            for (relay, channels) in self.sorted(channels, stages.relays, { router.partition(of: $0.channel) }) { work.on(relay) { $0.received(channels) } }
        case .events(let relayed):
            if stages.relays.count == 1 { return work.on(stages.relays[0]) { $0.received(relayed) } }
            var sorted: [RelayedEvents] = Array(repeating: RelayedEvents(), count: stages.relays.count)
            for (index, event) in relayed.events.enumerated() {
                sorted[stages.router.index(of: event.event.channel)].append(event, under: relayed.ownerEpoch(of: index))
            }
            for (relay, events) in zip(stages.relays, sorted) where !events.isEmpty { work.on(relay) { $0.received(events) } }
        case .outcomes(let number, let id, let outcomes):
            work.on(try self.relay(number, stages)) { $0.finish(id, outcomes) }
        case .reply(let number, let token, let reply):
            work.on(try self.relay(number, stages)) { $0.replied(token, reply) }
        case .staged(let grant, let staging):
            if let handoffs = stages.handoffs { Task { await handoffs.staged(grant, over: session, staging) } }
        case .publish, .interest, .request, .content:
            throw RelayFrame.Malformed(description: "a frame that only the dialling node may send")
        }
    }

    private func relay(_ number: UInt16, _ stages: Stages) throws(RelayFrame.Malformed) -> Relay {
        guard Int(number) < stages.relays.count else { throw RelayFrame.Malformed(description: "a reply to the relay \(number), which does not exist") }
        return stages.relays[Int(number)]
    }

    // MARK: - Frames of an edge

    private func fromEdge(
        _ frame: RelayFrame, _ work: Work, _ edges: [RemoteEdge], _ receiver: HandoffReceiver, _ stages: Stages
    ) throws(RelayFrame.Malformed) {
        let router = stages.router
        switch frame {
        case .publish(let relay, let id, let events):
            let numbered = events.enumerated().map { (index: $0, published: $1) }
            for (edge, events) in self.sorted(numbered, edges, { router.partition(of: $0.published.event.channel) }) {
                work.on(edge) { $0.publish(relay: relay, id: id, events) }
            }
        case .interest(let interests):
            for (edge, interests) in self.sorted(interests, edges, { router.partition(of: $0.channel) }) { work.on(edge) { $0.interest(interests) } }
        case .request(let relay, let token, .channels(let prefix, let after, let limit)):
            let sequencers = stages.sequencers
            let edge = edges[0]
            Task {
                let reply: RelayReply
                do throws(LogError) {
                    reply = .channels(try await sequencers.channels(prefix: prefix, after: after, limit: limit))
                } catch {
                    reply = .failed(error)
                }
                edge.run { $0.reply(relay: relay, token: token, reply) }
            }
        case .request(let relay, let token, let request):
            guard let channel = request.channel else { return }
            work.on(edges[router.index(of: channel)]) { $0.request(relay: relay, token: token, request) }
        case .content(let grant, let chunk): receiver.received(chunk, of: grant)
        case .acquired, .ended, .opened, .events, .outcomes, .reply, .staged:
            throw RelayFrame.Malformed(description: "a frame that only the dialled node may send")
        }
    }

    /// Sorts elements by the stage of their partition. Keeps their order.
    private func sorted<Element: Sendable, Stage>(
        _ elements: [Element], _ stages: [Stage], _ partition: (Element) -> PartitionID
    ) -> [(Stage, [Element])] {
        if stages.count == 1 { return elements.isEmpty ? [] : [(stages[0], elements)] }
        var sorted: [[Element]] = Array(repeating: [], count: stages.count)
        for element in elements { sorted[partition(element) % stages.count].append(element) }
        return zip(stages, sorted).filter { !$1.isEmpty }.map { ($0, $1) }
    }

    // MARK: - Handoffs

    /// Stops these partitions. If nodes do not share the log's storage, carries their contents to the targets. When this method returns, nothing is committed
    /// under these grants. Returns the grants whose target cannot be reached: this node has their contents, and takes the partitions back.
    package func handOver(_ handoffs: [(grant: Grant, target: ProcessID?)]) async -> [Grant] {
        guard let stages = self.state.withLockedValue({ $0.stages }) else { return [] }
        guard let carrier = stages.handoffs else {
            await stages.sequencers.handOver(handoffs.map(\.grant))
            return []
        }
        return await withTaskGroup(of: Grant?.self) { group in
            for (grant, target) in handoffs {
                group.addTask { await carrier.handOver(grant, to: target.flatMap { self.owner($0) }) ? nil : grant }
            }
            return await group.reduce(into: []) { if let grant = $1 { $0.append(grant) } }
        }
    }

    /// The newest data connection that this node has dialled to a process.
    private func owner(_ process: ProcessID) -> LinkSender? {
        self.state.withLockedValue { state in
            let senders = state.sessions.values.compactMap { if case .owner(let sender) = $0, sender.peer == process { sender } else { nil } }
            return senders.max { $0.session < $1.session }
        }
    }

    // MARK: - Reading

    private func relay(of channel: ChannelName) throws(LogError) -> Relay {
        guard let stages = self.state.withLockedValue({ $0.stages }) else { throw LogError(.unavailable, "this node has not joined its cluster yet") }
        return stages.relays[stages.router.index(of: channel)]
    }

    package func head(of channel: ChannelName) async throws(LogError) -> Position { try await self.relay(of: channel).head(of: channel) }

    package func subscribers(of channel: ChannelName) async throws(LogError) -> Int { try await self.relay(of: channel).subscribers(of: channel) }

    package func history(of channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice {
        try await self.relay(of: channel).history(of: channel, after: position, limit: limit, bytesMax: bytesMax)
    }

    package func channels(prefix: String, after: String?, limit: Int) async throws(LogError) -> [ListedChannel] {
        guard let stages = self.state.withLockedValue({ $0.stages }) else { throw LogError(.unavailable, "this node has not joined its cluster yet") }
        let own = try await stages.sequencers.channels(prefix: prefix, after: after, limit: limit)
        let others = try await stages.relays[0].listElsewhere(prefix: prefix, after: after, limit: limit)
        // A channel whose partition has just moved may be listed by two nodes: the newer head counts, and the subscribers that the owner knows.
        var found: [ChannelName: ListedChannel] = [:]
        for listed in own + others {
            var newest = found[listed.channel] ?? listed
            newest.head = max(newest.head, listed.head)
            newest.subscribers = max(newest.subscribers, listed.subscribers)
            found[listed.channel] = newest
        }
        return Array(found.values.sorted { $0.channel.string < $1.channel.string }.prefix(limit))
    }

    // MARK: - Time

    /// Refuses what has waited too long. Called a few times a second.
    package func tick() {
        for relay in self.relays { relay.run { $0.tick() } }
        if let handoffs = self.state.withLockedValue({ $0.stages?.handoffs }) { Task { await handoffs.tick() } }
    }

    /// Compares the heads of some channels with the other nodes. Called once a second.
    package func compare() {
        for edge in self.edges { edge.run { $0.compare() } }
    }

    private var edges: [RemoteEdge] {
        self.state.withLockedValue { state in
            state.sessions.values.flatMap { session -> [RemoteEdge] in
                if case .edge(let edges, _) = session { edges } else { [] }
            }
        }
    }

    /// Refuses new publishes, and returns when every accepted publish has its outcome, or at the deadline.
    package func stop(deadline: ContinuousClock.Instant) async {
        while ContinuousClock.now < deadline {
            var isDrained = true
            for relay in self.relays where await !relay.stop() { isDrained = false }
            if isDrained { break }
            try? await Task.sleep(for: .milliseconds(5))
        }
        for relay in self.relays { await relay.abandon() }
    }

    package var metrics: RelayMetrics {
        get async {
            var metrics = RelayMetrics()
            let relays = self.relays
            for (index, relay) in relays.enumerated() {
                metrics += await relay.metrics
                metrics.unrouted += await relay.unrouted { $0 % relays.count == index }
            }
            let edges = self.edges
            for edge in edges { metrics += await edge.currentMetrics }
            if let handoffs = self.state.withLockedValue({ $0.stages?.handoffs }) { metrics.handoffs = await handoffs.metrics }
            self.state.withLockedValue { state in
                for session in state.sessions.values {
                    switch session {
                    case .owner: metrics.outgoing += 1
                    case .edge: metrics.incoming += 1
                    }
                }
            }
            return metrics
        }
    }
}
