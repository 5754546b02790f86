import Coordination
import Testing

@Suite struct EmbeddedCoordinatorTests {
    @Test func ownsEveryPartitionOnceUnderOneEpoch() async throws {
        let assignments = try await EmbeddedCoordinator().join()
        #expect(assignments.map(\.partition) == Array(0..<256))
        #expect(Set(assignments.map(\.ownerEpoch)) == [1])
    }
}
