import AdminAPI
import Partitioning
import Testing

@testable import Coordination

@Suite struct ClusterMachineJoinTests {
    private static let member = "/rt/c/members/n1"

    private static func isRegistration(_ request: ZooKeeperRequest) -> Bool {
        if case .create(Self.member, _, true) = request { true } else { false }
    }

    private func bench(change: (inout ClusterSettings) -> Void = { _ in }) -> ClusterMachineBench {
        var bench = ClusterMachineBench(change: change)
        bench.found()
        return bench
    }

    private func registrations(_ bench: ClusterMachineBench) -> Int { bench.requests.count(where: Self.isRegistration) }

    @Test func theFirstNodeFoundsTheClusterInOrder() throws {
        var bench = ClusterMachineBench(partitionCount: 8)
        #expect(bench.open.isEmpty)
        bench.connect()
        #expect(
            bench.open.map(\.request) == [
                .createShared(path: "/rt"),
                .create(path: "/rt/c", data: [], ephemeral: false),
                .create(path: "/rt/c/nodes", data: [], ephemeral: false),
                .create(path: "/rt/c/members", data: [], ephemeral: false),
                .create(path: "/rt/c/controller_epoch", data: Array("0".utf8), ephemeral: false),
            ])
        // The node reads the view, because a cluster that has a view is not new.
        #expect(bench.step() == [.get(path: "/rt/c/config", watch: true)] && bench.step() == [.get(path: "/rt/c/view", watch: false)])
        let configuring = bench.step()
        guard case .create("/rt/c/config", let data, false) = configuring.first else { return recordMissing("\(configuring)") }
        #expect(try ClusterConfiguration(json: data).partitionCount == 8)
        #expect(bench.step() == [.get(path: "/rt/c/config", watch: true)])
        bench.settle(until: Self.isRegistration)
        #expect(bench.machine.incarnation == nil)
        bench.settle()
        #expect(bench.machine.incarnation == bench.incarnation("n1"))
        #expect(bench.events == [.joined])
    }

    @Test func parentZnodesThatWereRemovedAreCreatedAgain() {
        var bench = self.bench()
        bench.connect()
        bench.settle(until: Self.isRegistration)
        bench.store.remove("/rt/c/members")
        bench.advance(.seconds(5))
        #expect(bench.machine.incarnation == bench.incarnation("n1") && bench.incarnation("n1") > 0)
    }

    @Test func aNodeWhoseCredentialsMayNotRegisterRefusesToStart() {
        var bench = self.bench()
        bench.connect()
        bench.settle(until: Self.isRegistration)
        bench.reply(.failure(.refused(.notAuthorized, part: nil)))
        #expect(bench.refusals.first?.contains("zookeeper-user") == true)
    }

    @Test func aLostConfigurationIsWrittenAgainUnchanged() throws {
        var bench = ClusterMachineBench.follower()
        let known = try #require(bench.machine.configuration)
        bench.store.remove("/rt/c/config")
        bench.advance(.seconds(35))
        let data = try #require(bench.store.tree["/rt/c/config"]).data
        #expect(try ClusterConfiguration(json: data) == known)
        #expect(bench.machine.alarm?.contains("lost the cluster's configuration") == true)
    }

    /// With another number of partitions, this node would look for channels in the wrong partitions.
    @Test func aConfigurationOfAnotherClusterIsNotUsed() throws {
        var bench = ClusterMachineBench.follower()
        bench.store.put("/rt/c/config", ClusterConfiguration(clusterID: "c-2", partitionCount: 8).json)
        bench.settle()
        #expect(bench.machine.configuration?.partitionCount == 4 && bench.machine.alarm?.contains("8 partitions") == true)
    }

    /// Other content in the same znode is damage, which the controller repairs.
    @Test func aConfigurationOfAnotherClusterInTheSameZnodeIsOverwritten() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        let known = try #require(bench.machine.configuration)
        bench.store.put("/rt/c/config", ClusterConfiguration(clusterID: "c-2", partitionCount: 9).json)
        bench.settle()
        #expect(try ClusterConfiguration(json: try #require(bench.store.tree["/rt/c/config"]).data) == known)
        #expect(bench.refusals.isEmpty && bench.machine.alarm?.contains("c-2 (9 partitions") == true)
    }

    /// Other nodes have founded another cluster in the same place. If this node stayed, it would be granted partitions that it never takes.
    @Test(arguments: [4, 9]) func aNodeStopsIfAnotherClusterReplacesItsCluster(_ partitionCount: Int) {
        var bench = ClusterMachineBench.follower()
        bench.publish(bench.view(5, ["n1", "n2", "n2", "n2"], ownerEpochs: [2, 1, 1, 1]))
        bench.forget()
        for path in bench.store.tree.keys.sorted(by: >) where path.hasPrefix("/rt/c") { bench.store.remove(path) }
        bench.found(ClusterConfiguration(clusterID: "c-2", partitionCount: partitionCount))
        bench.advance(.seconds(5))
        #expect(bench.refusals.count == 1 && bench.refusals.first?.contains("another cluster at /rt/c") == true)
        #expect(bench.releases == [.init(partition: 0, ownerEpoch: 2)] && bench.machine.incarnation == nil)
    }

    @Test func aNodeStopsIfAnotherClusterWasFoundedWhileItHadNoSession() {
        var bench = ClusterMachineBench.follower()
        bench.lose()
        for path in bench.store.tree.keys.sorted(by: >) where path.hasPrefix("/rt/c") { bench.store.remove(path) }
        bench.found(ClusterConfiguration(clusterID: "c-2", partitionCount: 4))
        bench.connect(session: 101)
        bench.advance(.seconds(5))
        #expect(bench.refusals.first?.contains("c-2 (4 partitions, hash xxh64-v1). This node belongs to c-1 (4 partitions") == true)
    }

    /// A node that starts does not found a new cluster where a view exists.
    @Test func aNewNodeWaitsForALostConfigurationAndThenCreatesItFromTheView() throws {
        var bench = ClusterMachineBench(partitionCount: 99)
        bench.found()
        bench.store.remove("/rt/c/config")
        bench.write(bench.view(7, ["n2", "n2", "n2"]) { for index in $0.nodes.indices { $0.nodes[index].incarnation = nil } })
        bench.connect()
        bench.advance(.seconds(3))
        #expect(bench.store.tree["/rt/c/config"] == nil && bench.machine.alarm?.contains("lost /rt/c/config") == true)
        bench.advance(.seconds(3))
        #expect(try ClusterConfiguration(json: try #require(bench.store.tree["/rt/c/config"]).data).partitionCount == 3)
        #expect(bench.machine.incarnation != nil)
    }

    @Test func aNodeWaitsWithAnAlarmWhileTheConfigurationCannotBeRead() {
        var bench = ClusterMachineBench()
        bench.found()
        bench.store.put("/rt/c/config", Array("{".utf8))
        bench.connect()
        bench.advance(.seconds(5))
        #expect(bench.machine.incarnation == nil && bench.refusals.isEmpty && bench.machine.alarm?.contains("delete the znode") == true)
        bench.store.put("/rt/c/config", ClusterConfiguration(clusterID: "c-1", partitionCount: 4).json)
        bench.settle()
        #expect(bench.machine.incarnation != nil)
    }

    @Test func theMemberZnodeDescribesTheNode() throws {
        var bench = self.bench {
            $0.zone = "z"
            $0.weight = 2.5
            $0.startedAt = 77
        }
        bench.connect()
        bench.settle()
        let node = try #require(bench.store.tree[Self.member])
        let record = try MemberRecord(json: node.data)
        #expect(node.stat.ephemeralOwner == 100)
        #expect(record.link == "n1:1" && record.api == "n1:2" && record.zone == "z" && record.weight == 2.5 && record.version == "1")
        #expect(record.protocols == 1...1 && record.nonce == "abc" && record.startedAt == 77)
        #expect(bench.machine.incarnation == node.stat.czxid)
    }

    @Test func aLaterNodeUsesTheExistingConfiguration() {
        var bench = ClusterMachineBench(partitionCount: 99)
        bench.found(ClusterConfiguration(clusterID: "theirs", partitionCount: 16))
        bench.connect()
        bench.settle()
        #expect(bench.machine.configuration == ClusterConfiguration(clusterID: "theirs", partitionCount: 16))
        #expect(bench.machine.incarnation != nil)
    }

    @Test func afterJoiningAllZnodesAreReadWithWatches() {
        var bench = self.bench()
        bench.connect()
        bench.settle(until: Self.isRegistration)
        bench.forget()
        bench.reply()
        #expect(
            Set(bench.requests) == [
                .get(path: "/rt/c/config", watch: true), .get(path: "/rt/c/controller", watch: true), .get(path: "/rt/c/view", watch: true),
                .exists(path: Self.member, watch: true),
            ])
    }

    @Test func aRegistrationWhoseReplyWasLostIsRecognized() {
        var bench = self.bench()
        bench.connect()
        bench.settle(until: Self.isRegistration)
        bench.loseReply()
        #expect(bench.open.map(\.request) == [.get(path: Self.member, watch: false)])
        bench.settle()
        #expect(bench.machine.incarnation == bench.incarnation("n1"))
        #expect(self.registrations(bench) == 1)
    }

    @Test func aRegistrationThatWasNotExecutedIsRepeated() {
        var bench = self.bench()
        bench.connect()
        bench.settle(until: Self.isRegistration)
        bench.reply(.failure(.ambiguous(code: -4)))
        bench.settle()
        #expect(bench.machine.incarnation == nil && self.registrations(bench) == 1)
        bench.advance(.milliseconds(150))
        #expect(bench.machine.incarnation == bench.incarnation("n1") && self.registrations(bench) == 2)
    }
}
