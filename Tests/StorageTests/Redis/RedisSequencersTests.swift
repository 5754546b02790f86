import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Partitioning
import PipelineTestKit
import Synchronization
import TestKit
import Testing

@testable import Pipeline
@testable import Storage

/// Sequencers on real loops, over the log on two real Redis servers that are killed, emptied, stopped and cut off.
@Suite(.timeLimit(.minutes(5))) struct RedisSequencersTests {
    /// What publishers and an edge see. The edge expects what every edge does: positions of a channel grow, without a hole in an epoch, and a new epoch is
    /// announced before its first event.
    private final class Observer: PublishSink, Edge, Sendable {
        struct Seen {
            /// By token: the message id is the token too.
            var outcomes: [UInt64: PublishOutcome] = [:]
            var heads: [ChannelName: Position] = [:]
            var relayed: [ChannelName: [Position]] = [:]
            var resets = 0
            var faults: [String] = []
        }

        let seen = Mutex(Seen())

        func published(_ outcome: PublishOutcome, token: UInt64) {
            self.seen.withLock { seen in
                if seen.outcomes.updateValue(outcome, forKey: token) != nil { seen.faults.append("\(token) has two outcomes") }
            }
        }

        func relay(_ messages: [EdgeMessage]) {
            self.seen.withLock { seen in
                for message in messages {
                    switch message {
                    case .opened(let channel, let head, _):
                        if let known = seen.heads[channel] {
                            if head < known { seen.faults.append("\(channel) was opened at \(head), before \(known)") }
                            // A fanout reads what lies between the two from the log.
                            if head.epoch != known.epoch { seen.resets += 1 }
                        }
                        seen.heads[channel] = head
                    case .events(let relayed):
                        for event in relayed.events {
                            let channel = event.event.channel
                            if seen.heads[channel]?.next != event.position {
                                seen.faults.append("\(event.position) of \(channel) follows \(seen.heads[channel]?.description ?? "nothing")")
                            }
                            seen.heads[channel] = event.position
                            seen.relayed[channel, default: []].append(event.position)
                        }
                    }
                }
            }
        }
    }

    private final class Node {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let log: RedisLog
        let sequencers: Sequencers
        let publishers: [Publisher]
        let observer = Observer()
        let channels = (0..<40).map { channel("c\($0)") }
        private var ticker: Task<Void, Never>?
        private var nextToken: UInt64 = 0

        init(_ addresses: [RedisAddress]) async {
            var settings = RedisLogSettings(cluster: "test", servers: addresses)
            settings.client = .eager
            settings.client.deadline = .milliseconds(500)
            let loops = Array(self.group.makeIterator())
            self.log = RedisLog(settings: settings, loops: loops, partitions: Partitions(), limits: Limits(), logger: LogLines().logger)
            await self.log.start()
            self.sequencers = Sequencers(loops: loops, log: self.log, limits: Limits(), clocks: .system)
            self.publishers = loops.map { [sequencers] in Publisher(loop: $0, router: sequencers.router) }
            await self.sequencers.add(self.observer, as: .loop(0))
        }

        func start(under ownerEpoch: OwnerEpoch = 1) async throws {
            var rest = Grant.everyPartition().map { Grant(partition: $0.partition, ownerEpoch: ownerEpoch) }
            try await eventually("all partitions are sealed") {
                rest = await self.sequencers.acquire(rest).map(\.grant)
                return rest.isEmpty
            }
            self.sequencers.router.interest(self.channels.map { InterestChange(channel: $0, subscribers: 1, wanted: .open) }, edge: .loop(0))
            try await eventually("all channels are open") { self.observer.seen.withLock { $0.heads.count } == self.channels.count }
            self.ticker = Task { [sequencers] in
                while !Task.isCancelled {
                    await sequencers.tick()
                    try? await Task.sleep(for: .milliseconds(100))
                }
            }
        }

        func close() async {
            self.ticker?.cancel()
            await self.ticker?.value
            await self.sequencers.stop(deadline: .now + .seconds(10))
            await self.log.close()
            try? await self.group.shutdownGracefully()
        }

        /// Publishes an event, and repeats it with its message id until it is committed. Returns its position, and whether it was already stored.
        func publish(_ channel: ChannelName) async throws -> Position {
            self.nextToken += 1
            let id = "m\(self.nextToken)"
            while true {
                self.nextToken += 1
                let token = self.nextToken
                let publisher = self.publishers[Int(token % 2)]
                publisher.loop.execute { [observer] in
                    let event = Event(channel: channel, payload: ByteBuffer(string: id), messageID: id)
                    publisher.onLoop { $0.publish(event, sink: observer, token: token) }
                }
                var outcome: PublishOutcome?
                try await eventually("\(id) has an outcome") {
                    outcome = self.observer.seen.withLock { $0.outcomes[token] }
                    return outcome != nil
                }
                switch outcome! {
                case .published(let position, _), .duplicate(let position, _): return position
                case .refused: try await Task.sleep(for: .milliseconds(20))
                }
            }
        }

        /// Publishes to random channels, and returns the acknowledged positions in the order of each channel.
        func publish(_ count: Int, _ random: inout SplitMix) async throws -> [ChannelName: [Position]] {
            var acknowledged: [ChannelName: [Position]] = [:]
            for _ in 0..<count {
                let channel = self.channels.randomElement(using: &random)!
                acknowledged[channel, default: []].append(try await self.publish(channel))
            }
            return acknowledged
        }

        func stored(_ channel: ChannelName) async throws -> [Position] {
            var found: [Position] = []
            // The last fault may have cut the connection, or may drop the next reply.
            try await eventually("\(channel) is read") {
                do {
                    found = try await self.log.read(channel, after: position(0, 0), limit: 10_000, bytesMax: 1 << 20).events.map(\.position)
                    return true
                } catch { return false }
            }
            return found
        }

        /// Every acknowledged event is stored once and in order, and the edge has no complaint.
        func check(_ acknowledged: [ChannelName: [Position]]) async throws {
            for (channel, positions) in acknowledged {
                #expect(positions == positions.sorted() && Set(positions).count == positions.count, "\(channel)")
                #expect(Set(try await self.stored(channel)).isSuperset(of: positions), "\(channel)")
            }
            #expect(self.observer.seen.withLock { $0.faults }.isEmpty)
        }
    }

    private func withNode(_ addresses: [RedisAddress], under ownerEpoch: OwnerEpoch = 1, _ body: (Node) async throws -> Void) async throws {
        let node = await Node(addresses)
        do {
            try await node.start(under: ownerEpoch)
            try await body(node)
        } catch {
            await node.close()
            throw error
        }
        await node.close()
    }

    /// A publisher that repeats its publishes at the next owners, because it has lost the responses.
    @Test func messageIDsAreRecognisedOverTakeOvers() async throws {
        let server = try await RedisServer.started()
        var acknowledged: [ChannelName: [Position]] = [:]
        for ownerEpoch in 1...3 as ClosedRange<OwnerEpoch> {
            try await self.withNode([server.address], under: ownerEpoch) { node in
                // The same seed has the same channels, and a node the same message ids.
                var random = SplitMix(seed: 7)
                let positions = try await node.publish(200, &random)
                if ownerEpoch == 1 { acknowledged = positions }
                #expect(positions == acknowledged, "owner epoch \(ownerEpoch)")
                for (channel, positions) in acknowledged { #expect(try await node.stored(channel) == positions) }
                #expect(await node.sequencers.metrics.duplicates == (ownerEpoch == 1 ? 0 : 200))
                try await node.check(acknowledged)
            }
        }
    }

    @Test func nothingAcknowledgedIsLostOverKillsOfServersWithAppendFsyncAlways() async throws {
        var options = RedisServerOptions()
        options.appendOnly = .always
        let servers = [try await RedisServer.started(options), try await RedisServer.started(options)]
        try await self.withNode(servers.map(\.address)) { node in
            var random = SplitMix(seed: 1)
            var acknowledged: [ChannelName: [Position]] = [:]
            for round in 0..<4 {
                // Publishes continue while the server is away: those to its partitions are repeated until it is back.
                let restart = Task {
                    try await Task.sleep(for: .milliseconds(30))
                    servers[round % 2].kill()
                    try await Task.sleep(for: .milliseconds(200))
                    try await servers[round % 2].start()
                }
                for (channel, positions) in try await node.publish(150, &random) { acknowledged[channel, default: []] += positions }
                try await restart.value
            }
            try await node.check(acknowledged)
            // The owner knew all heads, so no channel began a new epoch.
            #expect(node.observer.seen.withLock { $0.resets } == 0)
            #expect(acknowledged.values.allSatisfy { Set($0.map(\.epoch)).count == 1 })
            #expect(await node.sequencers.metrics.lostPartitions > 0)
        }
    }

    @Test func anEmptiedServerIsFoundWithoutAPublishAndItsChannelsBeginNewEpochs() async throws {
        let servers = [try await RedisServer.started(), try await RedisServer.started()]
        try await self.withNode(servers.map(\.address)) { node in
            var random = SplitMix(seed: 2)
            let before = try await node.publish(120, &random)
            try servers[1].command("FLUSHALL")
            let lost = before.keys.filter { node.log.server(of: Partitions().partition(ofHash: $0.hash64)) == 1 }
            #expect(!lost.isEmpty)
            try await eventually("the edge learns the new epochs") { node.observer.seen.withLock { $0.resets } == lost.count }
            let after = try await node.publish(120, &random)
            for (channel, positions) in after {
                guard let last = before[channel]?.last else { continue }
                if lost.contains(channel) { #expect(positions[0].epoch > last.epoch) } else { #expect(positions[0] == last.next) }
            }
            try await node.check(after)
        }
    }

    @Test func lostRepliesAndCutConnectionsNeitherLoseNorRepeat() async throws {
        let servers = [try await RedisServer.started(), try await RedisServer.started()]
        try await FaultyProxy.with(to: servers[0].port) { first in
            try await FaultyProxy.with(to: servers[1].port) { second in
                try await self.withNode([first, second].map { try! RedisAddress("redis://127.0.0.1:\($0.port)") }) { node in
                    let faults = Task {
                        var random = SplitMix(seed: 3)
                        while !Task.isCancelled {
                            let proxy = random.chance(50) ? first : second
                            if random.chance(50) { await proxy.cut() } else { await proxy.dropReplies(ofNext: 1 + random.below(3), named: "EVALSHA") }
                            try? await Task.sleep(for: .milliseconds(20 + random.below(60)))
                        }
                    }
                    var random = SplitMix(seed: 4)
                    let acknowledged = try await node.publish(150, &random)
                    faults.cancel()
                    await faults.value
                    try await node.check(acknowledged)
                    // The log has each event once, and no other.
                    for (channel, positions) in acknowledged { #expect(try await node.stored(channel) == positions) }
                    #expect(node.observer.seen.withLock { $0.resets } == 0)
                }
            }
        }
    }
}
