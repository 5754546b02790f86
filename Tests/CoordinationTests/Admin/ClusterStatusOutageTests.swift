import AdminAPI
import JSON
import Partitioning
import Testing

@testable import Coordination

/// While ZooKeeper is away, every response contains the same judgement. Its first sentence says whether publishers and subscribers are affected.
@Suite struct ClusterStatusOutageTests {
    private struct Status {
        var health: String
        var reasons: [String]
        var coordination: String
        var served: Int
        var isAuthoritative: Bool

        init(_ answer: AdminResponse) throws {
            var object = try JSONValue(Array(answer.json.utf8), named: "status", bytesMax: 1_000_000).object()
            self.health = try object.string("health", bytesMax: 20)
            self.reasons = []
            for reason in try object.required("reasons").array(countMax: 100) { self.reasons.append(try reason.string(bytesMax: 5000)) }
            var coordination = try object.required("coordination").object()
            self.coordination = try coordination.string("health", bytesMax: 20)
            var partitions = try object.required("partitions").object()
            self.served = Int(try partitions.integer("served", in: 0...1000))
            self.isAuthoritative = try object.required("authoritative").text == "true"
        }
    }

    private static let unaffected = "Subscribers are not affected, and with the log on Redis publishers are not affected either;"

    private func status(_ bench: inout ClusterMachineBench, number: UInt64) throws -> Status {
        if let answer = bench.request(AdminRequest(.status), number: number) { return try Status(answer) }
        bench.advance(.seconds(2))
        return try Status(try #require(bench.response(to: number)))
    }

    /// A follower that owns two partitions.
    private func owner() -> ClusterMachineBench {
        var bench = ClusterMachineBench.follower()
        bench.publish(bench.view(2, ["n1", "n1", "n2", "n2"], ownerEpochs: [2, 2, 1, 1]))
        bench.forget()
        return bench
    }

    @Test func theStatusIsTheSameBeforeAndAfterTheControllersSessionIsGivenUp() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.suspend()
        let suspended = try self.status(&bench, number: 1)
        bench.lose(.givenUp)
        let lost = try self.status(&bench, number: 2)
        #expect(suspended.isAuthoritative && !lost.isAuthoritative)
        for status in [suspended, lost] {
            #expect(status.health == "degraded" && status.coordination == "degraded")
            #expect(status.reasons.count { $0.contains("has no connection to ZooKeeper") } == 1, "\(status.reasons)")
            #expect(status.reasons[0].hasPrefix(Self.unaffected) && status.reasons[0].contains("no join, drain or other change is possible"))
            #expect(!status.reasons.contains { $0.contains("no link") || $0.contains("nothing is reassigned") }, "\(status.reasons)")
        }
    }

    @Test func aFollowersStatusHasTheSameReasonAsTheControllers() throws {
        var bench = self.owner()
        bench.suspend()
        bench.lose(.givenUp)
        #expect(bench.request(AdminRequest(.status)) == nil, "the controller may be healthy, so the request is forwarded to it")
        guard case .request(let number, _)? = bench.sent(to: "n2").last else { return recordMissing("no request was forwarded") }
        bench.receive(.response(number: number, .failed(.noZooKeeper, "n2 has no connection to ZooKeeper")))
        let status = try Status(try #require(bench.response(to: 1)))
        #expect(status.health == "degraded" && status.reasons.count == 1, "\(status.reasons)")
        #expect(status.reasons[0].hasPrefix(Self.unaffected) && status.reasons[0].hasSuffix("This response contains only what n1 itself knows."))
        #expect(!status.reasons[0].contains("no link"), "the link is up")
    }

    @Test func aChangeIsRefusedImmediatelyWithTheSameReason() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.suspend()
        for number in UInt64(1)...2 {
            let answered = bench.request(AdminRequest(.drain, node: "n2"), number: number)
            let answer = try #require(answered)
            let text = try #require(bench.machine.outage?.text)
            #expect(answer.isUnavailable && answer.json.contains("nothing was changed. \(text)"), "\(answer.json)")
            if number == 1 { bench.lose(.givenUp) }
        }
        // A request that another node forwards is refused in the same words.
        bench.receive(.request(number: 4, AdminRequest(.drain, node: "n2")))
        guard case .response(4, let answer)? = bench.sent(to: "n2").last else { return recordMissing("no response") }
        #expect(answer.json.contains(Self.unaffected) && !answer.json.contains("not the controller any more"), "\(answer.json)")
    }

