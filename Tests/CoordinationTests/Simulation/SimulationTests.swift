import AdminAPI
import Foundation
import Testing

@testable import Coordination

/// Thousands of clusters in virtual time, each from a seed. `REALERTIME_SIMULATION_SEEDS=100000` runs more clusters (`swift test -c release` is faster).
/// `REALERTIME_SIMULATION_SEED=N` repeats the cluster with seed N.
@Suite struct SimulationTests {
    /// The faults last 50 seconds. The cluster must be whole again 100 seconds later.
    private static func run(seed: UInt64, isFenced: Bool = true) throws -> Simulation {
        let simulation = Simulation(seed: seed, partitionCount: [7, 16, 32][Int(seed % 3)], isFenced: isFenced)
        let count = Int.random(in: 2...5, using: &simulation.random)
        for index in 1...count { simulation.after(simulation.milliseconds(0...3000)) { simulation.startNode("n\(index)") } }
        simulation.keepHouse()
        for _ in 0..<Int.random(in: 3...14, using: &simulation.random) { Self.scheduleFault(simulation, count) }
        try simulation.run(until: .seconds(50))
        simulation.makePeace(count)
        try simulation.run(until: .seconds(150))
        try simulation.checkConvergence()
        return simulation
    }

    private static func scheduleFault(_ simulation: Simulation, _ count: Int) {
        let id = "n\(Int.random(in: 1...count, using: &simulation.random))"
        let other = "n\(Int.random(in: 1...count, using: &simulation.random))"
        let kind = Int.random(in: 0..<14, using: &simulation.random)
        let duration = simulation.milliseconds(50...9000)
        let delay = simulation.milliseconds(3000...45000)
        simulation.after(delay) {
            switch kind {
            case 0, 1:
                simulation.node(id)?.crash()
                simulation.after(duration) { if !(simulation.node(id)?.isAlive ?? true) { simulation.startNode(id) } }
            case 2: simulation.node(id)?.pause(for: duration)
            case 3, 4: simulation.node(id)?.disconnect(for: duration)
            case 5:
                let cuts: [[String]] = simulation.chance(50) ? [[id, other]] : [[id, other], [other, id]]
                simulation.cuts.add(cuts)
                simulation.after(duration) { simulation.cuts.heal(cuts) }
            case 6:
                simulation.note("ZooKeeper is away for \(duration)")
                simulation.server.isAway = true
                for node in simulation.sortedNodes { node.disconnect(for: duration) }
                simulation.after(duration) { simulation.server.isAway = false }
            case 7: if let session = simulation.node(id)?.session { simulation.server.end(session) }
            case 8: simulation.node(id)?.request(AdminRequest(.drain, node: other))
            case 9: simulation.node(id)?.request(AdminRequest(.cordon, node: other))
            case 10: simulation.node(id)?.request(AdminRequest(.pause))
            case 11:
                simulation.node(id)?.leave()
                simulation.after(duration + .seconds(3)) { if !(simulation.node(id)?.isAlive ?? true) { simulation.startNode(id) } }
            case 12: simulation.node(id)?.hang(for: duration + .seconds(3))
            default:
                // All links of one node.
                let cuts = (1...count).flatMap { [["n\($0)", id], [id, "n\($0)"]] }
                simulation.cuts.add(cuts)
                simulation.after(duration) { simulation.cuts.heal(cuts) }
            }
        }
    }

    #if DEBUG
        private static let seedCount: UInt64 = 40
    #else
        private static let seedCount: UInt64 = 2000
    #endif

    @Test func clustersRecoverFromAllFaults() throws {
        let environment = ProcessInfo.processInfo.environment
        if let seed = environment["REALERTIME_SIMULATION_SEED"].flatMap(UInt64.init) {
            _ = try Self.run(seed: seed)
            return
        }
        let count = environment["REALERTIME_SIMULATION_SEEDS"].flatMap(UInt64.init) ?? Self.seedCount
        var (steps, grants) = (0, 0)
        for seed in 1...count {
            let simulation = try Self.run(seed: seed)
            steps += simulation.steps
            grants += simulation.checker.grants
        }
        #expect(steps > Int(count) * 1000 && grants > Int(count) * 7)
    }

    #if DEBUG
        private static let lossCount: UInt64 = 10
    #else
        private static let lossCount: UInt64 = 300
    #endif

