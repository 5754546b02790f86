import Link
import Pipeline
import Testing

@testable import Node

@Suite struct ProcessorsTests {
    @Test(
        arguments: [
            ("Name:\tx\nCpus_allowed_list:\t0\nMems:\t0\n", 1), ("Cpus_allowed_list:\t0-3,8\n", 5), ("Cpus_allowed_list:\t2,4,6\n", 3),
            ("Cpus_allowed_list:\t0-127\n", 6), ("Cpus_allowed_list:\t\n", 6), ("Cpus_allowed:\tff\n", 6), ("Cpus_allowed_list:\tx-y\n", 6), ("", 6),
        ])
    func readsTheAffinity(status: String, count: Int) {
        #expect(Processors.affinity(status: status, online: 6) == count)
    }

    @Test func theSmallerOfAffinityAndQuotaIsUsed() {
        #expect(Processors(affinity: 8, quota: nil).count == 8)
        #expect(Processors(affinity: 8, quota: nil).source == "the processor affinity")
        #expect(Processors(affinity: 8, quota: 2).count == 2)
        #expect(Processors(affinity: 8, quota: 2.5) == Processors(affinity: 4, quota: 2.5))
        #expect(Processors(affinity: 8, quota: 2.5).count == 2)
        #expect(Processors(affinity: 8, quota: 2.5).source == "the cgroup's quota of 2.50 processors")
        #expect(Processors(affinity: 8, quota: 0.05).count == 1)
        #expect(Processors(affinity: 2, quota: 16).source == "the processor affinity")
        #expect(Processors(affinity: 0, quota: nil).count == 1)
    }

    private func quota(_ cgroups: String, _ files: [String: String]) -> Double? { Processors.quota(cgroups: cgroups) { files[$0] } }

    @Test func readsTheQuotaOfVersion2() {
        #expect(self.quota("0::/\n", ["/sys/fs/cgroup/cpu.max": "150000 100000\n"]) == 1.5)
        #expect(self.quota("0::/\n", ["/sys/fs/cgroup/cpu.max": "max 100000\n"]) == nil)
        // The smallest quota of the group and its parents.
        let files = ["/sys/fs/cgroup/a/b/cpu.max": "400000 100000\n", "/sys/fs/cgroup/a/cpu.max": "200000 100000\n", "/sys/fs/cgroup/cpu.max": "max 100000\n"]
        #expect(self.quota("0::/a/b\n", files) == 2)
        // In a container, /proc/self/cgroup shows the path of the group on the host.
        #expect(self.quota("0::/../../docker/7\n", ["/sys/fs/cgroup/cpu.max": "100000 100000\n"]) == 1)
        for text in ["", "1", "x y", "0 100000", "100000 0", "1 2 3"] { #expect(self.quota("0::/\n", ["/sys/fs/cgroup/cpu.max": text]) == nil) }
        #expect(self.quota("", ["/sys/fs/cgroup/cpu.max": "150000 100000\n"]) == nil)
    }

    @Test func readsTheQuotaOfVersion1() {
        let own = ["/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "300000\n", "/sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n"]
        #expect(self.quota("5:memory:/x\n4:cpu,cpuacct:/x\n", own) == 3)
        let root = ["/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n", "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n"]
        #expect(self.quota("4:cpu,cpuacct:/docker/7\n0::/\n", root) == 0.5)
        #expect(self.quota("4:cpuset:/x\n", own) == nil)
        #expect(self.quota("4:cpu:/\n", ["/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"]) == nil)
    }

    @Test func thisProcessHasAtLeastOneProcessor() {
        #expect(Processors.ofThisProcess.count >= 1)
        #expect(NodeConfiguration().loops == min(64, Processors.ofThisProcess.count))
        let line = NodeConfiguration().describe().split(separator: "\n").first { $0.hasPrefix("loops ") }
        #expect(line?.hasSuffix("default, by \(Processors.ofThisProcess.source)") == true)
    }
}

@Suite struct DescriptorSharesTests {
    private func shares(_ descriptors: Int, loops: Int = 2, isMember: Bool = true, redisServers: Int = 0, apiMax: Int? = nil, connectionsMax: Int = 0) throws
        -> DescriptorShares
    {
        var limits = Limits()
        if let apiMax { limits.apiConnectionsMax = apiMax }
        limits.connectionsMax = connectionsMax
        return try DescriptorShares(
            descriptors: descriptors, limits: limits, loops: loops, isMember: isMember, redisServers: redisServers, isAPIMaxGiven: apiMax != nil)
    }

    /// For every limit, the shares together leave descriptors for the files of the log and for ZooKeeper.
    @Test(arguments: [160, 200, 256, 512, 1000, 1024, 4096, 20_000, 65_536, 1_048_576], [true, false])
    func sharesDoNotOverlap(descriptors: Int, isMember: Bool) throws {
        let shares = try self.shares(descriptors, isMember: isMember)
        let taken = shares.subscribers + shares.api + 2 * shares.refusals + shares.links
        #expect(descriptors - taken >= 40 + (isMember ? 16 : 0))
        #expect(shares.subscribers > 0 && shares.api > 0 && shares.refusals > 0)
        #expect(isMember ? shares.links >= 32 : shares.links == 0)
    }

    @Test func loopsHaveTheirOwnDescriptors() throws {
        #expect(try self.shares(1024, loops: 64).subscribers == self.shares(1024, loops: 1).subscribers - 63 * 3)
    }

    /// A connection that is replaced may not be closed yet.
    @Test func everyLoopHasTwoDescriptorsForEachRedisServer() throws {
        #expect(try self.shares(1024, loops: 4, redisServers: 3).subscribers == self.shares(1024, loops: 4).subscribers - 2 * 4 * 3)
    }

    /// A control connection and a data connection, in each direction.
    @Test func aThousandNodesHaveFourConnectionsEach() throws {
        #expect(try self.shares(65_536).links >= 4 * 1000)
        #expect(try LinkLimits(Limits(), descriptors: self.shares(65_536).links).incomingMax >= 2 * 1000)
    }

    @Test func aValueOfAnOperatorIsKeptOrRefused() throws {
        #expect(try self.shares(1024).api == 128)
        #expect(try self.shares(1024, apiMax: 500).api == 500)
        let tooFew = #expect(throws: NodeError.self) { try self.shares(200, apiMax: 1000) }
        #expect(tooFew?.description.contains("Raise the limit") == true && tooFew?.description.contains("api-connections-max") == true)
        #expect(throws: NodeError.self) { try self.shares(100, loops: 64) }
        let tooMany = #expect(throws: NodeError.self) { try self.shares(1024, connectionsMax: 5000) }
        #expect(tooMany?.description.contains("connections-max is 5000") == true)
        #expect(try self.shares(1024, connectionsMax: 50).subscribers == 50)
    }

    @Test func linksStayInTheirShare() {
        let few = LinkLimits(Limits(), descriptors: 32)
        #expect(few.incomingMax == 16 && few.unauthenticatedMax == 8 && few.unauthenticatedPerAddressMax == 4)
        #expect(LinkLimits(Limits(), descriptors: 4064) == LinkLimits(Limits()))
    }
}
