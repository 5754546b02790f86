import Testing

@testable import Coordination

/// What a node does with the content of `/config`.
@Suite struct ConfigurationMachineTests {
    private static let now = ContinuousClock.now
    private static let settings = ClusterSettings(cluster: "c", id: "n1", link: "n1:1", api: "n1:2", version: "1")
    private static let known = ClusterConfiguration(clusterID: "c-1", partitionCount: 4)
    private static let noNode = Result<ZooKeeperReply, ZooKeeperFailure>.failure(.refused(.noNode, part: nil))
    private static let inspect = ConfigurationMachine.Effect.perform(.get(path: "/rt/c/view", watch: false), for: .inspectView)

    private func machine(_ remembered: ClusterConfiguration? = nil) -> ConfigurationMachine {
        ConfigurationMachine(settings: Self.settings, nonce: 0xAB, remembered: remembered)
    }

    private static func stat(_ czxid: Int64 = 5, version: Int32 = 0) -> ZooKeeperStat {
        ZooKeeperStat(czxid: czxid, mzxid: czxid, version: version, ephemeralOwner: 0)
    }

    private static func create(_ configuration: ClusterConfiguration) -> ConfigurationMachine.Effect {
        .perform(.create(path: "/rt/c/config", data: configuration.json, ephemeral: false), for: .create)
    }

    @Test func aNodeUsesTheConfigurationThatItFinds() {
        var machine = self.machine()
        #expect(machine.found(Self.known.json, Self.stat(version: 3), wasMember: false) == [])
        #expect(machine.configuration == Self.known && machine.version == 3 && machine.damaged == nil)
    }

    @Test func withoutAConfigurationAndAViewTheFirstNodeFoundsTheCluster() {
        var machine = self.machine()
        #expect(machine.absent(wasMember: false, at: Self.now) == [Self.inspect])
        // The view is read only once.
        #expect(machine.absent(wasMember: false, at: Self.now) == [])
        let new = ClusterConfiguration(clusterID: "c-ab", partitionCount: Self.settings.partitionCount)
        #expect(machine.replied(.inspectView, Self.noNode, isAwaited: true, at: Self.now) == [Self.create(new)])
        #expect(machine.replied(.create, .success(.done), isAwaited: true, at: Self.now) == [.read(from: nil)] && machine.hasFounded)
    }

    @Test func aNodeThatKnowsALostConfigurationWritesItAgain() {
        var machine = self.machine()
        _ = machine.found(Self.known.json, Self.stat(), wasMember: true)
        #expect(
            machine.absent(wasMember: true, at: Self.now) == [
                .alarm("ZooKeeper lost the cluster's configuration: this node writes it again"), .makeFoundations, Self.create(Self.known),
            ])
    }

    /// A node that was never a member waits for a former member to write the configuration. Then it takes the number of partitions from the view.
    @Test func aClusterWithAViewIsNotFoundedAgain() throws {
        var machine = self.machine()
        _ = machine.absent(wasMember: false, at: Self.now)
        let view = ClusterView(version: 1, controllerEpoch: 1, writer: "", partitions: Array(repeating: .init(), count: 8))
        let found = Result<ZooKeeperReply, ZooKeeperFailure>.success(.node(data: try view.json(), stat: Self.stat()))
        let effects = machine.replied(.inspectView, found, isAwaited: true, at: Self.now)
        #expect(effects.last == .read(from: Self.now.advanced(by: .seconds(1))) && effects.count == 2)
        _ = machine.absent(wasMember: false, at: Self.now.advanced(by: .seconds(5)))
        let later = machine.replied(.inspectView, found, isAwaited: true, at: Self.now.advanced(by: .seconds(5)))
        #expect(later == [Self.create(ClusterConfiguration(clusterID: "c-ab", partitionCount: 8))])
    }

    @Test func anotherClusterIsRefusedAndADamagedConfigurationIsOverwritten() {
        let other = ClusterConfiguration(clusterID: "other", partitionCount: 4)
        var machine = self.machine(Self.known)
        guard case .refuse? = machine.found(other.json, Self.stat(), wasMember: true).first else { return recordMissing("the node does not refuse") }
        machine = self.machine()
        _ = machine.found(Self.known.json, Self.stat(5), wasMember: true)
        guard case .alarm? = machine.found(other.json, Self.stat(5, version: 9), wasMember: true).first else { return recordMissing("no alarm") }
        #expect(machine.damaged?.version == 9 && machine.damaged?.configuration == Self.known)
    }

    @Test func anOlderRevisionIsOverwritten() {
        var newer = Self.known
        newer.revision = 2
        var machine = self.machine()
        _ = machine.found(newer.json, Self.stat(), wasMember: true)
        guard case .alarm? = machine.found(Self.known.json, Self.stat(version: 1), wasMember: true).first else { return recordMissing("no alarm") }
        #expect(machine.configuration == newer && machine.damaged?.version == 1)
    }

    @Test func aNewerProtocolIsRefusedOnlyByANodeThatStarts() {
        let newer = ClusterConfiguration(clusterID: "c-1", partitionCount: 4, activeProtocol: 2)
        #expect(
            self.machine().incompatibility(of: newer, wasMember: false) == "the cluster uses protocol 2, and this version supports 1 to 1: upgrade this node")
        #expect(self.machine().incompatibility(of: newer, wasMember: true) == nil)
    }
}
