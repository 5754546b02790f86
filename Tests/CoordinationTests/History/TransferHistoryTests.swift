import AdminAPI
import JSON
import Testing

@testable import Coordination

/// The history has one event for each decision, and keeps the events of operators' requests.
@Suite struct TransferHistoryTests {
    private func events(_ bench: ClusterMachineBench, _ kinds: ClusterEvent.Kind...) -> [ClusterEvent] {
        bench.machine.history.events.filter { kinds.contains($0.kind) }
    }

    @Test func aDrainIsOneEvent() throws {
        var bench = ClusterMachineBench.controller(of: 3, partitionCount: 96)
        let last = try #require(bench.machine.history.events.last).number
        _ = bench.request(AdminRequest(.drain, node: "n2", by: "ann", note: "kernel update"))
        bench.balance()
        #expect(bench.state("n2") == .drained)
        let events = bench.machine.history.after(last)
        #expect(
            events.map(\.text) == [
                "drain n2 by ann: kernel update", "active is now draining: requested by ann (kernel update)",
                "draining is now drained: it owns no partitions any more", "drain n2: 32 partitions moved (16 to n1, 16 to n3)",
            ])
        #expect(events.allSatisfy { $0.node == "n2" } && events[0].by == "ann" && events[0].note == "kernel update")
        let moved = try #require(events.last?.transfers)
        #expect(moved.count == 32 && moved.pairs.map(\.count) == [16, 16] && moved.pairs.allSatisfy { $0.partitions.count == 16 && $0.from == "n2" })
        // After the undrain, all moves back to n2 are one event too.
        bench.forget()
        _ = bench.request(AdminRequest(.undrain, node: "n2"), number: 2)
        bench.balance()
        let back = try #require(self.events(bench, .moved).last)
        #expect(back.text == "balance: 32 partitions moved (16 from n1 to n2, 16 from n3 to n2)" && back.node == "n2")
    }

    @Test func aDrainThatWasInterruptedRecordsItsFinishedMoves() throws {
        var bench = ClusterMachineBench.controller(of: 2, partitionCount: 64)
        _ = bench.request(AdminRequest(.drain, node: "n2"))
        bench.report()
        #expect(self.events(bench, .moved).last?.text.hasPrefix("drain") != true, "the drain is not finished")
        _ = bench.request(AdminRequest(.undrain, node: "n2"), number: 2)
        bench.balance()
        let drain = self.events(bench, .moved).filter { $0.text.hasPrefix("drain n2: ") }
        #expect(drain.count == 1 && drain[0].transfers.count > 0 && drain[0].transfers.count < 32, "\(drain)")
    }

    @Test func thePartitionsOfADeadNodeAreOneEventAboutThatNode() throws {
        var bench = ClusterMachineBench.controller(of: 3, partitionCount: 12)
        bench.vanish("n2")
        let granted = try #require(self.events(bench, .granted).last)
        #expect(granted.text == "n2 is down: 4 partitions reassigned (2 to n1, 2 to n3)" && granted.node == "n2")
    }

    @Test func aPinnedMoveIsOneEventAboutItsTarget() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        let partition = try #require(bench.machine.view?.partitions(ownedBy: "n1").first)
        let last = try #require(bench.machine.history.events.last).number
        _ = bench.request(AdminRequest(.move, node: "n2", partition: partition, by: "ann", note: "hot"))
        bench.advance(.seconds(1))
        bench.report()
        // Only two events are compared, because balancing may move another partition back.
        let events = bench.machine.history.after(last).prefix(2)
        #expect(events.map(\.text) == ["move \(partition) to n2 by ann: hot", "move to n2: 1 partition moved (1 to n2)"])
        #expect(events.allSatisfy { $0.node == "n2" })
    }

    /// A follower may miss views, and see only every third one.
    @Test func movesBetweenTwoViewsAreRecordedTogether() {
        var bench = ClusterMachineBench.follower()
        bench.publish(bench.view(2, ["n1", "n1", "n2", "n2"], ownerEpochs: [2, 2, 1, 1]) { $0.nodes[1].state = .draining })
        bench.publish(bench.view(5, ["n1", "n1", "n1", "n1"], ownerEpochs: [2, 2, 2, 2]) { $0.nodes[1].state = .drained })
        #expect(self.events(bench, .moved).map(\.text).last == "drain n2: 4 partitions moved (4 to n1)")
    }

    @Test func operationsAreKeptEvenIfManyPartitionsMove() throws {
        var history = ClusterHistory()
        func add(_ kind: ClusterEvent.Kind, _ text: String) {
            _ = history.append(ClusterEvent(kind: kind, at: 0, node: "", viewVersion: 0, text: text))
        }
        add(.operation, "the first")
        add(.elected, "the election")
        for index in 0..<10_000 { add(index.isMultiple(of: 2) ? .moved : .granted, "\(index)") }
        add(.operation, "the last")
        let events = history.events
        #expect(events.first?.text == "the first" && events[1].text == "the election" && events.last?.text == "the last")
        #expect(zip(events, events.dropFirst()).allSatisfy { $0.number < $1.number } && history.count == events.count && events.count < 1200)
        #expect(history.after(10_002).map(\.text) == ["the last"] && history.counts[.moved] == 5000)
    }

    @Test func theSizeOfAnEventIsBounded() throws {
        var transfers = Transfers()
        for partition in 0..<16_384 { transfers.add(partition, from: "n\(partition % 7)", to: "m\(partition % 90)") }
        #expect(transfers.count == 16_384 && transfers.pairs.count == Transfers.pairsMax)
        #expect(transfers.pairs.allSatisfy { $0.partitions.count <= Transfers.partitionsMax } && transfers.destinations.hasSuffix(" to others"))
        var event = ClusterEvent(kind: .moved, at: 0, node: "", viewVersion: 1, text: transfers.destinations)
        event.transfers = transfers
        var writer = JSONWriter()
        event.write(to: &writer)
        #expect(writer.bytes.count < 5000)
        var object = try JSONValue(writer.bytes, named: "event", bytesMax: 5000).object()
        #expect(try object.integer("count", in: 0...100_000) == 16_384)
    }
}
