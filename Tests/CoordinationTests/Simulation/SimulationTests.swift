import AdminAPI
import Foundation
import Testing

@testable import Coordination

/// Thousands of clusters in virtual time, each from a seed. `REALERTIME_SIMULATION_SEEDS=100000` runs more clusters (`swift test -c release` is faster).
/// `REALERTIME_SIMULATION_SEED=N` repeats the cluster with seed N.
@Suite struct SimulationTests {
    /// The faults last 50 seconds. The cluster must be whole again 100 seconds later.
    private static func run(seed: UInt64, isFenced: Bool = true, isLogFencing: Bool = false) throws -> Simulation {
        let simulation = Simulation(seed: seed, partitionCount: [7, 16, 32][Int(seed % 3)], isFenced: isFenced, isLogFencing: isLogFencing)
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
            _ = try Self.run(seed: seed, isLogFencing: true)
            return
        }
        let count = environment["REALERTIME_SIMULATION_SEEDS"].flatMap(UInt64.init) ?? Self.seedCount
        var (steps, grants, fenced) = (0, 0, 0)
        for seed in 1...count {
            // Each node has its own log, or all nodes share a log that refuses older owner epochs.
            for isLogFencing in [false, true] {
                let simulation = try Self.run(seed: seed, isLogFencing: isLogFencing)
                steps += simulation.steps
                grants += simulation.checker.grants
                fenced += simulation.log?.fencedCommits ?? 0
            }
        }
        #expect(steps > Int(count) * 2000 && grants > Int(count) * 14 && fenced > Int(count) / 10)
    }

    // MARK: - A log that fences

    /// Three nodes that share all partitions evenly, and one of the nodes that is not the controller.
    private static func settled(seed: UInt64) throws -> (Simulation, SimulatedNode) {
        let simulation = Simulation(seed: seed, partitionCount: 16, isLogFencing: true)
        for index in 1...3 { simulation.startNode("n\(index)") }
        simulation.keepHouse()
        try simulation.run(until: .seconds(20))
        simulation.log?.forgetPauses()
        simulation.hasSmallFaults = false
        return (simulation, try #require(simulation.sortedNodes.first { !$0.machine.isController && !$0.serving.isEmpty }))
    }

    /// The servers end the session of a node that works. The node serves its partitions until it gets them again under newer owner epochs.
    @Test(arguments: UInt64(1)...20) func aLostSessionInterruptsPublishersForAMomentAtMost(_ seed: UInt64) throws {
        let (simulation, node) = try Self.settled(seed: seed)
        let before = try #require(simulation.server.view).partitions(ownedBy: node.id)
        let incarnation = node.machine.incarnation
        simulation.server.end(try #require(node.session))
        try simulation.run(until: .seconds(40))
        #expect(node.machine.incarnation != incarnation && node.machine.incarnation != nil)
        for partition in before { #expect(simulation.log!.longestPause[partition] < .milliseconds(1200), "partition \(partition)") }
        try simulation.checkConvergence()
    }

    /// Owners serve while no node reaches ZooKeeper, and no session ends.
    @Test(arguments: UInt64(1)...10) func withoutZooKeeperEveryPartitionIsServed(_ seed: UInt64) throws {
        let (simulation, _) = try Self.settled(seed: seed)
        let sessions = simulation.sortedNodes.map(\.session)
        simulation.server.isAway = true
        for node in simulation.sortedNodes { node.disconnect(for: .seconds(30)) }
        simulation.after(.seconds(30)) { simulation.server.isAway = false }
        try simulation.run(until: .seconds(60))
        #expect(simulation.log!.longestPause.allSatisfy { $0 < .milliseconds(100) })
        #expect(simulation.sortedNodes.map(\.session) == sessions)
        try simulation.checkConvergence()
    }

    /// The owner is stopped, and its port stays open. Its partitions are served again within 4 s, also if it is the controller.
    @Test(arguments: UInt64(1)...20) func aSilentOwnerIsReplacedEarly(_ seed: UInt64) throws {
        let (simulation, follower) = try Self.settled(seed: seed)
        let owner = seed.isMultiple(of: 2) ? follower : try #require(simulation.sortedNodes.first { $0.machine.isController })
        let owned = try #require(simulation.server.view).partitions(ownedBy: owner.id)
        owner.pause(for: .seconds(40))
        try simulation.run(until: .seconds(30))
        for partition in owned {
            #expect(simulation.log!.longestPause[partition] < .seconds(4), "partition \(partition)")
            #expect(simulation.now - simulation.log!.committedAt[partition]! < .milliseconds(100))
        }
    }

    /// The owner is dead, and its port refuses. Its partitions are served again within a second, also if it was the controller.
    @Test(arguments: UInt64(1)...20) func aDeadOwnerIsReplacedImmediately(_ seed: UInt64) throws {
        let (simulation, follower) = try Self.settled(seed: seed)
        let owner = seed.isMultiple(of: 2) ? follower : try #require(simulation.sortedNodes.first { $0.machine.isController })
        let owned = try #require(simulation.server.view).partitions(ownedBy: owner.id)
        owner.crash()
        try simulation.run(until: .seconds(30))
        for partition in owned {
            #expect(simulation.log!.longestPause[partition] < .seconds(1), "partition \(partition)")
            #expect(simulation.now - simulation.log!.committedAt[partition]! < .milliseconds(100))
        }
    }

    /// ZooKeeper was emptied, or has lost many grants: the log knows owner epochs that are far above the view's.
    @Test(arguments: [1, 100, 3000] as [Int64]) func aLogWithNewerOwnerEpochsIsReached(_ count: Int64) throws {
        let (simulation, _) = try Self.settled(seed: 3)
        simulation.log!.raiseSeals(by: count)
        try simulation.run(until: .seconds(60))
        try simulation.checkConvergence()
        #expect(simulation.log!.committedAt.allSatisfy { $0.map { simulation.now - $0 < .milliseconds(100) } ?? false })
        #expect(try #require(simulation.server.view).partitions.allSatisfy { $0.ownerEpoch > count })
    }

    /// The controller dies while partitions are sealed. Their owners take them back. That takes less time than the end of the controller's session.
    @Test(arguments: UInt64(1)...10) func ownersTakePartitionsBackWithoutAController(_ seed: UInt64) throws {
        let (simulation, node) = try Self.settled(seed: seed)
        let controller = try #require(simulation.sortedNodes.first { $0.machine.isController })
        let owned = Set(try #require(simulation.server.view).partitions(ownedBy: node.id))
        controller.request(AdminRequest(.drain, node: node.id))
        simulation.whenHandingOver(within: .seconds(10)) { controller.hang(for: .seconds(60)) }
        try simulation.run(until: .seconds(60))
        for partition in owned { #expect(simulation.log!.longestPause[partition] < .seconds(4), "partition \(partition)") }
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
