import Partitioning
import Testing

@Suite struct PartitionsTests {
    @Test func everyPartitionIsGrantedOnceUnderOneEpoch() {
        let grants = Grant.everyPartition()
        #expect(grants.map(\.partition) == Array(0..<256))
        #expect(Set(grants.map(\.ownerEpoch)) == [1])
    }

    /// The partition of a channel must never change, because the channel's history and owner are found by the partition.
    @Test(arguments: [("", 0x99), ("a", 0x5b), ("asdf", 0x1e), ("Nobody inspects the spammish repetition", 0xf1)] as [(String, Int)])
    func aChannelKeepsItsPartition(_ name: String, _ partition: Int) {
        #expect(Partitions().partition(ofHash: XXH64.hash(name)) == partition)
    }

    @Test func partitionsAreInRange() {
        for count in [1, 2, 7, 256, 1024] {
            let partitions = Partitions(count: count)
            for index in 0..<100 { #expect((0..<count).contains(partitions.partition(ofHash: XXH64.hash("c\(index)")))) }
            #expect((0..<count).contains(partitions.partition(ofHash: .max)))
        }
    }
}
