import AdminAPI
import Testing

@testable import Coordination

/// Ids that are taken, clusters that do not fit, and a join whose answers fail.
@Suite struct ClusterMachineDuplicateTests {
    private static let member = "/rt/c/members/n1"

    private func stand() -> ClusterMachineStand {
        var stand = ClusterMachineStand()
        stand.found()
        return stand
    }

    private func registrations(_ stand: ClusterMachineStand) -> Int {
        stand.requests.count { if case .create(Self.member, _, true) = $0 { true } else { false } }
    }

    @Test func anIDThatAnotherLiveNodeHoldsIsWaitedForAndThenRefused() {
        var stand = self.stand()
        stand.addMember("n1", session: 900, link: "elsewhere:1")
        stand.connect()
        stand.advance(.milliseconds(10_999))
        #expect(stand.events.filter { $0 != .waiting } == [.blocked])
        #expect(stand.refusals.isEmpty)
        stand.advance(.milliseconds(1))
        #expect(stand.refusals.count == 1 && stand.refusals[0].contains("another node uses the id n1"))
        #expect(stand.incarnation("n1") > 0 && stand.machine.incarnation == nil)
        #expect(!stand.requests.contains { if case .delete = $0 { true } else { false } })
    }

    /// The servers' tick may make all sessions longer than was asked for, and so the leftover of a dead process.
    @Test func theWaitIsAsLongAsTheSessionsThatTheServersGrant() {
        var stand = self.stand()
        stand.addMember("n1", session: 900, link: "elsewhere:1")
        stand.connect(timeout: .seconds(12))
        stand.advance(.milliseconds(18_999))
        #expect(stand.refusals.isEmpty)
        stand.advance(.milliseconds(1))
        #expect(stand.refusals.count == 1)
    }

    @Test func anIDThatBecomesFreeInTimeIsTaken() {
        var stand = self.stand()
        stand.addMember("n1", session: 900, link: "elsewhere:1")
        stand.connect()
        stand.advance(.seconds(5))
        stand.store.end(900)
        stand.settle()
        #expect(stand.machine.incarnation == stand.incarnation("n1"))
        stand.advance(.seconds(20))
        #expect(stand.refusals.isEmpty)
    }

    @Test func aPredecessorAtTheSameAddressIsDeadAndIsReplaced() {
        var stand = self.stand()
        stand.addMember("n1", session: 900, link: "n1:1")
        let predecessor = stand.incarnation("n1")
        stand.connect()
        stand.settle()
        #expect(stand.requests.contains(.delete(path: Self.member, version: 0)))
        #expect(stand.incarnation("n1") > predecessor && stand.machine.incarnation == stand.incarnation("n1"))
        #expect(stand.events == [.joined])
    }

    @Test func aLeftoverOfAnEarlierSessionOfThisProcessIsReplaced() {
        // Even if this process has moved to another address meanwhile, as its record in ZooKeeper shows.
        var stand = self.stand()
        stand.connect()
        stand.settle()
        let before = stand.incarnation("n1")
        stand.lose(.givenUp)
        #expect(stand.incarnation("n1") == before)
        stand.store.put(Self.member, ClusterMachineStand.record("n1", link: "before:1").json)
        stand.forget()
        stand.connect(session: 101)
        stand.settle()
        #expect(stand.requests.contains(.delete(path: Self.member, version: 1)))
        #expect(stand.incarnation("n1") > before && stand.machine.incarnation == stand.incarnation("n1"))
    }

    // MARK: - Not for this node

    @Test(arguments: [
        (ClusterConfiguration(clusterID: "c", partitionCount: 4, hash: "md5"), "places channels by md5"),
        (ClusterConfiguration(clusterID: "c", partitionCount: 4, activeProtocol: 2), "speaks protocol 2"),
    ])
    func aClusterThatThisVersionDoesNotFitIsRefused(_ configuration: ClusterConfiguration, _ reason: String) {
        var stand = ClusterMachineStand()
        stand.found(configuration)
        stand.connect()
        stand.advance(.seconds(60))
        #expect(stand.refusals.count == 1 && stand.refusals[0].contains(reason))
        #expect(self.registrations(stand) == 0)
    }

    @Test func credentialsThatMayNotWriteAreRefused() {
        var stand = ClusterMachineStand()
        stand.connect()
        stand.answer(.failure(.refused(.notAuthorized, part: nil)))
        #expect(stand.refusals.count == 1 && stand.refusals[0].contains("password"))
        stand.settle()
        #expect(stand.refusals.count == 1 && self.registrations(stand) == 0)
    }

    // MARK: - Answers that fail

    /// A server that refuses all of them would be asked five times as much at every turn otherwise.
    @Test func foundationsThatFailAreAskedForAgainLaterAndOnce() {
        var stand = ClusterMachineStand()
        stand.connect()
        for _ in 0..<5 { stand.answer(.failure(.ambiguous(code: -7))) }
        #expect(stand.open.count <= 5)
        stand.advance(.seconds(1))
        #expect(stand.machine.incarnation != nil)
    }

    /// The connection broke before it was sent, and the session lives on.
    @Test func aConfigurationThatWasNotCreatedIsCreatedAgain() {
        var stand = ClusterMachineStand()
        stand.connect()
        stand.settle { if case .create("/rt/c/config", _, _) = $0 { true } else { false } }
        stand.answer(.failure(.notSent(code: -4)))
        stand.advance(.seconds(120))
        #expect(stand.machine.configuration != nil && stand.machine.incarnation != nil)
    }
}
