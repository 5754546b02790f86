import Link
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Partitioning
import Pipeline
import Sockets
import Storage
import TestKit
import Testing

@testable import Relay

/// Three nodes in one process, with real links between them and one log that fences, as Redis does.
@Suite(.serialized) struct RelaysTests {
    /// The subscribers of one node: what its only loop receives.
    final class Subscribers: Edge {
        struct State {
            var heads: [ChannelName: Position] = [:]
            var ownerEpochs: [ChannelName: OwnerEpoch] = [:]
            var received: [ChannelName: [Position]] = [:]
        }

        let state = NIOLockedValueBox(State())

        func relay(_ messages: [EdgeMessage]) {
            self.state.withLockedValue { state in
                for message in messages {
                    switch message {
                    case .opened(let channel, let head, let ownerEpoch):
                        state.heads[channel] = max(head, state.heads[channel] ?? head)
                        state.ownerEpochs[channel] = ownerEpoch
                    case .events(let relayed):
                        for event in relayed.events {
                            state.heads[event.event.channel] = event.position
                            state.received[event.event.channel, default: []].append(event.position)
                        }
                    }
                }
            }
        }

        func head(_ channel: ChannelName) -> Position? { self.state.withLockedValue { $0.heads[channel] } }
    }

    /// Publishes and collects the outcomes, in the order of publishing.
    final class Client: PublishSink, @unchecked Sendable {
        let outcomes = NIOLockedValueBox<[UInt64: PublishOutcome]>([:])
        private let publisher: Publisher

        init(_ publisher: Publisher) { self.publisher = publisher }

        func published(_ outcome: PublishOutcome, token: UInt64) { self.outcomes.withLockedValue { $0[token] = outcome } }

        func publish(_ channel: ChannelName, _ numbers: Range<UInt64>, id: String? = nil) {
            self.publisher.loop.execute {
                self.publisher.onLoop { publisher in
                    for number in numbers {
                        publisher.publish(
                            Event(channel: channel, payload: ByteBuffer(string: "\(number)"), messageID: id.map { "\($0)\(number)" }), sink: self,
                            token: number)
                    }
                }
            }
        }

        /// An event of 100 KB.
        func publishLarge(_ channel: ChannelName, _ number: UInt64) {
            self.publisher.loop.execute {
                self.publisher.onLoop {
                    $0.publish(Event(channel: channel, payload: ByteBuffer(repeating: 7, count: 100_000)), sink: self, token: number)
                }
            }
        }

        var count: Int { self.outcomes.withLockedValue { $0.count } }
        var positions: [Position?] {
            self.outcomes.withLockedValue { outcomes in
                outcomes.sorted { $0.key < $1.key }.map { _, outcome in
                    switch outcome {
                    case .published(let position, _), .duplicate(let position, _): position
                    case .refused: nil
                    }
                }
            }
        }
    }

    final class Node: Sendable {
        let id: String
        let relays: Relays
        let log: any Log
        let sequencers: Sequencers
        let router: Router
        let subscribers = Subscribers()
        let links: Links
        let publisher: Publisher
        let address = NIOLockedValueBox(ListenAddress(host: "127.0.0.1", port: 0))

        init(_ id: String, _ log: any Log, _ group: any EventLoopGroup, loop: any EventLoop, settings: RelaySettings, random: UInt64) {
            self.id = id
            self.log = log
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            self.relays = Relays(logger: logger)
            self.sequencers = Sequencers(loops: [loop], log: log, limits: Limits(), clocks: .system, partitions: RelaysTests.partitions)
            self.router = self.relays.makeRouter(self.sequencers, partitions: RelaysTests.partitions, clocks: .system, settings: settings)
            self.publisher = Publisher(loop: loop, router: self.router, messageIDs: MessageIDs(random: random))
            var configuration = LinkConfiguration(ListenAddress(host: "127.0.0.1", port: 0))
            configuration.limits.backoffMillisecondsMin = 10
            configuration.limits.backoffMillisecondsMax = 50
            self.links = Links(configuration, cluster: "t", id: id, version: "1", group: group, receiver: self.relays, logger: logger)
        }

        func start() async throws {
            await self.sequencers.add(self.subscribers, as: .loop(0))
            await self.relays.start([self.subscribers])
            let bound = try await self.links.start()
            self.address.withLockedValue { $0 = bound }
            self.links.setIdentity(incarnation: 1)
        }

