import AdminAPI
import Partitioning
import Testing

@testable import Coordination

/// How a node follows the controller, and how a node becomes the controller.
@Suite struct ElectionMachineTests {
    private static let now = ContinuousClock.now
    private static let settings = ClusterSettings(cluster: "c", id: "n1", link: "n1:1", api: "n1:2", version: "1")
    private static let paths = settings.paths
    private var machine = ElectionMachine(settings: Self.settings)
    private var reads = RegistryReads(paths: Self.paths, ownID: "n1", rereadInterval: .seconds(30))

    private func facts(after duration: Duration = .zero, isMember: Bool = true, isConnected: Bool = true) -> ElectionMachine.Facts {
        .init(
            now: Self.now.advanced(by: duration), jitter: 0, sessionID: 100, isConnected: isConnected, ownSessions: [99, 100],
            incarnation: isMember ? 7 : nil, reads: self.reads,
            register: ViewMachine(paths: Self.paths, cluster: "c", memory: ClusterMemory(isKept: false, past: nil)), links: [:])
    }

    private static func stat(_ session: Int64, version: Int32 = 0) -> ZooKeeperStat {
        ZooKeeperStat(czxid: 5, mzxid: 5, version: version, ephemeralOwner: session)
    }

    private static func record(_ id: String, epoch: Int32) -> [UInt8] {
        ControllerRecord.json(ProcessID(id: id, incarnation: 7), epoch: epoch, epochVersion: epoch, link: "\(id):1", api: "\(id):2")
    }

    /// Simulates that the controller's znode was read, with this result.
    private mutating func read(_ result: Result<ZooKeeperReply, ZooKeeperFailure>, after duration: Duration = .zero) {
        self.reads.read(.controller)
        let now = Self.now.advanced(by: duration)
        _ = self.reads.next(at: now)
        _ = self.reads.replied(.controller, result, at: now, jitter: 0)
    }

    private mutating func readAbsence() {
        self.read(.failure(.refused(.noNode, part: nil)))
        _ = self.reads.replied(.controller, .success(.stat(nil)), at: Self.now, jitter: 0)
        _ = self.machine.absent(self.facts())
    }

    private static let readEpoch = ElectionMachine.Effect.perform(.get(path: "/rt/c/controller_epoch", watch: false), for: .readEpoch)

