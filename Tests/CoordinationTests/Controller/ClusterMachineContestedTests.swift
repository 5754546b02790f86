import AdminAPI
import Partitioning
import Testing

@testable import Coordination

/// What must not be is noticed without being asked for.
@Suite struct ClusterMachineContestedTests {
    private static let text = "partitions are served by two nodes under one owner epoch, n2 and n3: stop one of the two at once"

    private func alarms(_ stand: ClusterMachineStand) -> [String] {
        stand.told.compactMap { if case .log(let event) = $0, event.kind == .alarm { event.text } else { nil } }
    }

    /// `n3` says that it serves what is `n2`'s, and maybe differently each time.
    private func contest(_ stand: inout ClusterMachineStand, change: (inout Grant) -> Void = { _ in }) {
        var report = stand.report(of: "n3")
        report.serving += stand.report(of: "n2").serving.shuffled().prefix(2).map {
            var owned = $0
            change(&owned)
            return owned
        }
        stand.receive(.report(report), from: "n3")
        stand.receive(.report(stand.report(of: "n2")), from: "n2")
        stand.settle()
    }

    @Test func twoThatServeTheSameAreAnAlarmAndToldOnce() {
        var stand = ClusterMachineStand.controller(of: 3, partitionCount: 24)
        for _ in 0..<20 {
            self.contest(&stand)
            stand.advance(.seconds(1))
        }
        #expect(self.alarms(stand) == [Self.text] && stand.machine.alarm == Self.text)
        stand.report()
        stand.advance(.seconds(601))
        #expect(stand.machine.alarm == nil)
        // Another time, and told again as soon as both have reported lately.
        for _ in 0..<2 { self.contest(&stand) }
        #expect(self.alarms(stand) == [Self.text, Self.text])
    }

    /// Its owner is heard first, and last.
    @Test func theControllersOwnAreLookedAtToo() {
        var stand = ClusterMachineStand.controller(of: 2)
        var report = stand.report(of: "n2")
        report.serving += (stand.machine.view?.partitions(ownedBy: "n1") ?? []).map {
            Grant(partition: $0, ownerEpoch: stand.machine.ownership[$0]?.ownerEpoch ?? 0)
        }
        stand.advance(.seconds(1))
        stand.receive(.report(report))
        #expect(self.alarms(stand).count == 1 && stand.machine.alarm?.contains("n1 and n2") == true)
    }

    @Test func whatWasServedUnderAnOlderOwnerEpochIsNone() {
        var stand = ClusterMachineStand.controller(of: 3, partitionCount: 24)
        self.contest(&stand) { $0.ownerEpoch -= 1 }
        #expect(stand.machine.alarm == nil)
    }

    @Test func whatTheOtherSaidLongAgoIsNone() {
        var stand = ClusterMachineStand.controller(of: 3, partitionCount: 24)
        let old = stand.report(of: "n2")
        stand.advance(.seconds(6))
        var report = stand.report(of: "n3")
        report.serving += old.serving
        stand.receive(.report(report), from: "n3")
        #expect(stand.machine.alarm == nil)
    }
}
