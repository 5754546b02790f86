import AdminAPI
import Testing

@testable import Coordination

/// All nodes restart, and ZooKeeper has lost all data, or all data since a copy was made. Only the knowledge on the nodes' disks is left.
@Suite struct LostZooKeeperTests {
    enum Loss: CaseIterable { case emptied, older }

    #if DEBUG
        private static let count: UInt64 = 6
    #else
        private static let count: UInt64 = 300
    #endif

    /// - Parameter isJudged: whether grants after a loss are checked against earlier grants.
    private func run(_ seed: UInt64, _ loss: Loss, isKept: Bool = true, isJudged: Bool = true) throws -> Simulation {
        let simulation = Simulation(seed: seed, partitionCount: 16)
        simulation.keepsMemory = isKept
        let count = Int.random(in: 2...5, using: &simulation.random)
        for index in 1...count { simulation.startNode("n\(index)") }
        simulation.keepHouse()
        simulation.after(simulation.milliseconds(9_000...14_000)) { simulation.server.backUp() }
        for _ in 0..<Int.random(in: 0...3, using: &simulation.random) {
            let id = "n\(Int.random(in: 1...count, using: &simulation.random))"
            simulation.after(simulation.milliseconds(15_000...22_000)) { simulation.node(id)?.crash() }
            simulation.after(simulation.milliseconds(23_000...24_000)) { if !(simulation.node(id)?.isAlive ?? true) { simulation.startNode(id) } }
        }
        // The requests are sent three times, because a response may be lost.
        for second in [32, 33, 34] {
            simulation.after(.seconds(second)) {
                simulation.sortedNodes.first?.request(AdminRequest(.cordon, node: "n1", by: "alice", note: "disk"))
                simulation.sortedNodes.last?.request(AdminRequest(.pause, by: "alice"))
            }
        }
        // The second loss is during the recovery from the first one.
        for (second, isLast) in [(40, false), (60 + Int(seed % 10), true)] {
            try simulation.run(until: .seconds(second))
            if isLast, loss == .older { break }
            for node in simulation.sortedNodes { node.crash() }
            if loss == .emptied { simulation.server.empty() } else { simulation.server.putBack() }
            if isJudged { simulation.checker.registerWasRolledBack() } else { simulation.checker = InvariantChecker() }
            for index in 1...count { simulation.after(simulation.milliseconds(0...3000)) { simulation.startNode("n\(index)") } }
        }
        try simulation.run(until: .seconds(110))
        return simulation
    }

    private func record(_ simulation: Simulation) -> NodeRecord? { simulation.server.data("/rt/sim/nodes/n1").flatMap { try? NodeRecord(json: $0) } }
    private func configuration(_ simulation: Simulation) -> ClusterConfiguration? {
        simulation.server.data("/rt/sim/config").flatMap { try? ClusterConfiguration(json: $0) }
    }

    @Test(arguments: Loss.allCases) func noOwnerEpochIsGrantedTwiceAndNoRequestIsLost(_ loss: Loss) throws {
        for seed in 1...Self.count {
            let simulation = try self.run(seed, loss)
            func trace(_ text: String) -> Comment { Comment(rawValue: "seed \(seed): \(text)\n" + simulation.trace.suffix(80).joined(separator: "\n")) }
            let record = self.record(simulation)
            #expect(record?.desired == .cordoned && record?.note == "disk" && record?.by == "alice", trace("\(String(describing: record))"))
            #expect(self.configuration(simulation)?.rebalance == .paused, trace("rebalancing is not paused"))
            let alarms = simulation.sortedNodes.flatMap(\.machine.history.events).filter { $0.kind == .alarm }
            #expect(
                alarms.contains { $0.text.contains("lost") && $0.text.contains("n1 is to be cordoned") && $0.text.contains("(disk)") }, trace("no alarm"))
            simulation.makePeace(simulation.sortedNodes.count)
            try simulation.run(until: .seconds(220))
            try simulation.checkConvergence()
        }
    }

    /// Without the knowledge on the disks, one of these seeds grants an owner epoch twice.
    @Test func withoutTheDisksOwnerEpochsAreGrantedTwice() {
        let seen = (UInt64(1)...20).contains { seed in
            do {
                _ = try self.run(seed, .emptied, isKept: false)
                return false
            } catch {
                return "\(error)".contains("granted twice")
            }
        }
        #expect(seen)
    }

    /// Without the knowledge on the disks, operators' requests are lost.
    @Test func withoutTheDisksRequestsAreLost() throws {
        let simulation = try self.run(1, .emptied, isKept: false, isJudged: false)
        #expect(simulation.server.view != nil && self.record(simulation) == nil && self.configuration(simulation)?.rebalance == .automatic)
    }

    /// If the disks fail, the cluster continues, and raises an alarm about the risk.
    @Test func aFailedDiskRaisesAnAlarmAndDoesNotStopTheCluster() throws {
        let simulation = Simulation(seed: 3, partitionCount: 16)
        simulation.failsToKeep = true
        for index in 1...3 { simulation.startNode("n\(index)") }
        simulation.keepHouse()
        try simulation.run(until: .seconds(30))
        try simulation.checkConvergence()
        #expect(simulation.sortedNodes.allSatisfy { $0.machine.alarm?.contains("cannot be stored") ?? false })
    }
}
