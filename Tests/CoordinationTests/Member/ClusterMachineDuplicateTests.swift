import AdminAPI
import Testing

@testable import Coordination

/// Ids that are in use, incompatible clusters, and joins whose requests fail.
@Suite struct ClusterMachineDuplicateTests {
    private static let member = "/rt/c/members/n1"

    private func bench() -> ClusterMachineBench {
        var bench = ClusterMachineBench()
        bench.found()
        return bench
    }

    private func registrations(_ bench: ClusterMachineBench) -> Int {
        bench.requests.count { if case .create(Self.member, _, true) = $0 { true } else { false } }
    }

    @Test func aNodeWaitsForAnIDInUseAndThenRefusesToStart() {
        var bench = self.bench()
        bench.addMember("n1", session: 900, link: "elsewhere:1")
        bench.connect()
        bench.advance(.milliseconds(10_999))
        #expect(bench.events.filter { $0 != .waiting } == [.blocked])
        #expect(bench.refusals.isEmpty)
        bench.advance(.milliseconds(1))
        #expect(bench.refusals.count == 1 && bench.refusals[0].contains("another node uses the id n1"))
        #expect(bench.incarnation("n1") > 0 && bench.machine.incarnation == nil)
        #expect(!bench.requests.contains { if case .delete = $0 { true } else { false } })
    }

    /// The servers may grant longer session timeouts than requested. Then the session of a dead process also lasts longer.
    @Test func theWaitForAnIDInUseDependsOnTheGrantedSessionTimeout() {
        var bench = self.bench()
        bench.addMember("n1", session: 900, link: "elsewhere:1")
        bench.connect(timeout: .seconds(12))
        bench.advance(.milliseconds(18_999))
        #expect(bench.refusals.isEmpty)
        bench.advance(.milliseconds(1))
        #expect(bench.refusals.count == 1)
    }

    @Test func anIDThatBecomesFreeInTimeIsUsed() {
        var bench = self.bench()
        bench.addMember("n1", session: 900, link: "elsewhere:1")
        bench.connect()
        bench.advance(.seconds(5))
        bench.store.end(900)
        bench.settle()
        #expect(bench.machine.incarnation == bench.incarnation("n1"))
        bench.advance(.seconds(20))
        #expect(bench.refusals.isEmpty)
    }

    @Test func aPredecessorWithTheSameAddressCountsAsDeadAndIsReplaced() {
        var bench = self.bench()
        bench.addMember("n1", session: 900, link: "n1:1")
        let predecessor = bench.incarnation("n1")
        bench.connect()
        bench.settle()
        #expect(bench.requests.contains(.delete(path: Self.member, version: 0)))
        #expect(bench.incarnation("n1") > predecessor && bench.machine.incarnation == bench.incarnation("n1"))
        #expect(bench.events == [.joined])
    }

    @Test func aMemberZnodeOfAnEarlierSessionOfThisProcessIsReplaced() {
        // The znode is replaced even if it contains another address of this process.
        var bench = self.bench()
        bench.connect()
        bench.settle()
        let before = bench.incarnation("n1")
        bench.lose(.givenUp)
        #expect(bench.incarnation("n1") == before)
        bench.store.put(Self.member, ClusterMachineBench.record("n1", link: "before:1").json)
        bench.forget()
        bench.connect(session: 101)
        bench.settle()
        #expect(bench.requests.contains(.delete(path: Self.member, version: 1)))
        #expect(bench.incarnation("n1") > before && bench.machine.incarnation == bench.incarnation("n1"))
    }

    // MARK: - Incompatible clusters and credentials

    @Test(arguments: [
        (ClusterConfiguration(clusterID: "c", partitionCount: 4, hash: "md5"), "assigns channels to partitions by md5"),
        (ClusterConfiguration(clusterID: "c", partitionCount: 4, activeProtocol: 2), "uses protocol 2"),
    ])
    func aClusterThatThisVersionDoesNotSupportIsRefused(_ configuration: ClusterConfiguration, _ reason: String) {
        var bench = ClusterMachineBench()
        bench.found(configuration)
        bench.connect()
        bench.advance(.seconds(60))
        #expect(bench.refusals.count == 1 && bench.refusals[0].contains(reason))
        #expect(self.registrations(bench) == 0)
    }

    @Test func credentialsThatMayNotWriteAreRefused() {
        var bench = ClusterMachineBench()
        bench.connect()
        bench.reply(.failure(.refused(.notAuthorized, part: nil)))
        #expect(bench.refusals.count == 1 && bench.refusals[0].contains("password"))
        bench.settle()
        #expect(bench.refusals.count == 1 && self.registrations(bench) == 0)
    }

    // MARK: - Requests that fail

    /// The five requests are repeated together. Otherwise each failure would cause five new requests.
    @Test func failedRequestsForParentZnodesAreRepeatedOnceAndLater() {
        var bench = ClusterMachineBench()
        bench.connect()
        for _ in 0..<5 { bench.reply(.failure(.ambiguous(code: -7))) }
        #expect(bench.open.count <= 5)
        bench.advance(.seconds(1))
        #expect(bench.machine.incarnation != nil)
    }

    /// The connection broke before the request was sent, and the session continues.
    @Test func aConfigurationThatWasNotCreatedIsCreatedAgain() {
        var bench = ClusterMachineBench()
        bench.connect()
        bench.settle { if case .create("/rt/c/config", _, _) = $0 { true } else { false } }
        bench.reply(.failure(.notSent(code: -4)))
        bench.advance(.seconds(120))
        #expect(bench.machine.configuration != nil && bench.machine.incarnation != nil)
    }
}
