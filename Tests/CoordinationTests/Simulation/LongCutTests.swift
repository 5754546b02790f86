import AdminAPI
import Foundation
import Testing

@testable import Coordination

/// Links are cut for up to two minutes, in one direction or both, while ZooKeeper works. Nodes that reach each other must make progress during the cuts.
/// After the cuts the whole cluster must recover. `REALERTIME_SIMULATION_SEEDS` and `REALERTIME_SIMULATION_SEED` work as in ``SimulationTests``.
@Suite struct LongCutTests {
    static func run(seed: UInt64) throws -> Simulation {
        let simulation = Simulation(seed: seed, partitionCount: [7, 16, 32][Int(seed % 3)])
        let count = Int.random(in: 2...5, using: &simulation.random)
        for index in 1...count { simulation.after(simulation.milliseconds(0...3000)) { [unowned simulation] in simulation.startNode("n\(index)") } }
        simulation.keepHouse()
        simulation.watchLiveness(count)
        let end = LongCuts(simulation: simulation, count: count).schedule()
        try simulation.run(until: end)
        simulation.makePeace(count)
        try simulation.run(until: end + .seconds(100))
        try simulation.checkConvergence()
        return simulation
    }

    #if DEBUG
        private static let seedCount: UInt64 = 20
    #else
        private static let seedCount: UInt64 = 500
    #endif

    @Test func clustersRecoverFromLongCuts() throws {
        let environment = ProcessInfo.processInfo.environment
        if let seed = environment["REALERTIME_SIMULATION_SEED"].flatMap(UInt64.init) {
            _ = try Self.run(seed: seed)
            return
        }
        let count = environment["REALERTIME_SIMULATION_SEEDS"].flatMap(UInt64.init) ?? Self.seedCount
        var judged = 0
        for seed in 1...count { judged += try Self.run(seed: seed).liveness?.judged ?? 0 }
        // Most clusters have a core for a while before their links are healed.
        #expect(judged > Int(count) * 10)
    }

    /// Four nodes that share all partitions evenly, and their controller.
    private static func settled(_ seed: UInt64) throws -> (Simulation, SimulatedNode) {
        let simulation = Simulation(seed: seed, partitionCount: 16)
        for index in 1...4 { simulation.startNode("n\(index)") }
        simulation.keepHouse()
        simulation.watchLiveness(4)
        try simulation.run(until: .seconds(20))
        return (simulation, try #require(simulation.sortedNodes.first { $0.machine.isController }))
    }

    /// The controller keeps its session, but no report reaches it.
    @Test func aControllerThatNoLinkReachesIsReplaced() throws {
        let (simulation, lost) = try Self.settled(1)
        let others = simulation.sortedNodes.filter { $0 !== lost }
        simulation.cuts.add(others.flatMap { [[$0.id, lost.id], [lost.id, $0.id]] })
        try simulation.run(until: .seconds(35))
        let next = try #require(others.first { $0.hasReportsOfMost(of: 4) })
        #expect(!lost.machine.isController)
        next.request(AdminRequest(.drain, node: next.id))
        try simulation.run(until: .seconds(60))
        #expect(simulation.server.view?.node(next.id)?.state == .drained)
    }

    /// The controller gets no report about the end of a handoff. Some node must serve the partitions again.
    @Test(arguments: 1...5 as ClosedRange<UInt64>) func aHandoffEndsAlthoughItsReportsAreLost(_ seed: UInt64) throws {
        let (simulation, controller) = try Self.settled(seed)
        let source = try #require(simulation.sortedNodes.first { $0 !== controller })
        controller.request(AdminRequest(.drain, node: source.id))
        simulation.whenHandingOver(within: .seconds(5)) { simulation.cuts.add([[source.id, controller.id]]) }
        try simulation.run(until: .seconds(35))
        let partitions = try #require(simulation.server.view).partitions
        for (index, entry) in partitions.enumerated() {
            #expect(simulation.node(entry.owner ?? "")?.serves(index, entry.ownerEpoch) ?? false, "partition \(index): \(entry)")
        }
    }

    /// The checker detects a controller that is not replaced although no report reaches it.
    @Test func theCheckerFailsWithoutComplaints() throws {
        let (simulation, lost) = try Self.settled(1)
        simulation.losesComplaints = true
        simulation.cuts.add(simulation.sortedNodes.filter { $0 !== lost }.flatMap { [[$0.id, lost.id], [lost.id, $0.id]] })
        #expect(throws: Simulation.Failure.self) { try simulation.run(until: .seconds(150)) }
        #expect(simulation.checker.problem?.hasPrefix("no controller gets reports from most nodes") ?? false)
    }
}