    private mutating func elect() -> [ElectionMachine.Effect] {
        self.readAbsence()
        #expect(self.machine.proceed(self.facts()) == [Self.readEpoch])
        let epoch = Result<ZooKeeperReply, ZooKeeperFailure>.success(.node(data: Array("3".utf8), stat: Self.stat(0, version: 3)))
        #expect(
            self.machine.replied(.readEpoch, epoch, self.facts()) == [
                .perform(
                    .multi([
                        .set(path: "/rt/c/controller_epoch", data: Array("4".utf8), version: 3),
                        .create(path: "/rt/c/controller", data: Self.record("n1", epoch: 4), ephemeral: true),
                    ]), for: .elect(attempt: 4))
            ])
        return self.machine.replied(.elect(attempt: 4), .success(.multi([Self.stat(0, version: 4), nil])), self.facts())
    }

    @Test mutating func aNodeWaitsUntilItHasReadTheZnodeAndIsAMember() {
        #expect(self.machine.proceed(self.facts()) == [])
        self.readAbsence()
        #expect(self.machine.proceed(self.facts(isMember: false)) == [] && self.machine.state == .following)
    }

    @Test mutating func withoutAControllerANodeIsElected() {
        #expect(
            self.elect() == [.elected(epoch: 4, epochVersion: 4), .record(.elected, about: nil, "elected controller, epoch 4")])
        #expect(self.machine.isElected)
    }

    @Test mutating func theNodeWhoseWriteIsFirstWins() {
        self.readAbsence()
        _ = self.machine.proceed(self.facts())
        let epoch = Result<ZooKeeperReply, ZooKeeperFailure>.success(.node(data: Array("3".utf8), stat: Self.stat(0, version: 3)))
        _ = self.machine.replied(.readEpoch, epoch, self.facts())
        let refused = Result<ZooKeeperReply, ZooKeeperFailure>.failure(.refused(.badVersion, part: 0))
        #expect(self.machine.replied(.elect(attempt: 4), refused, self.facts()) == [.readAgain(from: nil)] && self.machine.state == .following)
    }

    @Test mutating func aControllerIsFollowed() {
        self.read(.success(.node(data: [], stat: Self.stat(200))))
        #expect(self.machine.found(Self.record("n2", epoch: 3), Self.stat(200), self.facts()) == [])
        #expect(self.machine.controller?.id == "n2" && self.machine.proceed(self.facts()) == [])
    }

    /// The reply to the election was lost. Without the version of the epoch's znode, this node could write nothing as the controller.
    @Test mutating func anElectionWhoseReplyWasLostIsUndone() {
        self.read(.success(.node(data: [], stat: Self.stat(100, version: 2))))
        #expect(
            self.machine.found(Self.record("n1", epoch: 4), Self.stat(100, version: 2), self.facts()) == [
                .perform(.delete(path: "/rt/c/controller", version: 2), for: .depose)
            ])
    }

    @Test mutating func aZnodeOfAFormerSessionStaysWithoutAConnection() {
        self.read(.success(.node(data: [], stat: Self.stat(99))))
        #expect(self.machine.found(Self.record("n1", epoch: 3), Self.stat(99), self.facts(isConnected: false)) == [])
        #expect(!self.machine.found(Self.record("n1", epoch: 3), Self.stat(99), self.facts()).isEmpty)
    }

    @Test mutating func theZnodeOfAFormerSessionIsRemoved() {
        self.read(.success(.node(data: [], stat: Self.stat(99))))
        #expect(
            self.machine.found(Self.record("n1", epoch: 3), Self.stat(99), self.facts()) == [
                .record(.deposed, about: "n1", "the znode of this node's former session is removed"),
                .perform(
                    .multi([.check(path: "/rt/c/controller_epoch", version: 3), .delete(path: "/rt/c/controller", version: 0)]), for: .depose),
            ])
        // The znode is removed only once.
        #expect(self.machine.found(Self.record("n1", epoch: 3), Self.stat(99), self.facts()) == [])
    }

    @Test mutating func aControllerWhoseZnodeIsGoneStepsDown() {
        _ = self.elect()
        // This read was sent before the election, so its result is ignored.
        self.reads = RegistryReads(paths: Self.paths, ownID: "n1", rereadInterval: .seconds(30))
        self.read(.failure(.refused(.noNode, part: nil)), after: .seconds(-1))
        #expect(self.machine.absent(self.facts()) == [])
        self.reads = RegistryReads(paths: Self.paths, ownID: "n1", rereadInterval: .seconds(30))
        self.read(.failure(.refused(.noNode, part: nil)), after: .seconds(1))
        #expect(self.machine.absent(self.facts()) == [.stepDown("its znode in ZooKeeper was removed")])
    }

    @Test mutating func aDeposedControllerWaitsThreeSecondsBeforeItsNextElection() {
        _ = self.elect()
        self.machine.deposed(at: Self.now)
        self.readAbsence()
        #expect(self.machine.proceed(self.facts()) == [.wake(at: Self.now.advanced(by: .seconds(3)))])
    }

    @Test mutating func aDamagedZnodeIsRemovedAfterThreeSeconds() {
        self.read(.success(.node(data: [], stat: Self.stat(200, version: 1))))
        let effects = self.machine.found([1], Self.stat(200, version: 1), self.facts())
        guard case .alarm? = effects.first, effects.count == 1 else { return recordMissing("no alarm") }
        #expect(self.machine.proceed(self.facts(after: .milliseconds(2999))) == [.wake(at: Self.now.advanced(by: .seconds(3)))])
        #expect(
            self.machine.proceed(self.facts(after: .seconds(3))) == [
                .record(.deposed, about: nil, "/rt/c/controller cannot be read, and is removed"),
                .perform(.delete(path: "/rt/c/controller", version: 1), for: .depose),
            ])
    }
}