        var peer: LinkPeer { LinkPeer(ProcessID(id: self.id, incarnation: 1), address: self.address.withLockedValue { $0.description }) }

        func acquire(_ partition: PartitionID, _ ownerEpoch: OwnerEpoch) async {
            _ = await self.sequencers.acquire([Grant(partition: partition, ownerEpoch: ownerEpoch)])
        }

        func release(_ partition: PartitionID, _ ownerEpoch: OwnerEpoch) async {
            await self.sequencers.handOver([Grant(partition: partition, ownerEpoch: ownerEpoch)])
            await self.sequencers.release([Grant(partition: partition, ownerEpoch: ownerEpoch)])
        }

        func open(_ channel: ChannelName, subscribers: Int = 1) {
            self.router.interest([InterestChange(channel: channel, subscribers: subscribers, wanted: .open)], edge: .loop(0))
        }

        func close(_ channel: ChannelName, subscribers: Int = 1) {
            self.router.interest([InterestChange(channel: channel, subscribers: -subscribers, wanted: .close)], edge: .loop(0))
        }
    }

    static let partitions = Partitions(count: 4)
    /// A channel on partition 1, and one on partition 2.
    static let one = (0...).lazy.map { ChannelName("one\($0)")! }.first { partitions.partition(ofHash: $0.hash64) == 1 }!
    static let two = (0...).lazy.map { ChannelName("two\($0)")! }.first { partitions.partition(ofHash: $0.hash64) == 2 }!

