package import Coordination
package import Partitioning
package import Pipeline

/// Lets `Coordination` seal partitions in the sequencers, although `Coordination` does not know `Pipeline`.
extension Sequencers: PartitionStorage {
    package nonisolated func seal(_ partitions: [Grant]) async -> [SealRefusal] {
        await self.acquire(partitions).map { SealRefusal(grant: $0.grant, reason: $0.error.message, isFenced: $0.error.code == .fenced) }
    }

    package nonisolated func handOver(_ handoffs: [Handoff]) async -> [Grant] {
        await self.handOver(handoffs.map(\.grant))
        return []
    }
}
