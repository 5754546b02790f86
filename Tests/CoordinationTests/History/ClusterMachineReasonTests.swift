import AdminAPI
import Partitioning
import Testing

@testable import Coordination

/// The events of the controller contain the reasons for changes.
@Suite struct ClusterMachineReasonTests {
    private func texts(_ bench: ClusterMachineBench, of id: String? = nil) -> [String] {
        bench.effects.compactMap { if case .log(let event) = $0, id == nil || event.node == id { event.text } else { nil } }
    }

    @Test func theEventsSayWhyANodeIsDownAndWhichNodesGotItsPartitions() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.vanish("n2")
        #expect(self.texts(bench) == ["active is now down: its session has ended", "n2 is down: 4 partitions reassigned (4 to n1)"])
    }

    @Test func aNodeThatLeftIsNotReportedAsFailed() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.receive(.leaving, from: "n2")
        bench.vanish("n2")
        // It leaves while its partitions are being handed over.
        #expect(
            self.texts(bench, of: "n2") == [
                "active is now draining: it stops, and hands its partitions over first", "draining is now down: it left",
                "n2 is down: 3 partitions reassigned (3 to n1)", "drain n2: 1 partition moved (1 to n1)",
            ])
    }

    @Test func aNodeWithAClosedPortIsReportedAsRefusingConnections() {
        var bench = ClusterMachineBench.controller(of: 2)
        let incarnation = bench.incarnation("n2")
        bench.handle(.linkDown(ProcessID(id: "n2", incarnation: incarnation), isRefused: true))
        bench.advance(.seconds(1))
        #expect(
            self.texts(bench, of: "n2") == [
                "n2 refuses connections: incarnation \(incarnation) is dead, and its member znode is removed", "active is now down: it refuses connections",
                "n2 is down: 4 partitions reassigned (4 to n1)",
            ])
    }

    @Test func theEventsNameTheMembersThatCannotReachAFencedNode() {
        var bench = ClusterMachineBench.controller(of: 3)
        let lost = bench.process("n3")
        bench.handle(.linkDown(lost, isRefused: false))
        bench.advance(.seconds(4))
        var report = bench.report(of: "n2")
        report.unreachable = [lost]
        bench.forget()
        bench.receive(.report(report))
        bench.settle()
        #expect(self.texts(bench, of: "n3").first == "active is now fenced: n1, n2 of 3 members cannot reach it at n3:1")
    }

    @Test func theEventsNameTheNodesThatVanishedAndThePreviousOwners() {
        var bench = ClusterMachineBench.controller(of: 7, partitionCount: 14)
        bench.vanish("n2", "n3", "n4")
        #expect(self.texts(bench).contains("mode normal is now guarded: n2, n3, n4 vanished within 10 s"))
        bench.forget()
        bench.advance(.seconds(16))
        let texts = self.texts(bench)
        #expect(texts.first == "mode guarded is now normal: the wait for nodes that vanished is over")
        #expect(texts.contains { $0.contains(" that n2 owned before assigned (") }, "\(texts)")
    }

    @Test func theEventsNameTheOperatorAndTheNoteOfEachRequest() {
        var bench = ClusterMachineBench.controller(of: 2)
        _ = bench.request(AdminRequest(.drain, node: "n2", by: "ann", note: "disk"))
        bench.balance()
        #expect(
            self.texts(bench, of: "n2") == [
                "drain n2 by ann: disk", "active is now draining: requested by ann (disk)", "draining is now drained: it owns no partitions any more",
                "drain n2: 4 partitions moved (4 to n1)",
            ])
        bench.forget()
        _ = bench.request(AdminRequest(.undrain, node: "n2", by: "bob"), number: 2)
        #expect(self.texts(bench, of: "n2").prefix(2) == ["undrain n2 by bob", "drained is now active: requested by bob"])
        _ = bench.request(AdminRequest(.pause, by: "eve", note: "rack 3"), number: 3)
        #expect(self.texts(bench).suffix(2) == ["pause by eve: rack 3", "mode normal is now maintenance: balancing is paused, requested by eve (rack 3)"])
    }

    @Test func aFlappingNodeRaisesAnAlarmAndStaysActive() {
        var bench = ClusterMachineBench.controller(of: 2)
        for _ in 0..<3 {
            bench.vanish("n2")
            bench.arrive("n2")
            bench.advance(.seconds(2))
        }
        let alarms = self.texts(bench).filter { $0.hasPrefix("n2 restarted or lost its session 3 times within 300 seconds") }
        #expect(alarms.count == 1 && bench.machine.alarm == alarms.first && bench.state("n2") == .active)
    }

    /// The controller reads the view back and recognizes its own write.
    @Test func aViewWhoseReplyWasLostIsRecordedWithItsReasons() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.store.end(200)
        bench.settle { if case .multi = $0 { true } else { false } }
        bench.loseReply()
        bench.advance(.seconds(1))
        #expect(self.texts(bench, of: "n2") == ["active is now down: its session has ended", "n2 is down: 4 partitions reassigned (4 to n1)"])
    }
}
