import AdminAPI
import Partitioning
import NIOConcurrencyHelpers
import Testing

@testable import Coordination

/// A node without ZooKeeper owns its partitions like a member of a cluster.
@Suite struct LoneCoordinatorTests {
    private func coordinator(_ storage: RecordingStorage, _ state: NodeState = .active) -> LoneCoordinator {
        LoneCoordinator(id: "n1", version: "1", startedAt: 1000, wallClock: { 61_000 }, storage: storage) {
            LoneCoordinator.Process(state: state, api: "127.0.0.1:8081", metrics: NodeMetrics())
        }
    }

    private func counts(_ coordinator: LoneCoordinator) async -> ClusterOverview.Partitions? {
        if case .status(let overview) = await coordinator.respond(to: AdminRequest(.status)) { overview.partitions } else { nil }
    }

    @Test func aLoneNodeTakesOverEveryPartition() async throws {
        let storage = RecordingStorage()
        let coordinator = self.coordinator(storage)
        #expect(await self.counts(coordinator)?.preparing == 256, "the node has not sealed the partitions yet")
        try await coordinator.start()
        #expect(storage.grants == Grant.everyPartition())
        #expect(await self.counts(coordinator)?.served == 256)
        #expect(coordinator.partitionCount == 256)
    }

    @Test func aLogThatRefusesASealEndsTheStart() async throws {
        let storage = RecordingStorage()
        storage.refusing.withLockedValue { $0 = [7] }
        let coordinator = self.coordinator(storage)
        await #expect(throws: SealRefusal.self) { try await coordinator.start() }
        #expect(await self.counts(coordinator)?.served == 255)
        try await coordinator.start()
        #expect(await self.counts(coordinator)?.served == 256)
    }

    @Test func aStoppingNodeServesNoPartition() async throws {
        let coordinator = self.coordinator(RecordingStorage(), .draining)
        try await coordinator.start()
        #expect(await self.counts(coordinator)?.served == 0)
    }
}
