import NIOCore
import Partitioning
import Pipeline
import Storage
import Testing

@Suite struct MemoryLogTests {
    @Test func aNewLogHasANewHistory() async throws {
        let first = MemoryLog(limits: Limits(), clocks: Clocks { 1000 })
        let second = MemoryLog(limits: Limits(), clocks: Clocks { 2000 })
        let grant = [Grant(partition: 0, ownerEpoch: 1)]
        #expect(try await first.sealed(grant).epochFloor == 1000)
        #expect(try await second.sealed(grant).epochFloor == 2000)
    }
}
