import AdminAPI
import Partitioning
import Testing

@testable import Coordination

/// A node that stops hands its partitions over first, and then leaves.
@Suite struct ClusterMachineDepartureTests {
    /// A follower that serves partitions 0 and 1.
    private func serving() -> ClusterMachineBench {
        var bench = ClusterMachineBench.follower()
        bench.publish(bench.view(2, ["n1", "n1", "n2", "n2"], ownerEpochs: [2, 2, 1, 1]))
        bench.forget()
        return bench
    }

    private func depart(_ bench: inout ClusterMachineBench, in duration: Duration = .seconds(5)) {
        bench.handle(.depart(until: bench.now.advanced(by: duration)))
        bench.settle()
    }

    private func announcements(_ bench: ClusterMachineBench) -> Int { bench.sent(to: "n2").count { if case .leaving = $0 { true } else { false } } }

    @Test func theNodeServesUntilItsPartitionsHaveMoved() {
        var bench = self.serving()
        self.depart(&bench)
        #expect(self.announcements(bench) == 1 && bench.releases.isEmpty && bench.states == [.serving, .serving, nil, nil])
        bench.publish(bench.view(3, ["n1", "n1", "n2", "n2"], ownerEpochs: [2, 2, 1, 1]) { $0.partitions[0].move = .init(id: 1, to: "n2", reason: .drain) })
        #expect(bench.handOvers == [Grant(partition: 0, ownerEpoch: 2)] && bench.states == [.sealed, .serving, nil, nil])
        bench.publish(bench.view(4, ["n2", "n1", "n2", "n2"], ownerEpochs: [3, 2, 1, 1]))
        #expect(!bench.hasLeft && bench.machine.membership.incarnation != nil)
        bench.advance(.seconds(1))
        #expect(self.announcements(bench) == 3, "the announcement is repeated")
        bench.publish(bench.view(5, ["n2", "n2", "n2", "n2"], ownerEpochs: [3, 3, 1, 1]))
        #expect(bench.hasLeft && bench.incarnation("n1") == -1)
    }

    @Test func atTheDeadlineTheOthersAreReleased() {
        var bench = self.serving()
        self.depart(&bench)
        bench.advance(.milliseconds(4900))
        #expect(!bench.hasLeft && bench.releases.isEmpty)
        bench.advance(.milliseconds(200))
        #expect(bench.hasLeft && bench.releases == [Grant(partition: 0, ownerEpoch: 2), Grant(partition: 1, ownerEpoch: 2)])
    }

    @Test func withoutANodeThatCanTakeThemNothingIsWaitedFor() {
        var bench = ClusterMachineBench.controller()
        self.depart(&bench)
        #expect(bench.hasLeft)
        var other = self.serving()
        other.publish(other.view(3, ["n1", "n1", "n2", "n2"], ownerEpochs: [2, 2, 1, 1]) { $0.nodes[1].state = .draining })
        self.depart(&other)
        #expect(other.hasLeft)
        var cut = self.serving()
        cut.suspend()
        self.depart(&cut)
        cut.reconnect()
        cut.settle()
        #expect(cut.hasLeft)
    }

    @Test func aNodeWithoutPartitionsLeavesImmediately() {
        var bench = ClusterMachineBench.follower()
        self.depart(&bench)
        #expect(bench.hasLeft)
    }

    /// The controller drains itself, then leaves.
    @Test func theControllerMovesItsOwnPartitions() {
        var bench = ClusterMachineBench.controller(of: 3)
        self.depart(&bench, in: .seconds(60))
        #expect(bench.state("n1") == .draining || bench.state("n1") == .drained)
        for _ in 0..<20 where !bench.hasLeft {
            bench.advance(.milliseconds(100))
            bench.report()
        }
        #expect(bench.hasLeft && bench.storedView.map { $0.partitions(ownedBy: "n1").isEmpty } == true)
    }

    /// The controller drains a node that announces that it leaves, without an operator's request. Its next process is not affected.
    @Test func theControllerMovesThePartitionsOfANodeThatLeaves() {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.receive(.leaving, from: "n2")
        bench.settle()
        #expect(bench.state("n2") == .draining)
        bench.balance()
        #expect(bench.state("n2") == .drained && bench.count("n2") == 0)
        bench.vanish("n2")
        bench.arrive("n2")
        bench.balance()
        #expect(bench.state("n2") == .active && bench.count("n2") > 0)
    }
}
