import AdminAPI
import Partitioning
import Testing

@testable import Coordination

/// The controller raises an alarm without a request if two nodes serve one partition.
@Suite struct ClusterMachineContestedTests {
    private static let text = "partitions are served by two nodes under one owner epoch, n2 and n3: stop one of the two immediately"

    private func alarms(_ bench: ClusterMachineBench) -> [String] {
        bench.effects.compactMap { if case .log(let event) = $0, event.kind == .alarm { event.text } else { nil } }
    }

    /// `n3` reports that it serves two random partitions of `n2`.
    private func contest(_ bench: inout ClusterMachineBench, change: (inout Grant) -> Void = { _ in }) {
        var report = bench.report(of: "n3")
        report.serving += bench.report(of: "n2").serving.shuffled().prefix(2).map {
            var owned = $0
            change(&owned)
            return owned
        }
        bench.receive(.report(report), from: "n3")
        bench.receive(.report(bench.report(of: "n2")), from: "n2")
        bench.settle()
    }

    @Test func twoNodesThatServeTheSamePartitionRaiseOneAlarm() {
        var bench = ClusterMachineBench.controller(of: 3, partitionCount: 24)
        for _ in 0..<20 {
            self.contest(&bench)
            bench.advance(.seconds(1))
        }
        #expect(self.alarms(bench) == [Self.text] && bench.machine.alarm == Self.text)
        bench.report()
        bench.advance(.seconds(601))
        #expect(bench.machine.alarm == nil)
        // Later the same fault raises a new alarm, as soon as both nodes have reported recently.
        for _ in 0..<2 { self.contest(&bench) }
        #expect(self.alarms(bench) == [Self.text, Self.text])
    }

    /// `n2` reports that it serves the partitions of the controller `n1`.
    @Test func partitionsOfTheControllerAreCheckedToo() {
        var bench = ClusterMachineBench.controller(of: 2)
        var report = bench.report(of: "n2")
        report.serving += (bench.machine.view?.partitions(ownedBy: "n1") ?? []).map {
            Grant(partition: $0, ownerEpoch: bench.machine.ownership[$0]?.ownerEpoch ?? 0)
        }
        bench.advance(.seconds(1))
        bench.receive(.report(report))
        #expect(self.alarms(bench).count == 1 && bench.machine.alarm?.contains("n1 and n2") == true)
    }

    @Test func aPartitionServedUnderAnOlderOwnerEpochIsNoAlarm() {
        var bench = ClusterMachineBench.controller(of: 3, partitionCount: 24)
        self.contest(&bench) { $0.ownerEpoch -= 1 }
        #expect(bench.machine.alarm == nil)
    }

    @Test func anOldReportOfTheOtherNodeIsNoAlarm() {
        var bench = ClusterMachineBench.controller(of: 3, partitionCount: 24)
        let old = bench.report(of: "n2")
        bench.advance(.seconds(6))
        var report = bench.report(of: "n3")
        report.serving += old.serving
        bench.receive(.report(report), from: "n3")
        #expect(bench.machine.alarm == nil)
    }
}
