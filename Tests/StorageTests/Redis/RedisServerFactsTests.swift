import TestKit
import Testing

@testable import Storage

@Suite struct RedisServerFactsTests {
    static let good = """
        # Server\r
        redis_version:7.0.15\r
        redis_mode:standalone\r
        process_id:77\r
        run_id:0123abcd\r
        # Replication\r
        role:master\r
        connected_slaves:2\r
        slave0:ip=127.0.0.1,port=1,state=online\r
        master_replid:beef\r
        evicted_keys:0\r
        latest_fork_usec:812\r
        maxmemory:1000\r
        used_memory:900\r
        maxmemory_policy:noeviction\r
        aof_enabled:1\r
        aof_last_write_status:ok\r
        rdb_last_bgsave_status:ok\r
        loading:0\r

        """

    private func facts(_ changes: [String: String] = [:], appendFsync: String? = nil) -> RedisServerFacts {
        RedisServerFacts(info: [Self.good, changes.map { "\($0.key):\($0.value)\r\n" }.joined()], appendFsync: appendFsync)
    }

    @Test func everyFactIsRead() {
        let facts = self.facts(appendFsync: "everysec")
        #expect(facts.version == "7.0.15" && facts.processID == 77 && facts.runID == "0123abcd" && facts.role == "master" && facts.connectedReplicas == 2)
        #expect(facts.replicationID == "beef" && facts.evictedKeys == 0 && facts.latestForkMicroseconds == 812 && facts.maxMemory == 1000)
        #expect(facts.usedMemory == 900 && facts.maxMemoryPolicy == "noeviction" && facts.aofEnabled && !facts.aofLastWriteFailed && !facts.rdbLastSaveFailed)
        #expect(!facts.isLoading && facts.appendFsync == "everysec")
        #expect(facts.refusal(at: "h:1") == nil && facts.warnings(at: "h:1") == [])
        #expect(self.facts(["loading": "1"]).isLoading && self.facts(["aof_last_write_status": "err"]).aofLastWriteFailed)
    }

    @Test func theIdentityChangesWithWhatMayHaveLostKeys() {
        let none = String(repeating: "0", count: 40)
        // A server that was a replica has the replication id of its former master as the second one.
        let changes = [["run_id": "x"], ["role": "slave"], ["master_replid": "x", "master_replid2": "beef"], ["evicted_keys": "1"]]
        for change in changes { #expect(self.facts(change).identity != self.facts().identity, "\(change)") }
        let promoted = self.facts(["master_replid": "x", "master_replid2": "beef"]).identity
        #expect(self.facts(["master_replid": "y", "master_replid2": "beef"]).identity != promoted)
        // The first replica that is attached changes the id, and nothing is lost.
        #expect(self.facts(["master_replid": "x", "master_replid2": none]).identity == self.facts().identity)
        #expect(self.facts(["used_memory": "1"]).identity == self.facts().identity)
    }

    @Test(
        arguments: [
            ("redis_version", "6.2.14", "7.0 or later"), ("redis_version", "255", nil), ("redis_version", "10.0", nil), ("redis_version", "7", nil),
            ("redis_version", "unstable", "7.0 or later"), ("redis_version", "-7.0", "7.0 or later"), ("redis_version", "", "does not say its redis_version"),
            ("role", "slave", "not a master"), ("role", "", "does not say its role"), ("maxmemory_policy", "volatile-ttl", "set it to noeviction"),
            ("maxmemory_policy", "", "does not say its maxmemory_policy"), ("redis_mode", "cluster", "use servers with cluster-enabled no"),
            ("redis_mode", "sentinel", "use the address of its master"), ("redis_mode", "", nil),
        ] as [(String, String, String?)]) func refusals(key: String, value: String, part: String?) throws
    {
        let refusal = self.facts([key: value]).refusal(at: "h:1")
        guard let part else { return #expect(refusal == nil) }
        let sentence = try #require(refusal)
        #expect(sentence.contains(part) && sentence.contains("Redis at h:1"), "\(sentence)")
    }

    /// What an administrator has set may be newer than what INFO says.
    @Test func theSettingItselfCountsMore() {
        #expect(RedisServerFacts(info: [Self.good], maxMemoryPolicy: "allkeys-lru").refusal(at: "h:1") != nil)
        #expect(RedisServerFacts(info: []).refusal(at: "h:1")?.contains("redis_version, role, maxmemory_policy") == true)
    }

    @Test(arguments: [
        ("aof_enabled", "0", "appendonly off"), ("aof_last_write_status", "err", "append-only file"), ("rdb_last_bgsave_status", "err", "snapshot"),
        ("evicted_keys", "3", "evicted 3 keys"),
    ]) func warnings(key: String, value: String, part: String) {
        let warnings = self.facts([key: value]).warnings(at: "h:1")
        #expect(warnings.count == 1 && warnings[0].contains(part) && warnings[0].contains("h:1"), "\(warnings)")
        #expect(self.facts(appendFsync: "no").warnings(at: "h:1").first?.contains("appendfsync no") == true)
    }

    @Test(arguments: 0..<200) func oddTextNeverTraps(seed: UInt64) {
        var random = SplitMix(seed: seed)
        let bytes = random.mutate(Array(Self.good.utf8), with: [":", "\r\n", "99999999999999999999", "-1", "redis_version:", "\u{0}"])
        let facts = RedisServerFacts(info: [String(decoding: bytes, as: UTF8.self)])
        _ = facts.refusal(at: "h:1")
        _ = facts.warnings(at: "h:1")
    }
}