    /// I1 and I2 hold for all grants, including grants that the servers have lost. The cluster recovers without an operator.
    @Test func clustersRecoverWhenZooKeeperLosesWrites() throws {
        var lost = 0
        for seed in 1...Self.lossCount {
            let simulation = Simulation(seed: seed, partitionCount: 16)
            let count = Int.random(in: 3...5, using: &simulation.random)
            for index in 1...count { simulation.startNode("n\(index)") }
            simulation.keepHouse()
            simulation.after(simulation.milliseconds(12_000...16_000)) { simulation.server.backUp() }
            for _ in 0..<Int.random(in: 1...4, using: &simulation.random) {
                let id = "n\(Int.random(in: 1...count, using: &simulation.random))"
                simulation.after(simulation.milliseconds(16_000...26_000)) { simulation.node(id)?.crash() }
                simulation.after(simulation.milliseconds(26_000...30_500)) { if !(simulation.node(id)?.isAlive ?? true) { simulation.startNode(id) } }
            }
            try simulation.run(until: .seconds(30))
            let before = simulation.server.view?.version ?? 0
            simulation.server.putBack()
            lost += Int(before - (simulation.server.view?.version ?? 0))
            try simulation.run(until: .seconds(100))
            try simulation.checkConvergence()
        }
        #expect(lost > Int(Self.lossCount))
    }

    /// The node and its ZooKeeper server are cut off together. The server does not know it yet, so the session ends without a message to the node.
    @Test func aNodeAtACutOffServerStopsServingBeforeItsSessionEnds() throws {
        for seed in UInt64(1)...20 {
            let simulation = Simulation(seed: seed, partitionCount: 16)
            for index in 1...4 { simulation.startNode("n\(index)") }
            simulation.keepHouse()
            try simulation.run(until: .seconds(20))
            let node = try #require(simulation.sortedNodes.randomElement(using: &simulation.random))
            #expect(!node.serving.isEmpty)
            let cuts = simulation.sortedNodes.filter { $0 !== node }.flatMap { [[$0.id, node.id], [node.id, $0.id]] }
            simulation.cuts.add(cuts)
            let session = try #require(node.session)
            node.strand(for: .seconds(9))
            try simulation.run(until: .seconds(28))
            #expect(simulation.server.sessions[session] == nil && node.serving.isEmpty)
            simulation.cuts.heal(cuts)
            try simulation.run(until: .seconds(100))
            try simulation.checkConvergence()
        }
    }

    /// The servers stall for half a session timeout. No session ends.
    @Test func aShortStallOfTheServersEndsNoSession() throws {
        for seed in UInt64(1)...20 {
            let simulation = Simulation(seed: seed, partitionCount: 16)
            for index in 1...3 { simulation.startNode("n\(index)") }
            simulation.keepHouse()
            try simulation.run(until: .seconds(20))
            let sessions = simulation.sortedNodes.map(\.session)
            for node in simulation.sortedNodes { node.strand(for: .seconds(3)) }
            try simulation.run(until: .seconds(40))
            #expect(simulation.sortedNodes.map(\.session) == sessions)
            try simulation.checkConvergence()
        }
    }

    /// The session and the links of a hanging controller still work, so only the other members can detect the fault.
    @Test func aControllerThatHangsIsReplaced() throws {
        let simulation = Simulation(seed: 1, partitionCount: 16)
        for index in 1...4 { simulation.startNode("n\(index)") }
        simulation.keepHouse()
        try simulation.run(until: .seconds(20))
        let hung = try #require(simulation.sortedNodes.first { $0.machine.isController })
        let epoch = try #require(hung.machine.controller?.epoch)
        hung.hang(for: .seconds(30))
        try simulation.run(until: .seconds(35))
        let next = try #require(simulation.sortedNodes.first { $0.machine.isController && $0 !== hung })
        #expect(next.machine.controller?.epoch == epoch + 1)
        // The old controller learns about its replacement when it continues. It is not elected again immediately.
        try simulation.run(until: .seconds(60))
        #expect(!hung.machine.isController)
        next.crash()
        try simulation.run(until: .seconds(75))
        let third = try #require(simulation.sortedNodes.first { $0.isAlive && $0.machine.isController })
        #expect(third !== hung)
    }

    @Test func theSameSeedMakesTheSameRun() throws {
        let (first, second) = (try Self.run(seed: 5), try Self.run(seed: 5))
        #expect(first.steps == second.steps && first.checker.writes == second.checker.writes)
    }

    /// Only the fence prevents writes by two controllers. Without the fence, one of the seeds in ``unfenced`` fails.
    @Test func withoutTheFenceASeedFails() {
        let seen = Self.unfenced.first { seed in
            do {
                _ = try Self.run(seed: seed, isFenced: false)
                return false
            } catch {
                return true
            }
        }
        #expect(seen != nil)
        if ProcessInfo.processInfo.environment["REALERTIME_SIMULATION_SEEDS"] != nil { print("unfenced: \(seen ?? 0)") }
    }

    /// If a change of the machine makes all these seeds pass, search the first 400 seeds.
    private static let unfenced: ClosedRange<UInt64> = 1...200
}
