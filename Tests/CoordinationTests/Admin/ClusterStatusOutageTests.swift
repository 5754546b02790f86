import AdminAPI
import JSON
import Partitioning
import Testing

@testable import Coordination

/// ZooKeeper is away: one judgement, the same in every answer, and its first sentence says whether publishers and subscribers are affected.
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

    private static let unaffected = "Publishers and subscribers are not affected:"

    private func status(_ stand: inout ClusterMachineStand, number: UInt64) throws -> Status {
        if let answer = stand.ask(AdminRequest(.status), number: number) { return try Status(answer) }
        stand.advance(.seconds(2))
        return try Status(try #require(stand.answer(to: number)))
    }

    /// A follower that owns two partitions.
    private func owner() -> ClusterMachineStand {
        var stand = ClusterMachineStand.follower()
        stand.publish(stand.view(2, ["n1", "n1", "n2", "n2"], ownerEpochs: [2, 2, 1, 1]))
        stand.forget()
        return stand
    }

    @Test func theControllerJudgesTheSameBeforeAndAfterItsSessionIsGivenUp() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.suspend()
        let suspended = try self.status(&stand, number: 1)
        stand.lose(.givenUp)
        let lost = try self.status(&stand, number: 2)
        #expect(suspended.isAuthoritative && !lost.isAuthoritative)
        for status in [suspended, lost] {
            #expect(status.health == "degraded" && status.coordination == "degraded")
            #expect(status.reasons.count { $0.contains("has no connection to ZooKeeper") } == 1, "\(status.reasons)")
            #expect(status.reasons[0].hasPrefix(Self.unaffected) && status.reasons[0].contains("no join, drain or other change is possible"))
            #expect(!status.reasons.contains { $0.contains("no link") || $0.contains("nothing is reassigned") }, "\(status.reasons)")
        }
    }

    @Test func aFollowerJudgesAsTheControllerDoes() throws {
        var stand = self.owner()
        stand.suspend()
        stand.lose(.givenUp)
        #expect(stand.ask(AdminRequest(.status)) == nil, "the controller may be well, and is asked over its link")
        guard case .request(let number, _)? = stand.sent(to: "n2").last else { return recordMissing("nothing was asked") }
        stand.receive(.response(number: number, .failed(.noZooKeeper, "n2 has no connection to ZooKeeper")))
        let status = try Status(try #require(stand.answer(to: 1)))
        #expect(status.health == "degraded" && status.reasons.count == 1, "\(status.reasons)")
        #expect(status.reasons[0].hasPrefix(Self.unaffected) && status.reasons[0].hasSuffix("This is what n1 knows by itself."))
        #expect(!status.reasons[0].contains("no link"), "there is one")
    }

    @Test func aChangeIsRefusedWithTheSameJudgementWithoutAWait() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.suspend()
        for number in UInt64(1)...2 {
            let answered = stand.ask(AdminRequest(.drain, node: "n2"), number: number)
            let answer = try #require(answered)
            let text = try #require(stand.machine.outage?.text)
            #expect(answer.isUnavailable && answer.json.contains("nothing was changed. \(text)"), "\(answer.json)")
            if number == 1 { stand.lose(.givenUp) }
        }
        // The one that another node forwards is refused in the same words.
        stand.receive(.request(number: 4, AdminRequest(.drain, node: "n2")))
        guard case .response(4, let answer)? = stand.sent(to: "n2").last else { return recordMissing("no answer") }
        #expect(answer.json.contains(Self.unaffected) && !answer.json.contains("not the controller any more"), "\(answer.json)")
    }

    @Test func aChangeThatWaitedIsAnsweredWithTheReason() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.handle(.request(number: 1, AdminRequest(.drain, node: "n2")))
        stand.suspend()
        stand.lose(.givenUp)
        let answer = try #require(stand.answer(to: 1))
        #expect(answer.code == .timeout && answer.json.contains("look before you retry") && answer.json.contains(Self.unaffected), "\(answer.json)")
    }

    /// It was stopped in mid-air, for longer than its session may have lasted, and has not heard anything since.
    @Test func aNodeThatWasPausedDoesNotClaimWhatItHeld() throws {
        var stand = self.owner()
        stand.wait(.seconds(60))
        stand.suspend()
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        let outage = try #require(stand.machine.outage)
        #expect(outage.held == 2 && outage.text.contains("other nodes may own them already") && !outage.text.contains("reassigned"))
        let status = try self.status(&stand, number: 1)
        #expect(status.served == 0, "nothing is known for certain")
    }

    @Test func membersWithoutAConnectionAreOneReason() throws {
        var stand = ClusterMachineStand.controller(of: 3)
        for id in ["n2", "n3"] {
            var report = stand.report(of: id)
            report.session = "suspended"
            stand.receive(.report(report), from: id)
        }
        let status = try self.status(&stand, number: 1)
        #expect(status.health == "degraded" && status.coordination == "healthy" && status.reasons.count == 1, "\(status.reasons)")
        #expect(status.reasons[0].hasPrefix(Self.unaffected) && status.reasons[0].contains("n2, n3 have no connection to ZooKeeper"))
        stand.suspend()
        let both = try self.status(&stand, number: 2)
        #expect(both.reasons.count == 2 && both.reasons[1] == "n2, n3 have no connection to ZooKeeper either.", "\(both.reasons)")
    }

    @Test func whyTheControllerDidNotAnswerIsSaidAsItIs() throws {
        var stand = self.owner()
        #expect(stand.ask(AdminRequest(.status)) == nil)
        stand.advance(.seconds(2))
        let silent = try Status(try #require(stand.answer(to: 1)))
        #expect(silent.reasons.contains { $0.hasPrefix(Self.unaffected) && $0.contains("The controller n2 has not answered n1.") }, "\(silent.reasons)")
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        let cut = try self.status(&stand, number: 2)
        #expect(cut.coordination == "degraded" && cut.reasons.contains { $0.contains("n1 has no link to the controller n2 at n2:1.") }, "\(cut.reasons)")
    }

    @Test func withZooKeeperAndWithoutAControllerItIsCritical() throws {
        var stand = self.owner()
        stand.store.end(200)
        stand.settle()
        let status = try self.status(&stand, number: 1)
        #expect(status.health == "critical" && status.reasons[0].hasPrefix(Self.unaffected) && status.reasons[0].contains("There is no controller"))
    }

    @Test func theWorstReasonIsTheFirst() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.vanish("n2")
        var report = stand.report(of: "n2")
        report.incarnation = 0
        _ = stand.ask(AdminRequest(.cordon, node: "n1"), number: 1)
        let status = try self.status(&stand, number: 2)
        #expect(status.health == "critical" && status.reasons.count == 2 && status.reasons[0].hasPrefix("No node is active"), "\(status.reasons)")
    }

    @Test func aNodeThatIsNotReachedIsOneReason() throws {
        var stand = ClusterMachineStand.controller(of: 3)
        let lost = ProcessID(id: "n3", incarnation: stand.incarnation("n3"))
        stand.handle(.linkDown(id: "n3", incarnation: lost.incarnation, isRefused: false))
        stand.advance(.milliseconds(3900))
        var report = stand.report(of: "n2")
        report.unreachable = [lost]
        stand.receive(.report(report), from: "n2")
        stand.receive(.report(stand.report(of: "n3")), from: "n3")
        let status = try self.status(&stand, number: 1)
        #expect(status.reasons == ["n3 cannot be reached at n3:1 by n2. Look at n3, and at the network to it."], "\(status.reasons)")
    }
}
