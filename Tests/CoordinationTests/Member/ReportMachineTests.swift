import AdminAPI
import Partitioning
import Testing

@testable import Coordination

/// Which changes a node reports to the controller immediately.
@Suite struct ReportMachineTests {
    private static let now = ContinuousClock.now
    private static let settings = ClusterSettings(cluster: "c", id: "n1", link: "n1:1", api: "n1:2", version: "1")
    private var machine = ReportMachine(settings: Self.settings)
    private var partitions: [Int: Ownership] = [0: .init(state: .serving, ownerEpoch: 5)]
    private var links: [String: LinkReach] = [:]

    private func facts(after duration: Duration) -> ReportMachine.Facts {
        .init(
            now: Self.now.advanced(by: duration), incarnation: 7, viewVersion: 3, partitions: self.partitions, links: self.links, controller: nil,
            session: ZooKeeperState(generation: 1, phase: .suspended), alarm: "disk full")
    }

    private mutating func report(after duration: Duration) -> NodeReport? { self.machine.next(self.facts(after: duration)).report }

    @Test mutating func aNodeReportsOncePerSecond() {
        #expect(self.report(after: .zero) != nil)
        let (report, wake) = self.machine.next(self.facts(after: .milliseconds(999)))
        #expect(report == nil && wake == Self.now.advanced(by: .seconds(1)))
        #expect(self.report(after: .seconds(1)) != nil)
    }

    @Test mutating func aFinishedHandoffIsReportedImmediately() {
        _ = self.report(after: .zero)
        self.partitions[0]?.isHandingOver = true
        #expect(self.report(after: .milliseconds(1)) == nil)
        self.partitions[0]?.state = .sealed
        #expect(self.report(after: .milliseconds(2))?.sealed == [Grant(partition: 0, ownerEpoch: 5)])
    }

    @Test mutating func aLinkThatBreaksOrIsRefusedIsReportedImmediately() {
        self.links["n2"] = LinkReach(incarnation: 8, isUp: true, since: Self.now)
        #expect(self.report(after: .zero)?.reached.map(\.id) == ["n2"])
        self.links["n2"] = LinkReach(incarnation: 8, isUp: false, since: Self.now)
        #expect(self.report(after: .milliseconds(1))?.reached == [])
        self.links["n2"]?.refusedSince = Self.now
        #expect(self.report(after: .milliseconds(2))?.refused.map(\.id) == ["n2"])
        self.links["n2"]?.reason = "another reason"
        #expect(self.report(after: .milliseconds(3)) == nil)
    }

    @Test mutating func aPeerThatBecomesUnreachableIsReportedAtThatTime() {
        self.links["n2"] = LinkReach(incarnation: 8, isUp: false, since: Self.now)
        let (_, first) = self.machine.next(self.facts(after: .milliseconds(3500)))
        #expect(first == Self.now.advanced(by: .seconds(4)))
        let (none, second) = self.machine.next(self.facts(after: .milliseconds(3999)))
        #expect(none == nil && second == Self.now.advanced(by: .seconds(4)))
        let (report, third) = self.machine.next(self.facts(after: .seconds(4)))
        #expect(report?.unreachable.map(\.id) == ["n2"] && third == Self.now.advanced(by: .seconds(5)))
    }

    /// The controller treats granted and sealing partitions alike: both are preparing.
    @Test mutating func theStartOfASealIsNotReportedImmediately() {
        self.partitions[0]?.state = .granted
        #expect(self.report(after: .zero)?.preparing == 1)
        self.partitions[0]?.state = .sealing
        #expect(self.report(after: .milliseconds(1)) == nil)
    }

    @Test mutating func aReportContainsMetricsAlarmSessionAndUnreachablePeers() {
        var metrics = NodeMetrics()
        metrics.connections = 9
        self.machine.measured(metrics)
        self.links["n2"] = LinkReach(incarnation: 8, isUp: false, since: Self.now)
        let early = self.report(after: .milliseconds(3999))
        #expect(early?.metrics.connections == 9 && early?.alarm == "disk full" && early?.session == "suspended" && early?.unreachable == [])
        #expect(self.report(after: .seconds(5))?.unreachable.map(\.id) == ["n2"])
    }
}
