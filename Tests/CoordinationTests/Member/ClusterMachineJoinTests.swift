import AdminAPI
import Partitioning
import Testing

@testable import Coordination

@Suite struct ClusterMachineJoinTests {
    private static let member = "/rt/c/members/n1"

    private static func isRegistration(_ request: ZooKeeperRequest) -> Bool {
        if case .create(Self.member, _, true) = request { true } else { false }
    }

    private func stand(change: (inout ClusterSettings) -> Void = { _ in }) -> ClusterMachineStand {
        var stand = ClusterMachineStand(change: change)
        stand.found()
        return stand
    }

    private func registrations(_ stand: ClusterMachineStand) -> Int { stand.requests.count(where: Self.isRegistration) }

    @Test func theFirstNodeFoundsTheClusterInOrder() throws {
        var stand = ClusterMachineStand(partitionCount: 8)
        #expect(stand.open.isEmpty)
        stand.connect()
        #expect(
            stand.open.map(\.request) == [
                .createShared(path: "/rt"),
                .create(path: "/rt/c", data: [], ephemeral: false),
                .create(path: "/rt/c/nodes", data: [], ephemeral: false),
                .create(path: "/rt/c/members", data: [], ephemeral: false),
                .create(path: "/rt/c/controller_epoch", data: Array("0".utf8), ephemeral: false),
            ])
        // One that has a view is not new.
        #expect(stand.step() == [.get(path: "/rt/c/config", watch: true)] && stand.step() == [.get(path: "/rt/c/view", watch: false)])
        let configuring = stand.step()
        guard case .create("/rt/c/config", let data, false) = configuring.first else { return recordMissing("\(configuring)") }
        #expect(try ClusterConfiguration(json: data).partitionCount == 8)
        #expect(stand.step() == [.get(path: "/rt/c/config", watch: true)])
        stand.settle(until: Self.isRegistration)
        #expect(stand.machine.incarnation == nil)
        stand.settle()
        #expect(stand.machine.incarnation == stand.incarnation("n1"))
        #expect(stand.events == [.joined])
    }

    @Test func rootsThatSomebodyRemovesAreMadeAgain() {
        var stand = self.stand()
        stand.connect()
        stand.settle(until: Self.isRegistration)
        stand.store.remove("/rt/c/members")
        stand.advance(.seconds(5))
        #expect(stand.machine.incarnation == stand.incarnation("n1") && stand.incarnation("n1") > 0)
    }

    @Test func credentialsThatMayNotRegisterEndIt() {
        var stand = self.stand()
        stand.connect()
        stand.settle(until: Self.isRegistration)
        stand.answer(.failure(.refused(.notAuthorized, part: nil)))
        #expect(stand.refusals.first?.contains("zookeeper-user") == true)
    }

    @Test func aLostConfigurationIsWrittenAgainAsItWas() throws {
        var stand = ClusterMachineStand.follower()
        let known = try #require(stand.machine.configuration)
        stand.store.remove("/rt/c/config")
        stand.advance(.seconds(35))
        let data = try #require(stand.store.tree["/rt/c/config"]).data
        #expect(try ClusterConfiguration(json: data) == known)
        #expect(stand.machine.alarm?.contains("lost the cluster's configuration") == true)
    }

    /// Channels would be looked for where they are not.
    @Test func aConfigurationOfAnotherClusterIsNotTakenOver() throws {
        var stand = ClusterMachineStand.follower()
        stand.store.put("/rt/c/config", ClusterConfiguration(clusterID: "c-2", partitionCount: 8).json)
        stand.settle()
        #expect(stand.machine.configuration?.partitionCount == 4 && stand.machine.alarm?.contains("8 partitions") == true)
    }

    /// It is damage, and the controller's to repair.
    @Test func aConfigurationOfAnotherClusterInTheSameZnodeIsWrittenOver() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        let known = try #require(stand.machine.configuration)
        stand.store.put("/rt/c/config", ClusterConfiguration(clusterID: "c-2", partitionCount: 9).json)
        stand.settle()
        #expect(try ClusterConfiguration(json: try #require(stand.store.tree["/rt/c/config"]).data) == known)
        #expect(stand.refusals.isEmpty && stand.machine.alarm?.contains("c-2 with 9 partitions") == true)
    }

    /// Other nodes have made a cluster of their own in the place of this one: this node would be granted partitions that it never takes.
    @Test(arguments: [4, 9]) func anotherClusterInThePlaceOfThisOneEndsIt(_ partitionCount: Int) {
        var stand = ClusterMachineStand.follower()
        stand.publish(stand.view(5, ["n1", "n2", "n2", "n2"], ownerEpochs: [2, 1, 1, 1]))
        stand.forget()
        for path in stand.store.tree.keys.sorted(by: >) where path.hasPrefix("/rt/c") { stand.store.remove(path) }
        stand.found(ClusterConfiguration(clusterID: "c-2", partitionCount: partitionCount))
        stand.advance(.seconds(5))
        #expect(stand.refusals.count == 1 && stand.refusals.first?.contains("another cluster at /rt/c") == true)
        #expect(stand.releases == [.init(partition: 0, ownerEpoch: 2)] && stand.machine.incarnation == nil)
    }

    @Test func anotherClusterThatWasMadeWhileZooKeeperWasAwayEndsIt() {
        var stand = ClusterMachineStand.follower()
        stand.lose()
        for path in stand.store.tree.keys.sorted(by: >) where path.hasPrefix("/rt/c") { stand.store.remove(path) }
        stand.found(ClusterConfiguration(clusterID: "c-2", partitionCount: 4))
        stand.connect(session: 101)
        stand.advance(.seconds(5))
        #expect(stand.refusals.first?.contains("c-2 with 4 partitions by xxh64-v1, and not c-1 with 4") == true)
    }

    /// A node that starts does not make a second cluster of one that has a view.
    @Test func aLostConfigurationIsWaitedForAndThenMadeFromTheView() throws {
        var stand = ClusterMachineStand(partitionCount: 99)
        stand.found()
        stand.store.remove("/rt/c/config")
        stand.write(stand.view(7, ["n2", "n2", "n2"]) { for index in $0.nodes.indices { $0.nodes[index].incarnation = nil } })
        stand.connect()
        stand.advance(.seconds(3))
        #expect(stand.store.tree["/rt/c/config"] == nil && stand.machine.alarm?.contains("lost /rt/c/config") == true)
        stand.advance(.seconds(3))
        #expect(try ClusterConfiguration(json: try #require(stand.store.tree["/rt/c/config"]).data).partitionCount == 3)
        #expect(stand.machine.incarnation != nil)
    }

    @Test func aConfigurationThatCannotBeReadIsWaitedForWithAnAlarm() {
        var stand = ClusterMachineStand()
        stand.found()
        stand.store.put("/rt/c/config", Array("{".utf8))
        stand.connect()
        stand.advance(.seconds(5))
        #expect(stand.machine.incarnation == nil && stand.refusals.isEmpty && stand.machine.alarm?.contains("delete it") == true)
        stand.store.put("/rt/c/config", ClusterConfiguration(clusterID: "c-1", partitionCount: 4).json)
        stand.settle()
        #expect(stand.machine.incarnation != nil)
    }

    @Test func theMemberNodeSaysWhoThisIs() throws {
        var stand = self.stand {
            $0.zone = "z"
            $0.weight = 2.5
            $0.startedAt = 77
        }
        stand.connect()
        stand.settle()
        let node = try #require(stand.store.tree[Self.member])
        let record = try MemberRecord(json: node.data)
        #expect(node.stat.ephemeralOwner == 100)
        #expect(record.link == "n1:1" && record.api == "n1:2" && record.zone == "z" && record.weight == 2.5 && record.version == "1")
        #expect(record.protocols == 1...1 && record.nonce == "abc" && record.startedAt == 77)
        #expect(stand.machine.incarnation == node.stat.czxid)
    }

    @Test func aLaterNodeTakesTheConfigurationThatIsThere() {
        var stand = ClusterMachineStand(partitionCount: 99)
        stand.found(ClusterConfiguration(clusterID: "theirs", partitionCount: 16))
        stand.connect()
        stand.settle()
        #expect(stand.machine.configuration == ClusterConfiguration(clusterID: "theirs", partitionCount: 16))
        #expect(stand.machine.incarnation != nil)
    }

    @Test func afterJoiningEverythingIsReadUnderWatches() {
        var stand = self.stand()
        stand.connect()
        stand.settle(until: Self.isRegistration)
        stand.forget()
        stand.answer()
        #expect(
            Set(stand.requests) == [
                .get(path: "/rt/c/config", watch: true), .get(path: "/rt/c/controller", watch: true), .get(path: "/rt/c/view", watch: true),
                .exists(path: Self.member, watch: true),
            ])
    }

    @Test func aRegistrationWhoseAnswerWasLostIsRecognised() {
        var stand = self.stand()
        stand.connect()
        stand.settle(until: Self.isRegistration)
        stand.answerIsLost()
        #expect(stand.open.map(\.request) == [.get(path: Self.member, watch: false)])
        stand.settle()
        #expect(stand.machine.incarnation == stand.incarnation("n1"))
        #expect(self.registrations(stand) == 1)
    }

    @Test func aRegistrationThatWasLostItselfIsMadeAgain() {
        var stand = self.stand()
        stand.connect()
        stand.settle(until: Self.isRegistration)
        stand.answer(.failure(.ambiguous(code: -4)))
        stand.settle()
        #expect(stand.machine.incarnation == nil && self.registrations(stand) == 1)
        stand.advance(.milliseconds(150))
        #expect(stand.machine.incarnation == stand.incarnation("n1") && self.registrations(stand) == 2)
    }
}