    /// - Parameter memory: the limits of each node's own log in memory. Nil: the nodes share one log that fences.
    func withNodes(
        settings: RelaySettings = RelaySettings(), memory: [Limits]? = nil, _ body: (Node, Node, Node) async throws -> Void
    ) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 3)
        try await withTemporaryFolder { folder in
            let log = try SQLiteLog(folder: folder, limits: Limits())
            let nodes = zip(["a", "b", "c"], group.makeIterator()).enumerated().map { index, pair in
                Node(
                    pair.0, memory.map { MemoryLog(limits: $0[index], isSessionValid: { true }) } ?? log, group, loop: pair.1, settings: settings,
                    random: UInt64(index))
            }
            for node in nodes { try await node.start() }
            for node in nodes { node.links.setPeers(nodes.filter { $0.id != node.id }.map(\.peer)) }
            for node in nodes {
                try await eventually("links") {
                    let metrics = await node.relays.metrics
                    return metrics.outgoing == 2 && metrics.incoming == 2
                }
            }
            let result: Result<Void, any Error>
            do {
                try await body(nodes[0], nodes[1], nodes[2])
                result = .success(())
            } catch {
                result = .failure(error)
            }
            for node in nodes {
                await node.relays.stop(deadline: .now + .seconds(5))
                await node.sequencers.stop(deadline: .now + .seconds(5))
            }
            for node in nodes { await node.links.close() }
            await log.close()
            try result.get()
        }
        try await group.shutdownGracefully()
    }

    @Test func everyNodePublishesReceivesAndReadsWhateverNodeOwnsTheChannel() async throws {
        try await self.withNodes { a, b, c in
            await b.acquire(1, 1)
            for node in [a, b, c] { node.open(Self.one, subscribers: 2) }
            for node in [a, b, c] { try await eventually("the head") { node.subscribers.head(Self.one) != nil } }
            var clients: [Client] = []
            for (index, node) in [a, b, c].enumerated() {
                let client = Client(node.publisher)
                clients.append(client)
                client.publish(Self.one, UInt64(index * 100)..<UInt64(index * 100 + 50))
            }
            for client in clients { try await eventually("outcomes") { client.count == 50 } }
            let offsets = clients.flatMap { $0.positions.map { $0?.offset } }
            #expect(Set(offsets) == Set((1...150).map { UInt64($0) }))
            for client in clients { #expect(client.positions.compactMap { $0?.offset } == client.positions.compactMap { $0?.offset }.sorted()) }
            for node in [a, b, c] {
                try await eventually("events at \(node.id)") { node.subscribers.state.withLockedValue { $0.received[Self.one]?.count } == 150 }
                #expect(node.subscribers.state.withLockedValue { $0.received[Self.one]!.map(\.offset) } == (1...150).map { UInt64($0) })
                #expect(try await node.relays.head(of: Self.one).offset == 150)
                #expect(try await node.relays.subscribers(of: Self.one) == 6)
                let slice = try await node.relays.history(of: Self.one, after: Position(epoch: 0, offset: 0), limit: 10, bytesMax: 1000)
                #expect(slice.events.count == 10)
                let listed = try await node.relays.channels(prefix: "", after: nil, limit: 10)
                #expect(listed.map(\.channel) == [Self.one] && listed[0].subscribers == 6)
            }
            // The subscribers of a node that leaves no longer count.
            await c.links.close()
            try await eventually("c's subscribers are gone") { try await a.relays.subscribers(of: Self.one) == 4 }
            b.close(Self.one, subscribers: 2)
            try await eventually("b's subscribers are gone") { try await a.relays.subscribers(of: Self.one) == 2 }
        }
    }

    @Test func publishesInterestAndReadsFollowAPartitionThatMoves() async throws {
        try await self.withNodes { a, b, c in
            await b.acquire(1, 1)
            a.open(Self.one)
            c.open(Self.one)
            let client = Client(a.publisher)
            var next: UInt64 = 0
            var owner = b
            for epoch in OwnerEpoch(1)...20 {
                client.publish(Self.one, next..<(next + 20))
                next += 20
                let target = [a, b, c][Int(epoch) % 3]
                if epoch % 2 == 0 { await owner.release(1, epoch) }
                // Without the release, the former owner learns from the log that it was replaced.
                await target.acquire(1, epoch + 1)
                client.publish(Self.one, next..<(next + 20))
                next += 20
                owner = target
            }
            try await eventually("all outcomes") { client.count == Int(next) }
            #expect(client.positions.map { $0?.offset } == (1...next).map { $0 }, "published once and in order")
            for node in [a, c] {
                try await eventually("the head at \(node.id)") { node.subscribers.head(Self.one)?.offset == next }
                #expect(try await node.relays.subscribers(of: Self.one) == 2)
                let slice = try await node.relays.history(of: Self.one, after: Position(epoch: 0, offset: 0), limit: 1000, bytesMax: 1_000_000)
                #expect(slice.events.map { String(buffer: $0.event.payload) } == (0..<next).map { "\($0)" })
            }
            #expect(a.subscribers.state.withLockedValue { $0.ownerEpochs[Self.one] } == 21)
        }
    }

    @Test func withoutAnOwnerPublishesAndReadsWaitThenFail() async throws {
        var settings = RelaySettings()
        settings.parkedMillisecondsMax = 300
        settings.readMillisecondsMax = 200
        try await self.withNodes(settings: settings) { a, b, _ in
            let client = Client(a.publisher)
            client.publish(Self.one, 0..<2)
            a.open(Self.two)
            await #expect(throws: LogError.self) {
                let ticks = Task {
                    while !Task.isCancelled {
                        a.relays.tick()
                        try await Task.sleep(for: .milliseconds(20))
                    }
                }
                defer { ticks.cancel() }
                _ = try await a.relays.head(of: Self.one)
            }
            try await eventually("refused") {
                a.relays.tick()
                return client.count == 2
            }
            #expect(client.outcomes.withLockedValue { $0[0] } == .refused(.ownerUnreachable))
            #expect(await a.relays.metrics.expired == 2)
            // With an owner everything goes on.
            await b.acquire(1, 1)
            await b.acquire(2, 1)
            client.publish(Self.one, 2..<3)
            try await eventually("published") { client.count == 3 }
            #expect(client.outcomes.withLockedValue { $0[2] } == .published(Position(epoch: client.positions[2]!.epoch, offset: 1), subscribers: 0))
            try await eventually("opened") { a.subscribers.head(Self.two)?.offset == 0 }
        }
    }

    /// A publish that the former owner has committed, whose outcome was lost with the connection, is found by its message id.
    @Test func aLostConnectionRepeatsNoEvent() async throws {
        try await self.withNodes { a, b, _ in
            await b.acquire(1, 1)
            a.open(Self.one)
            let client = Client(a.publisher)
            for round in UInt64(0)..<10 {
                client.publish(Self.one, (round * 50)..<(round * 50 + 50))
                b.links.setPeers([])
                a.links.setPeers([])
                a.links.setPeers([b.peer])
            }
            try await eventually("all outcomes") { client.count == 500 }
            #expect(client.positions.map { $0?.offset } == (1...500).map { UInt64($0) })
            try await eventually("the last event") { a.subscribers.head(Self.one)?.offset == 500 }
            #expect(try await a.relays.subscribers(of: Self.one) == 1)
        }
    }
}