    @Test func theResponseToAChangeThatWaitedContainsTheReason() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.handle(.request(number: 1, AdminRequest(.drain, node: "n2")))
        bench.suspend()
        bench.lose(.givenUp)
        let answer = try #require(bench.response(to: 1))
        #expect(answer.code == .timeout && answer.json.contains("check before you retry") && answer.json.contains(Self.unaffected), "\(answer.json)")
    }

    /// The process was paused for longer than its session timeout, and has received nothing since it continued.
    @Test func aNodeThatWasPausedDoesNotClaimItsFormerPartitions() throws {
        var bench = self.owner()
        bench.wait(.seconds(60))
        bench.suspend()
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        let outage = try #require(bench.machine.outage)
        #expect(outage.held == 2 && outage.text.contains("other nodes may own them already") && !outage.text.contains("reassigned"))
        let status = try self.status(&bench, number: 1)
        #expect(status.served == 0, "the node cannot know which partitions it still owns")
    }

    @Test func membersWithoutAConnectionAreOneReason() throws {
        var bench = ClusterMachineBench.controller(of: 3)
        for id in ["n2", "n3"] {
            var report = bench.report(of: id)
            report.session = "suspended"
            bench.receive(.report(report), from: id)
        }
        let status = try self.status(&bench, number: 1)
        #expect(status.health == "degraded" && status.coordination == "healthy" && status.reasons.count == 1, "\(status.reasons)")
        #expect(status.reasons[0].hasPrefix(Self.unaffected) && status.reasons[0].contains("n2, n3 have no connection to ZooKeeper"))
        bench.suspend()
        let both = try self.status(&bench, number: 2)
        #expect(both.reasons.count == 2 && both.reasons[1] == "n2, n3 have no connection to ZooKeeper either.", "\(both.reasons)")
    }

    @Test func theStatusSaysWhyTheControllerDidNotRespond() throws {
        var bench = self.owner()
        #expect(bench.request(AdminRequest(.status)) == nil)
        bench.advance(.seconds(2))
        let silent = try Status(try #require(bench.response(to: 1)))
        #expect(silent.reasons.contains { $0.hasPrefix(Self.unaffected) && $0.contains("The controller n2 has not responded to n1.") }, "\(silent.reasons)")
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        let cut = try self.status(&bench, number: 2)
        #expect(cut.coordination == "degraded" && cut.reasons.contains { $0.contains("n1 has no link to the controller n2 at n2:1.") }, "\(cut.reasons)")
    }

    @Test func withZooKeeperButWithoutAControllerHealthIsCritical() throws {
        var bench = self.owner()
        bench.store.end(200)
        bench.settle()
        let status = try self.status(&bench, number: 1)
        #expect(status.health == "critical" && status.reasons[0].hasPrefix(Self.unaffected) && status.reasons[0].contains("There is no controller"))
    }

    @Test func theWorstReasonIsTheFirst() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.vanish("n2")
        var report = bench.report(of: "n2")
        report.incarnation = 0
        _ = bench.request(AdminRequest(.cordon, node: "n1"), number: 1)
        let status = try self.status(&bench, number: 2)
        #expect(status.health == "critical" && status.reasons.count == 2 && status.reasons[0].hasPrefix("No node is active"), "\(status.reasons)")
    }

    @Test func anUnreachableNodeIsOneReason() throws {
        var bench = ClusterMachineBench.controller(of: 3)
        let lost = bench.process("n3")
        bench.handle(.linkDown(lost, isRefused: false))
        bench.advance(.milliseconds(3900))
        var report = bench.report(of: "n2")
        report.unreachable = [lost]
        bench.receive(.report(report), from: "n2")
        bench.receive(.report(bench.report(of: "n3")), from: "n3")
        let status = try self.status(&bench, number: 1)
        #expect(status.reasons == ["n3 cannot be reached at n3:1 by n2. Look at n3, and at the network to it."], "\(status.reasons)")
    }
}
