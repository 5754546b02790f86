import AdminAPI
import Partitioning
import Testing

@testable import Coordination

/// The controller's history says why.
@Suite struct ClusterMachineReasonTests {
    private func texts(_ stand: ClusterMachineStand, of id: String? = nil) -> [String] {
        stand.told.compactMap { if case .log(let event) = $0, id == nil || event.node == id { event.text } else { nil } }
    }

    @Test func whyANodeIsDownAndWhoHasWhatItHad() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.vanish("n2")
        #expect(self.texts(stand) == ["active is now down: its session is over", "n2 is down: 4 partitions reassigned (4 to n1)"])
    }

    @Test func whoLeftIsNotSaidToHaveFailed() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.receive(.leaving, from: "n2")
        stand.vanish("n2")
        #expect(self.texts(stand, of: "n2") == ["active is now down: it left", "n2 is down: 4 partitions reassigned (4 to n1)"])
    }

    @Test func whosePortIsClosedIsSaidToRefuse() {
        var stand = ClusterMachineStand.controller(of: 2)
        let incarnation = stand.incarnation("n2")
        stand.handle(.linkDown(id: "n2", incarnation: incarnation, isRefused: true))
        stand.advance(.seconds(1))
        #expect(
            self.texts(stand, of: "n2") == [
                "n2 refuses connections: incarnation \(incarnation) is dead, its member znode is removed", "active is now down: it refuses connections",
                "n2 is down: 4 partitions reassigned (4 to n1)",
            ])
    }

    @Test func whoCannotReachAFencedNode() {
        var stand = ClusterMachineStand.controller(of: 3)
        let lost = ProcessID(id: "n3", incarnation: stand.incarnation("n3"))
        stand.handle(.linkDown(id: "n3", incarnation: lost.incarnation, isRefused: false))
        stand.advance(.seconds(4))
        var report = stand.report(of: "n2")
        report.unreachable = [lost]
        stand.forget()
        stand.receive(.report(report))
        stand.settle()
        #expect(self.texts(stand, of: "n3").first == "active is now fenced: n1, n2 of 3 members cannot reach it at n3:1")
    }

    @Test func whoVanishedTogetherAndWhoHadWhatIsGrantedThen() {
        var stand = ClusterMachineStand.controller(of: 7, partitionCount: 14)
        stand.vanish("n2", "n3", "n4")
        #expect(self.texts(stand).contains("mode normal is now guarded: n2, n3, n4 vanished within 10 s"))
        stand.forget()
        stand.advance(.seconds(16))
        let texts = self.texts(stand)
        #expect(texts.first == "mode guarded is now normal: it was waited long enough for those that vanished")
        #expect(texts.contains { $0.contains(" that n2 had owned assigned (") }, "\(texts)")
    }

    @Test func whoWishedWhat() {
        var stand = ClusterMachineStand.controller(of: 2)
        _ = stand.ask(AdminRequest(.drain, node: "n2", by: "ann", note: "disk"))
        stand.balance()
        #expect(
            self.texts(stand, of: "n2") == [
                "drain n2 by ann: disk", "active is now draining: requested by ann (disk)", "draining is now drained: it owns nothing any more",
                "drain n2: 4 partitions moved (4 to n1)",
            ])
        stand.forget()
        _ = stand.ask(AdminRequest(.undrain, node: "n2", by: "bob"), number: 2)
        #expect(self.texts(stand, of: "n2").prefix(2) == ["undrain n2 by bob", "drained is now active: requested by bob"])
        _ = stand.ask(AdminRequest(.pause, by: "eve", note: "rack 3"), number: 3)
        #expect(self.texts(stand).suffix(2) == ["pause by eve: rack 3", "mode normal is now maintenance: balancing is paused, requested by eve (rack 3)"])
    }

    @Test func aNodeThatFlapsIsAnAlarmAndStaysActive() {
        var stand = ClusterMachineStand.controller(of: 2)
        for _ in 0..<3 {
            stand.vanish("n2")
            stand.arrive("n2")
            stand.advance(.seconds(2))
        }
        let alarms = self.texts(stand).filter { $0.hasPrefix("n2 restarted or lost its session 3 times within 300 seconds") }
        #expect(alarms.count == 1 && stand.machine.alarm == alarms.first && stand.state("n2") == .active)
    }

    /// It is read back, and this node knows its own writing.
    @Test func aViewWhoseAnswerWasLostIsToldWithItsReasonsToo() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.store.end(200)
        stand.settle { if case .multi = $0 { true } else { false } }
        stand.answerIsLost()
        stand.advance(.seconds(1))
        #expect(self.texts(stand, of: "n2") == ["active is now down: its session is over", "n2 is down: 4 partitions reassigned (4 to n1)"])
    }
}
