import Link
import NIOConcurrencyHelpers
import NIOCore
import Partitioning
import Pipeline
import TestKit
import Testing

@testable import Relay
@testable import Storage

/// Planned moves of a log in memory: the content of a partition goes with it.
extension RelaysTests {
    @Test func aPartitionInMemoryMovesWithItsHistoryPositionsAndMessageIDs() async throws {
        try await self.withNodes(memory: [Limits(), Limits(), Limits()]) { a, b, c in
            await b.acquire(1, 1)
            a.open(Self.one)
            c.open(Self.one)
            let client = Client(a.publisher)
            var next: UInt64 = 0
            var owner = b
            for epoch in OwnerEpoch(1)...12 {
                client.publish(Self.one, next..<(next + 20), id: "m")
                next += 20
                let target = [a, b, c][Int(epoch) % 3]
                let grant = Grant(partition: 1, ownerEpoch: epoch)
                guard target.id != owner.id else {
                    await owner.sequencers.handOver([grant])
                    await owner.acquire(1, epoch + 1)
                    continue
                }
                let failed = await owner.relays.handOver([(grant, target.peer.process)])
                #expect(failed == [])
                // Publishes that arrive between the end of the handoff and the next grant wait.
                client.publish(Self.one, next..<(next + 20), id: "m")
                next += 20
                await target.acquire(1, epoch + 1)
                await owner.sequencers.release([grant])
                owner = target
            }
            try await eventually("all outcomes") { client.count == Int(next) }
            #expect(client.positions == (1...next).map { Position(epoch: 1 << 24, offset: $0) }, "one epoch, published once and in order")
            for node in [a, c] {
                try await eventually("the head at \(node.id)") { node.subscribers.head(Self.one)?.offset == next }
                #expect(node.subscribers.state.withLockedValue { Set($0.heads.values.map(\.epoch)) } == [1 << 24], "no reset")
                let slice = try await node.relays.history(of: Self.one, after: Position(epoch: 0, offset: 0), limit: 1000, bytesMax: 1_000_000)
                #expect(slice.events.map { String(buffer: $0.event.payload) } == (0..<next).map { "\($0)" })
            }
            // The last owner knows the message ids that the first one has stored.
            let again = Client(c.publisher)
            again.publish(Self.one, 0..<20, id: "m")
            try await eventually("outcomes") { again.count == 20 }
            #expect(again.outcomes.withLockedValue { $0[7] } == .duplicate(Position(epoch: 1 << 24, offset: 8), subscribers: 2))
            let handoffs = await [a, b, c].asyncSum { await $0.relays.metrics.handoffs.carried }
            #expect(handoffs == 11)
        }
    }

    /// The target dies while the content is being sent: this node takes the partition back, with everything.
    @Test func theTargetDiesInTheMiddle() async throws {
        try await self.withNodes(memory: [Limits(), Limits(), Limits()]) { a, b, _ in
            let (first, second) = (Grant(partition: 1, ownerEpoch: 1), Grant(partition: 1, ownerEpoch: 2))
            await a.acquire(1, 1)
            let client = Client(a.publisher)
            client.publish(Self.one, 0..<1, id: "m")
            let large = Client(a.publisher)
            for number in UInt64(0)..<300 { large.publishLarge(Self.one, number) }
            try await eventually("stored") { client.count == 1 && large.count == 300 }
            let move = Task { await a.relays.handOver([(first, b.peer.process)]) }
            try await eventually("chunks") { await a.relays.metrics.handoffs.bytes > 100_000 }
            client.publish(Self.one, 1..<2, id: "m")
            await b.links.close()
            #expect(await move.value == [first])
            let staged = try #require(b.log as? MemoryLog).state
            try await eventually("nothing is left of it") { staged.withLockedValue { $0.staged.isEmpty } }
            _ = await a.sequencers.acquire([second])
            try await eventually("published") { client.count == 2 }
            #expect(client.positions == [Position(epoch: 1 << 24, offset: 1), Position(epoch: 1 << 24, offset: 302)])
            #expect(await a.relays.metrics.handoffs.failed == 1)
        }
    }

    @Test func aTargetWithoutSpaceGetsThePartitionWithoutItsContent() async throws {
        var small = Limits()
        small.historyBytesMax = 1000
        try await self.withNodes(memory: [Limits(), small, Limits()]) { a, b, _ in
            await a.acquire(1, 1)
            let client = Client(a.publisher)
            client.publish(Self.one, 0..<100)
            try await eventually("stored") { client.count == 100 }
            #expect(await a.relays.handOver([(Grant(partition: 1, ownerEpoch: 1), b.peer.process)]) == [])
            await b.acquire(1, 2)
            client.publish(Self.one, 100..<101)
            try await eventually("published") { client.count == 101 }
            #expect(client.positions.last == Position(epoch: 2 << 24, offset: 1), "a new epoch, which is reported as reset")
            #expect(await a.relays.metrics.handoffs.withoutContent == 1)
        }
    }

    @Test func withoutALinkToTheTargetTheOwnerKeepsThePartition() async throws {
        try await self.withNodes(memory: [Limits(), Limits(), Limits()]) { a, _, _ in
            let grant = Grant(partition: 1, ownerEpoch: 1)
            await a.acquire(1, 1)
            #expect(await a.relays.handOver([(grant, ProcessID(id: "d", incarnation: 1))]) == [grant])
            #expect(await a.relays.handOver([(Grant(partition: 2, ownerEpoch: 1), nil)]) == [Grant(partition: 2, ownerEpoch: 1)])
            await a.acquire(1, 2)
            let client = Client(a.publisher)
            client.publish(Self.one, 0..<1)
            try await eventually("published") { client.count == 1 }
            #expect(client.positions == [Position(epoch: 1 << 24, offset: 1)])
        }
    }
}

extension [RelaysTests.Node] {
    fileprivate func asyncSum(_ number: (Element) async -> UInt64) async -> UInt64 {
        var sum: UInt64 = 0
        for node in self { sum += await number(node) }
        return sum
    }
}
