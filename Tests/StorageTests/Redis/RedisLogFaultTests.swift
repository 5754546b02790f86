import NIOCore
import NIOPosix
import Partitioning
import Pipeline
import PipelineTestKit
import TestKit
import Testing

@testable import Storage

/// A log on a real Redis server, behind a network with faults.
@Suite(.serialized, .timeLimit(.minutes(5))) struct RedisLogFaultTests {
    /// The owner of partition 0, which is the partition of all channels, and what is between it and Redis.
    private struct Owner {
        let log: RedisLog
        let proxy: FaultyProxy
        let server: RedisServer
        let grant: Grant
        /// The epoch for new channels.
        let epoch: UInt64

        func batch(_ name: String, _ offsets: ClosedRange<UInt64>) -> LogBatch {
            LogBatch(events(name, self.epoch, offsets, at: WallClock.now()), under: self.grant)
        }

        func append(_ name: String, _ offsets: ClosedRange<UInt64>) async -> LogError.Code? { await code(self.log.append(self.batch(name, offsets))[0]) }

        /// Repeats the batch as a sequencer does, and returns the first result that is final.
        func appendUntilKnown(_ batch: LogBatch, at location: SourceLocation = #_sourceLocation) async throws -> [LogError.Code?] {
            var codes: [LogError.Code?] = []
            try await eventually("the result stays unknown: \(codes)", at: location) {
                codes = await self.log.append(batch).map(code)
                return codes.allSatisfy { $0 != .uncertain && $0 != .unavailable }
            }
            return codes
        }

        func offsets(_ name: String, after position: Position? = nil) async throws -> [UInt64] {
            try await self.log.read(channel(name), after: position ?? Position(epoch: 0, offset: 0), limit: 10_000, bytesMax: 1 << 20).offsets
        }

        /// What Redis has, without the code under test: the ids of the stream.
        func stored(_ name: String) throws -> [String] {
            let entries = try self.server.command(["XRANGE", self.log.stream(0, channel(name)), "-", "+"]).array ?? []
            return entries.compactMap { $0.array?[0].string }
        }

        func ids(_ offsets: ClosedRange<UInt64>) -> [String] { offsets.map { "\(self.epoch)-\($0)" } }

        func head(_ name: String, known: Position? = nil) async throws -> ChannelHead? {
            try await self.log.heads(of: [ChannelOfPartition(channel(name), self.grant, known: known)]).heads[0]
        }
    }

    private func withOwner(
        _ options: RedisServerOptions = RedisServerOptions(), deadline: TimeAmount = .seconds(5), _ change: (inout RedisLogSettings) -> Void = { _ in },
        _ body: (Owner) async throws -> Void
    ) async throws {
        let server = try await RedisServer.started(options)
        try await FaultyProxy.with(to: server.port) { proxy in
            try await self.withLog(proxy.port, deadline: deadline, change) { log async throws in
                let grant = Grant(partition: 0, ownerEpoch: 1)
                var sealed: SealedPartition?
                try await eventually("partition 0 is not sealed") {
                    sealed = try? await log.seal([grant])[0].get()
                    return sealed != nil
                }
                try await body(Owner(log: log, proxy: proxy, server: server, grant: grant, epoch: sealed!.epochFloor))
            }
        }
    }

    private func withLog(
        _ port: UInt16, deadline: TimeAmount = .seconds(5), _ change: (inout RedisLogSettings) -> Void = { _ in }, _ body: (RedisLog) async throws -> Void
    ) async throws {
        try await withRedisLog(port: port, cluster: "t") {
            $0.client.deadline = deadline
            $0.client.backoffMin = .milliseconds(5)
            $0.client.backoffMax = .milliseconds(50)
            change(&$0)
        } _: { log, _ in
            try await body(log)
        }
    }

    private static var durable: RedisServerOptions {
        var options = RedisServerOptions()
        options.appendOnly = .always
        return options
    }

    // MARK: - The network

    @Test func anAppendWhoseReplyIsLostIsStoredOnce() async throws {
        try await self.withOwner { owner async throws in
            #expect(await owner.append("a", 1...3) == nil)
            await owner.proxy.dropReplies(ofNext: 1, named: "EVALSHA")
            let batch = owner.batch("a", 4...5)
            #expect(await owner.log.append(batch).map(code) == [.uncertain])
            #expect(try owner.stored("a") == owner.ids(1...5))
            // A repeat that was not sent says nothing about the first append.
            await owner.proxy.refuse()
            try await owner.log.waitUntilDisconnected()
            #expect(await owner.log.append(batch).map(code) == [.uncertain])
            try await owner.proxy.pass()
            #expect(try await owner.appendUntilKnown(batch) == [nil])
            #expect(try owner.stored("a") == owner.ids(1...5))
            #expect(try await owner.offsets("a") == [1, 2, 3, 4, 5])
            // Now the result is known, so the next append is definite again.
            await owner.proxy.refuse()
            try await owner.log.waitUntilDisconnected()
            #expect(await owner.append("a", 6...6) == .unavailable)
        }
    }

    @Test func aBatchOfSeveralCallsWhoseReplyIsLostIsStoredOnceAndInOrder() async throws {
        try await self.withOwner { owner async throws in
            await owner.proxy.dropReplies(ofNext: 2, named: "EVALSHA")
            // Four calls, of which Redis executes two.
            let batch = owner.batch("a", 1...1000)
            #expect(await owner.log.append(batch).map(code) == [.uncertain])
            #expect(try owner.stored("a").count == 512)
            #expect(try await owner.appendUntilKnown(batch) == [nil])
            #expect(try owner.stored("a") == owner.ids(1...1000))
        }
    }

    @Test func anAppendWithoutAConnectionIsDefinitelyNotStored() async throws {
        try await self.withOwner { owner async throws in
            await owner.proxy.refuse()
            try await owner.log.waitUntilDisconnected()
            #expect(await owner.append("a", 1...3) == .unavailable)
            let read = try await logError { _ = try await owner.offsets("a") }
            #expect(read.code == .unavailable)
            let seal = await owner.log.seal([owner.grant])
            #expect(seal.map(code) == [.unavailable])
            // A server that does not answer has lost nothing.
            #expect(await owner.log.verify([owner.grant]).map(code) == [nil])
            #expect(try owner.stored("a") == [])
            try await owner.proxy.pass()
            try await owner.log.waitUntilConnected()
            #expect(await owner.append("a", 1...1) == nil)
        }
    }

    @Test func aHalfRequestIsNotExecuted() async throws {
        try await self.withOwner { owner async throws in
            await owner.proxy.cut(afterBytes: 200, .toServer)
            let batch = owner.batch("a", 1...3)
            #expect(await owner.log.append(batch).map(code) == [.uncertain])
            #expect(try owner.stored("a") == [])
            #expect(try await owner.appendUntilKnown(batch) == [nil])
            #expect(try owner.stored("a") == owner.ids(1...3))
        }
    }

    @Test func aConnectionThatIsDeadOnOneSideIsGivenUp() async throws {
        try await self.withOwner(deadline: .seconds(1)) { owner async throws in
            await owner.proxy.swallow()
            let batch = owner.batch("a", 1...3)
            #expect(await owner.log.append(batch).map(code) == [.uncertain])
            try await owner.proxy.pass()
            #expect(try await owner.appendUntilKnown(batch) == [nil])
            #expect(try owner.stored("a") == owner.ids(1...3))
        }
    }

    // MARK: - The fence

    @Test func anOldAppendThatArrivesAfterANewSealIsFenced() async throws {
        try await self.withOwner(deadline: .seconds(60)) { old async throws in
            #expect(await old.append("a", 1...2) == nil)
            await old.proxy.stall(.toServer)
            let late = Task { await old.append("a", 3...3) }
            try await eventually("the append has not left") { await old.proxy.counters.held[.toServer]! > 0 }
            try await self.withLog(old.server.port) { log async throws in
                let grant = Grant(partition: 0, ownerEpoch: 2)
                let sealed = try await log.seal([grant])[0].get()
                #expect(sealed.previousOwnerEpoch == 1 && sealed.keptEverything)
                let head = try await log.heads(of: [ChannelOfPartition(channel("a"), grant)]).heads[0]
                #expect(head?.head == position(old.epoch, 2) && head?.lostAfter == nil)
                try await log.append([event("a", position(old.epoch, 3), "new owner", at: WallClock.now())], under: grant)
                await old.proxy.release(.toServer)
                let result = await late.value
                #expect(result == .fenced)
                let slice = try await log.read(channel("a"), after: position(old.epoch, 0), limit: 10, bytesMax: 1000)
                #expect(slice.offsets == [1, 2, 3] && slice.events.last.map { String(buffer: $0.event.payload) } == "new owner")
            }
            #expect(try old.stored("a") == old.ids(1...3))
            let read = try await logError { _ = try await old.offsets("a") }
            #expect(read.code == .fenced)
            #expect(await old.log.verify([old.grant]).map(code) == [.fenced])
            #expect(try await old.head("a") == nil)
        }
    }

    @Test func anAppendThatItsOwnerHasGivenUpIsFencedWhenItArrives() async throws {
        try await self.withOwner(deadline: .seconds(1)) { old async throws in
            await old.proxy.stall(.toServer)
            let batch = old.batch("a", 1...2)
            #expect(await old.log.append(batch).map(code) == [.uncertain])
            try await self.withLog(old.server.port) { log async throws in
                #expect(await log.seal([Grant(partition: 0, ownerEpoch: 2)]).map(code) == [nil])
            }
            // The old connection is closed, and its bytes arrive now.
            let requests = await old.proxy.counters.requests
            await old.proxy.release(.toServer)
            try await eventually("the append has not arrived") { await old.proxy.counters.requests > requests }
            #expect(try await old.appendUntilKnown(batch) == [.fenced])
            #expect(try old.stored("a") == [])
        }
    }

    // MARK: - The process

    @Test func aStoppedServerStoresOnce() async throws {
        try await self.withOwner(deadline: .seconds(1)) { owner async throws in
            owner.server.stop()
            let batch = owner.batch("a", 1...3)
            #expect(await owner.log.append(batch).map(code) == [.uncertain])
            owner.server.cont()
            #expect(try await owner.appendUntilKnown(batch) == [nil])
            #expect(try owner.stored("a") == owner.ids(1...3))
        }
    }

    @Test func aServerThatIsKilledAndSyncsEachWriteLosesNothing() async throws {
        try await self.withOwner(Self.durable) { owner async throws in
            for offset in 1...20 as ClosedRange<UInt64> { #expect(await owner.append("a", offset...offset) == nil) }
            #expect(await owner.append("b", 1...2) == nil)
            let batch = owner.batch("a", 21...25)
            let generation = await owner.log.generation
            async let last = owner.log.append(batch)
            try await owner.server.restart()
            let result = await last.map(code)
            try await owner.log.waitUntilConnected(after: generation)
            // Another process is another storage, until the owner has compared.
            let again = try await owner.appendUntilKnown(batch)
            if again == [.lost] {
                #expect(await owner.log.verify([owner.grant]).map(code) == [.lost])
                #expect(await owner.log.seal([owner.grant]).map(code) == [nil])
            }
            #expect(await owner.log.verify([owner.grant]).map(code) == [nil])
            let known = position(owner.epoch, result == [nil] ? 25 : 20)
            let head = try #require(try await owner.head("a", known: known))
            #expect(head.lostAfter == nil && [position(owner.epoch, 20), position(owner.epoch, 25)].contains(head.head))
            #expect(try await owner.appendUntilKnown(batch) == [nil])
            #expect(try await owner.offsets("a") == Array(1...25))
            // A restarted server cannot be told from a replica that was promoted and lacks the last events. So a channel of which the owner knows no head begins a
            // new epoch: its subscribers get a notice.
            let unknown = try #require(try await owner.head("b"))
            #expect(unknown.head.epoch > owner.epoch && unknown.head.offset == 0 && unknown.lostAfter == position(owner.epoch, 2))
        }
    }

    @Test func aServerThatComesBackEmptyIsNoticed() async throws {
        try await self.withOwner { owner async throws in
            #expect(await owner.append("a", 1...3) == nil)
            let generation = await owner.log.generation
            try await owner.server.restartEmpty()
            try await owner.log.waitUntilConnected(after: generation)
            try await self.expectLoss(owner, of: 3, kept: 0)
        }
    }

    /// - Parameter seals: how often the partition was sealed before the loss. A flush deletes their number too.
    @Test(arguments: [1, 4]) func dataThatIsFlushedWhileConnectedIsNoticed(after seals: Int) async throws {
        try await self.withOwner { owner async throws in
            for _ in 1..<seals { #expect(await owner.log.seal([owner.grant]).map(code) == [nil]) }
            #expect(await owner.append("a", 1...3) == nil)
            try owner.server.command("FLUSHALL")
            try await self.expectLoss(owner, of: 3, kept: 0)
        }
    }

    @Test func aReplicaWithoutTheLastEventsIsNoticed() async throws {
        try await self.withOwner { owner async throws in
            var options = RedisServerOptions()
            options.replicaOf = owner.server.port
            let replica = try await RedisServer.started(options)
            #expect(await owner.append("a", 1...2) == nil)
            #expect(await owner.append("b", 1...1) == nil)
            try await replica.waitUntilInSync(with: owner.server)
            replica.stop()
            // Otherwise the kernel of the replica receives what follows.
            try owner.server.command("CLIENT KILL TYPE replica")
            #expect(await owner.append("a", 3...4) == nil)
            owner.server.kill()
            replica.cont()
            try replica.promote()
            let generation = await owner.log.generation
            await owner.proxy.forward(to: replica.port)
            try await owner.log.waitUntilConnected(after: generation)
            let after = Owner(log: owner.log, proxy: owner.proxy, server: replica, grant: owner.grant, epoch: owner.epoch)
            try await self.expectLoss(after, of: 4, kept: 2)
            // What was kept is kept.
            let kept = try await after.head("b", known: position(owner.epoch, 1))
            #expect(kept?.head == position(owner.epoch, 1) && kept?.lostAfter == nil)
        }
    }

    /// - Parameters:
    ///   - last: the last offset of `a` that was acknowledged.
    ///   - kept: the last offset that Redis still has.
    private func expectLoss(_ owner: Owner, of last: UInt64, kept: UInt64, at location: SourceLocation = #_sourceLocation) async throws {
        #expect(await owner.log.verify([owner.grant]).map(code) == [.lost], sourceLocation: location)
        #expect(await owner.append("a", (last + 1)...(last + 1)) == .lost, sourceLocation: location)
        let sealed = try await owner.log.seal([owner.grant])[0].get()
        #expect(!sealed.keptEverything && sealed.epochFloor > owner.epoch, sourceLocation: location)
        #expect(await owner.log.verify([owner.grant]).map(code) == [nil], sourceLocation: location)
        let known = position(owner.epoch, last)
        let head = try #require(try await owner.head("a", known: known), sourceLocation: location)
        #expect(head.head.epoch > owner.epoch && head.head.offset == 0, sourceLocation: location)
        #expect(head.lostAfter == position(owner.epoch, kept), sourceLocation: location)
        // The old positions are never used again.
        #expect(await owner.append("a", (last + 1)...(last + 1)) != nil, sourceLocation: location)
        let next = [event("a", head.head.next, "after the loss", at: WallClock.now())]
        try await owner.log.append(next, under: owner.grant)
        let slice = try await owner.log.read(channel("a"), after: known, limit: 10, bytesMax: 1000)
        #expect(slice.seen == next.map(Seen.init), sourceLocation: location)
    }

    @Test func scriptsThatRedisHasForgottenAreLoadedAgain() async throws {
        try await self.withOwner { owner async throws in
            func flush() throws { #expect(try owner.server.command("SCRIPT FLUSH") == .status("OK")) }
            try flush()
            #expect(await owner.append("a", 1...1000) == nil)
            #expect(try owner.stored("a") == owner.ids(1...1000))
            try flush()
            #expect(try await owner.offsets("a", after: position(owner.epoch, 990)) == Array(991...1000))
            try flush()
            #expect(try await owner.head("a")?.head == position(owner.epoch, 1000))
            try flush()
            #expect(await owner.log.seal([owner.grant]).map(code) == [nil])
            try flush()
            #expect(await owner.log.verify([owner.grant, Grant(partition: 1, ownerEpoch: 1)]).map(code) == [nil, nil])
            try flush()
            try await owner.log.forget([owner.grant: [channel("a")]], writtenBefore: .max)
            #expect(try await owner.offsets("a") == [])
        }
    }

    @Test func aCommitWaitsForItsReplicas() async throws {
        try await self.withOwner {
            $0.replicasMin = 1
            $0.replicaMillisecondsMax = 100
        } _: { owner async throws in
            let batch = owner.batch("a", 1...3)
            #expect(await owner.log.append(batch).map(code) == [.uncertain])
            var options = RedisServerOptions()
            options.replicaOf = owner.server.port
            let replica = try await RedisServer.started(options)
            try await replica.waitUntilInSync(with: owner.server)
            #expect(try await owner.appendUntilKnown(batch) == [nil])
            replica.stop()
            let next = owner.batch("a", 4...4)
            #expect(await owner.log.append(next).map(code) == [.uncertain])
            replica.cont()
            #expect(try await owner.appendUntilKnown(next) == [nil])
            #expect(try owner.stored("a") == owner.ids(1...4))
        }
    }

    // MARK: - What Redis refuses

    @Test func aFullMemoryRefusesTheWholeBatch() async throws {
        try await self.withOwner { owner async throws in
            let other = Grant(partition: 1, ownerEpoch: 1)
            #expect(await owner.log.seal([other]).map(code) == [nil])
            #expect(await owner.append("a", 1...3) == nil)
            try owner.server.command("CONFIG SET maxmemory 500000")
            var batch = LogBatch()
            for (grant, name) in [(owner.grant, "a"), (other, "b")] {
                let index = batch.add(grant)
                for offset in 4...400 as ClosedRange<UInt64> {
                    batch.add(event(name, position(owner.epoch, name == "a" ? offset : offset - 3), at: WallClock.now()), grantIndex: index)
                }
            }
            let before = try owner.server.command("DBSIZE")
            #expect(await owner.log.append(batch).map(code) == [.unavailable, .unavailable])
            #expect(try owner.stored("a") == owner.ids(1...3))
            #expect(try owner.server.command("DBSIZE") == before)
            // Reading needs no memory, and nothing has been lost.
            #expect(await owner.log.verify([owner.grant, other]).map(code) == [nil, nil])
            #expect(try await owner.offsets("a") == [1, 2, 3])
            #expect(try await owner.head("a")?.head == position(owner.epoch, 3))
            try owner.server.command("CONFIG SET maxmemory 0")
            #expect(await owner.log.append(batch).map(code) == [nil, nil])
            #expect(try await owner.offsets("a") == Array(1...400))
        }
    }

    /// Forgetting is what makes room.
    @Test func aFullMemoryDoesNotKeepALogFromForgetting() async throws {
        try await self.withOwner { owner async throws in
            #expect(await owner.append("a", 1...3) == nil)
            try owner.server.command("CONFIG SET maxmemory 500000")
            try await owner.log.forget([owner.grant: [channel("a")]], writtenBefore: .max)
            #expect(try owner.stored("a") == [])
        }
    }

    @Test func aStreamOfAnotherTypeRefusesItsPartitionOnly() async throws {
        try await self.withOwner { owner async throws in
            let other = Grant(partition: 1, ownerEpoch: 1)
            #expect(await owner.log.seal([other]).map(code) == [nil])
            try owner.server.command(["SET", owner.log.stream(0, channel("b")), "foreign"])
            var batch = LogBatch()
            let (first, second) = (batch.add(owner.grant), batch.add(other))
            batch.add(event("a", position(owner.epoch, 1), at: WallClock.now()), grantIndex: first)
            batch.add(event("c", position(owner.epoch, 1), at: WallClock.now()), grantIndex: second)
            batch.add(event("b", position(owner.epoch, 1), at: WallClock.now()), grantIndex: first)
            let codes = await owner.log.append(batch).map(code)
            #expect(codes[0] != nil && codes[1] == nil)
            // Nothing of the partition is acknowledged.
            #expect(try await owner.head("a")?.head == position(owner.epoch, 0))
            try owner.server.command(["DEL", owner.log.stream(0, channel("b"))])
            #expect(try await owner.appendUntilKnown(batch) == [nil, nil])
            #expect(try await owner.offsets("a") == [1])
            #expect(try await owner.offsets("b") == [1])
        }
    }

    /// A new owner gives the position to another event.
    @Test func anEventThatWasStoredWithoutItsHeadIsNotTakenForAnotherOne() async throws {
        try await self.withOwner { owner async throws in
            #expect(await owner.append("a", 1...1) == nil)
            try owner.server.command(["SET", owner.log.stream(0, channel("b")), "foreign"])
            let both = [event("a", position(owner.epoch, 2), at: WallClock.now()), event("b", position(owner.epoch, 1), at: WallClock.now())]
            #expect(await owner.log.append(LogBatch(both, under: owner.grant)).map(code) != [nil])
            let next = Grant(partition: 0, ownerEpoch: 2)
            #expect(await owner.log.seal([next]).map(code) == [nil])
            let found = try #require(try await owner.log.heads(of: [ChannelOfPartition(channel("a"), next)]).heads[0])
            // The event that was left counts as stored.
            #expect(found.head == position(owner.epoch, 2))
            let other = event("a", found.head.next, "of the new owner", at: WallClock.now())
            let result = await owner.log.append(LogBatch([other], under: next)).map(code)
            let slice = try await owner.log.read(channel("a"), after: found.head, limit: 10, bytesMax: 1000)
            #expect(result == [nil] && slice.seen == [Seen(other)])
        }
    }

    /// An owner that has not read the head again.
    @Test func anotherEventAtThePositionOfAStoredOneIsRefused() async throws {
        try await self.withOwner { owner async throws in
            #expect(await owner.append("a", 1...1) == nil)
            try owner.server.command(["SET", owner.log.stream(0, channel("b")), "foreign"])
            let both = [event("a", position(owner.epoch, 2), at: WallClock.now()), event("b", position(owner.epoch, 1), at: WallClock.now())]
            #expect(await owner.log.append(LogBatch(both, under: owner.grant)).map(code) == [.uncertain])
            let other = event("a", position(owner.epoch, 2), "another", at: WallClock.now())
            #expect(await owner.log.append(LogBatch([other], under: owner.grant)).map(code) == [.lost])
        }
    }

    /// The append was sent before the same owner sealed the partition again, and Redis executes it afterwards.
    @Test func anAppendUnderAnOlderSealOfTheSameOwnerIsRefused() async throws {
        try await self.withOwner { owner async throws in
            #expect(await owner.append("a", 1...1) == nil)
            let late = events("a", owner.epoch, 2...2, at: WallClock.now())
            // Another log seals the same grant, as this one would after a loss.
            try await withRedisLog(port: owner.server.port, cluster: owner.log.settings.cluster, partitions: owner.log.partitions) { log, _ async throws in
                #expect(await log.seal([owner.grant]).map(code) == [nil])
                #expect(await owner.log.append(LogBatch(late, under: owner.grant)).map(code) == [.lost])
                #expect(try owner.stored("a") == owner.ids(1...1))
            }
            #expect(await owner.log.seal([owner.grant]).map(code) == [nil])
            #expect(await owner.log.append(LogBatch(late, under: owner.grant)).map(code) == [nil])
        }
    }

    /// Another program writes a key of one partition: only that partition stops.
    @Test(arguments: ["f", "h", "s"]) func aKeyOfAnotherTypeStopsItsPartitionOnly(_ key: String) async throws {
        let partitions = Partitions(count: 2)
        let names = (0..<2).map { partition in
            channel((0...).lazy.map { "c\($0)" }.first { partitions.partition(ofHash: channel($0).hash64) == partition }!)
        }
        let server = try await RedisServer.started()
        try await withRedisLog(port: server.port, cluster: "t", partitions: partitions) { log, _ async throws in
            let grants = Grant.everyPartition(of: 2)
            let floors = try await log.seal(grants).map { try $0.get().epochFloor }
            func batch(_ offset: UInt64) -> LogBatch {
                var batch = LogBatch()
                for (partition, name) in names.enumerated() {
                    let index = batch.add(grants[partition])
                    batch.add(event(name.string, position(floors[partition], offset), at: WallClock.now()), grantIndex: index)
                }
                return batch
            }
            #expect(await log.append(batch(1)).map(code) == [nil, nil])
            let foreign = ["f": log.fence(0), "h": log.heads(0), "s": log.stream(0, names[0])][key]!
            try server.command(["DEL", foreign])
            try server.command(["SET", foreign, "foreign"])
            let results = await log.append(batch(2))
            #expect(results.map(code) == [key == "s" ? .uncertain : .unavailable, nil])
            if key != "s", case .failure(let error) = results[0] { #expect(error.message.contains("another program"), "\(error)") }
            let heads = try await log.heads(of: zip(names, grants).map { ChannelOfPartition($0, $1) }).heads
            #expect(heads[1]?.head == position(floors[1], 2) && (heads[0] == nil) == (key != "s"))
            #expect(await log.verify(grants).map(code)[1] == nil)
            let sealed = await log.seal(grants.map { Grant(partition: $0.partition, ownerEpoch: $0.ownerEpoch + 1) }).map(code)
            #expect(sealed == [key == "f" ? .unavailable : nil, nil])
        }
    }

    // MARK: - Clocks

    /// A node whose clock is wrong neither hides nor deletes events that are young by the server's clock.
    @Test(arguments: [-3_600_000, 3_600_000] as [Int64]) func theServersClockDecidesWhatHasExpired(_ difference: Int64) async throws {
        try await self.withOwner { owner async throws in
            let wrong = Clocks(wall: { WallClock.now() + difference })
            #expect(await owner.append("a", 1...2) == nil)
            var settings = owner.log.settings
            settings.servers = [try RedisAddress("redis://127.0.0.1:\(owner.server.port)")]
            let loop = MultiThreadedEventLoopGroup.singleton.next()
            let next = RedisLog(
                settings: settings, loops: [loop], partitions: owner.log.partitions, limits: Limits(), clocks: wrong, logger: LogLines().logger)
            await next.start()
            try await next.waitUntilConnected()
            let grant = Grant(partition: 0, ownerEpoch: 2)
            #expect(await next.seal([grant]).map(code) == [nil])
            // It neither forgets the channel ...
            try await next.forget([grant: [channel("a")]], writtenBefore: wrong.steady() - 10_000)
            let found = try #require(try await next.heads(of: [ChannelOfPartition(channel("a"), grant)]).heads[0])
            #expect(found.head == position(owner.epoch, 2))
            let offsets = try await next.read(channel("a"), after: Position(epoch: 0, offset: 0), limit: 10, bytesMax: 1000).offsets
            #expect(offsets == [1, 2])
            // ... nor stores events that others take for old ones.
            let event = event("a", found.head.next, messageID: "m", at: wrong.wall())
            #expect(await next.append(LogBatch([event], under: grant)).map(code) == [nil])
            let third = Grant(partition: 0, ownerEpoch: 3)
            #expect(await owner.log.seal([third]).map(code) == [nil])
            #expect(try await owner.offsets("a") == [1, 2, 3])
            let ids = try await owner.log.heads(of: [ChannelOfPartition(channel("a"), third)]).heads[0]?.messageIDs ?? []
            #expect(ids.map(\.messageID) == ["m"] && ids.allSatisfy { abs($0.timestamp - WallClock.now()) < 60_000 })
            await next.close()
        }
    }

    /// A slow channel's stream never expires as a whole. Its old events are deleted although nobody reads them.
    @Test(arguments: [1, 2, 30, 300]) func appendsDeleteOldEvents(_ old: Int) async throws {
        let clock = TestClock()
        try await withRedisLog(clocks: clock.clocks) { log, server in
            let floor = try await log.seal(oneGrant)[0].get().epochFloor
            try await log.append(events("a", floor, 1...UInt64(old), at: clock.now))
            clock.advance(seconds: 200)
            try await log.append(events("a", floor, UInt64(old) + 1...UInt64(old) + 1, at: clock.now))
            clock.advance(seconds: 200)
            let length: () throws -> Int = { Int(try server.command(["XLEN", log.stream(0, channel("a"))]).integer ?? -1) }
            #expect(try length() == old + 1)
            var next = UInt64(old) + 2
            for left in [max(0, old - 84), max(0, old - 168)] {
                try await log.append(events("a", floor, next...next, at: clock.now))
                #expect(try length() == left + Int(next) - old)
                next += 1
                clock.advance(seconds: 31)
            }
            let slice = try await log.read(channel("a"), after: position(floor, UInt64(old)), limit: 10, bytesMax: 1000)
            #expect(slice.offsets.last == next - 1)
        }
    }

    /// Nodes publish again what a lost owner has not acknowledged. The next owner finds the ids of the last seconds, although the history is shorter.
    @Test func idsOfTheLastSecondsStayBeyondTheHistory() async throws {
        // At the beginning of a period of ten seconds.
        let clock = TestClock(1_700_000_000_000)
        var limits = Limits()
        limits.historyEventsMax = 2
        try await withRedisLog(limits: limits, clocks: clock.clocks) { log, server in
            let floor = try await log.seal(oneGrant)[0].get().epochFloor
            func append(_ offsets: ClosedRange<UInt64>) async throws {
                let events = offsets.map { offset in
                    SequencedEvent(
                        event: Event(channel: channel("a"), payload: ByteBuffer(string: "x"), messageID: "m\(offset)"), position: position(floor, offset),
                        timestamp: clock.now)
                }
                #expect(await log.append(LogBatch(events, under: oneGrant[0])).map(code) == [nil])
            }
            func known() async throws -> [String] {
                try await log.heads(of: [ChannelOfPartition(channel("a"), oneGrant[0])]).heads[0]?.messageIDs.map(\.messageID) ?? []
            }
            try await append(1...5)
            try await append(6...8)
            #expect(try await known() == (1...8).map { "m\($0)" })
            // Only the history can be read.
            for after: UInt64 in [0, 3, 6] {
                let slice = try await log.read(channel("a"), after: position(floor, after), limit: 10, bytesMax: 1000)
                #expect(slice.offsets == [7, 8] && slice.oldest == position(floor, 7))
            }
            #expect(try await log.read(channel("a"), after: position(floor, 7), limit: 10, bytesMax: 1000).offsets == [8])
            clock.advance(seconds: 9)
            try await append(9...9)
            #expect(try await known() == (1...9).map { "m\($0)" })
            clock.advance(seconds: 10)
            try await append(10...10)
            #expect(try await known() == (1...10).map { "m\($0)" })
            clock.advance(seconds: 10)
            try await append(11...11)
            #expect(try await known() == ["m10", "m11"])
            clock.advance(seconds: 30)
            try await append(12...13)
            try await append(14...14)
            #expect(try await known() == ["m12", "m13", "m14"])
            #expect(try await log.read(channel("a"), after: position(floor, 0), limit: 10, bytesMax: 1000).offsets == [13, 14])
        }
    }

    /// The identity of the server is read before each seal: what was evicted just before is noticed.
    @Test func anEvictionJustBeforeASealIsNoticed() async throws {
        try await self.withOwner(RedisServerOptions(), deadline: .seconds(5), { $0.client.factsInterval = .hours(1) }) { owner async throws in
            #expect(await owner.append("a", 1...1) == nil)
            // Only streams have an expiry, so the fences and the heads stay.
            try owner.server.command(["CONFIG", "SET", "maxmemory-policy", "volatile-random"])
            try owner.server.command(["CONFIG", "SET", "maxmemory", "1"])
            _ = try? owner.server.command(["SET", "x", "y"])
            #expect(try owner.stored("a") == [])
            try owner.server.command(["CONFIG", "SET", "maxmemory", "0"])
            try owner.server.command(["CONFIG", "SET", "maxmemory-policy", "noeviction"])
            #expect(try await owner.log.seal([Grant(partition: 0, ownerEpoch: 2)])[0].get().keptEverything == false)
        }
    }

    // MARK: - Many channels

    @Test func aPartitionOfManyChannelsIsRememberedWhole() async throws {
        try await self.withOwner { owner async throws in
            let names = (0..<3000).map { "c\($0)" }
            let batch = LogBatch(names.map { event($0, position(owner.epoch, 1), at: WallClock.now()) }, under: owner.grant)
            #expect(await owner.log.append(batch).map(code) == [nil])
            var (found, slices): ([String], Int) = ([], 0)
            var next: RememberedPlace? = .start
            while let place = next {
                let slice = try await owner.log.remembered(from: place, count: 100)
                found += slice.channels.map(\.channel.string)
                slices += 1
                next = slice.next
            }
            #expect(Set(found) == Set(names) && slices > 10)
        }
    }
}
