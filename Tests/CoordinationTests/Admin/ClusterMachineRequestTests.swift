import AdminAPI
import Testing

@testable import Coordination

/// What operators ask at a node that is not the controller, and what changes nothing.
@Suite struct ClusterMachineRequestTests {
    private func forwarded(_ stand: ClusterMachineStand) -> (number: Int64, question: AdminRequest)? {
        for case .request(let number, let question) in stand.sent(to: "n2").reversed() { return (number, question) }
        return nil
    }

    @Test(arguments: AdminRequest.Kind.allCases)
    func everyQuestionIsForwardedToTheControllerAndItsAnswerComesBack(_ kind: AdminRequest.Kind) throws {
        var stand = ClusterMachineStand.follower()
        #expect(stand.ask(AdminRequest(kind, node: "n2", partition: 3, by: "me"), number: 9) == nil)
        let forwarded = try #require(self.forwarded(stand))
        #expect(forwarded.question == AdminRequest(kind, node: "n2", partition: 3, by: "me"))
        let answer = AdminResponse.forwarded(json: "{\"result\":\"\(kind.rawValue)\"}")
        stand.receive(.response(number: forwarded.number, answer))
        #expect(stand.answer(to: 9) == answer)
        // Once, even if it is answered twice and though its time runs out.
        stand.receive(.response(number: forwarded.number, answer))
        stand.advance(.seconds(10))
        #expect(stand.told.count { if case .respond = $0 { true } else { false } } == 1)
    }

    @Test func aControllerThatDoesNotAnswerIsWaitedForFiveSeconds() throws {
        var stand = ClusterMachineStand.follower()
        #expect(stand.ask(AdminRequest(.pause)) == nil)
        stand.advance(.milliseconds(4999))
        #expect(stand.answer(to: 1) == nil)
        stand.advance(.milliseconds(1))
        #expect(stand.answer(to: 1)?.code == .timeout)
        let number = try #require(self.forwarded(stand)).number
        stand.receive(.response(number: number, AdminResponse.forwarded(json: "{}")))
        #expect(stand.told.count { if case .respond = $0 { true } else { false } } == 1 && stand.machine.admin.forwarded.isEmpty)
    }

    @Test func whatOnlyReadsIsAnsweredHereWhenTheControllerDoesNotAnswer() throws {
        var stand = ClusterMachineStand.follower()
        for (number, kind) in [AdminRequest.Kind.status, .members, .partitions, .events, .plan].enumerated() {
            #expect(stand.ask(AdminRequest(kind), number: UInt64(number)) == nil)
        }
        stand.advance(.milliseconds(999))
        #expect(stand.answer(to: 0) == nil)
        stand.advance(.milliseconds(1))
        #expect(stand.answer(to: 0)?.json.contains("\"authoritative\":false") == true)
        for number in UInt64(0)..<4 { #expect(stand.answer(to: number)?.isSuccess == true) }
        #expect(stand.answer(to: 4)?.json.contains("only the controller can plan") == true)
        #expect(stand.machine.admin.forwarded.isEmpty)
    }

    @Test func whatOnlyReadsIsAnsweredHereWhenItIsNotTheControllerAnyMore() throws {
        var stand = ClusterMachineStand.follower()
        let refusal = AdminResponse.failed(.noController, "n2 is not the controller any more; ask again")
        for (number, kind) in [AdminRequest.Kind.status, .pause].enumerated() {
            #expect(stand.ask(AdminRequest(kind), number: UInt64(number)) == nil)
            stand.receive(.response(number: try #require(self.forwarded(stand)).number, refusal))
        }
        #expect(stand.answer(to: 0)?.json.contains("\"authoritative\":false") == true)
        #expect(stand.answer(to: 1)?.isUnavailable == true)
    }

    @Test func aQuestionOutlivesTheLossOfItsNodesSession() {
        var stand = ClusterMachineStand.follower()
        #expect(stand.ask(AdminRequest(.pause)) == nil)
        stand.lose()
        stand.advance(.seconds(5))
        #expect(stand.answer(to: 1)?.code == .timeout)
    }

    @Test func withoutALinkToTheControllerANodeTellsWhatItKnowsItself() {
        var stand = ClusterMachineStand.follower()
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        for (number, kind) in [AdminRequest.Kind.status, .members, .partitions, .events].enumerated() {
            #expect(stand.ask(AdminRequest(kind), number: UInt64(number))?.isSuccess == true)
        }
        #expect(stand.answer(to: 0)?.json.contains("\"authoritative\":false") == true)
        #expect(stand.answer(to: 1)?.json.contains("\"id\":\"n2\"") == true)
        let plan = stand.ask(AdminRequest(.plan), number: 10)
        #expect(plan?.isUnavailable == true && plan?.json.contains("no_controller") == true)
        let pause = stand.ask(AdminRequest(.pause), number: 11)
        #expect(pause?.isUnavailable == true && pause?.json.contains("no link to the controller n2") == true)
    }

    @Test func withoutAControllerNothingIsChanged() {
        var stand = ClusterMachineStand.follower()
        // It is seen to be gone, and whoever is next has not been elected yet.
        stand.store.end(200)
        stand.settle()
        #expect(!stand.machine.isController && stand.machine.controller == nil)
        let answer = stand.ask(AdminRequest(.drain, node: "n2"))
        #expect(answer?.isUnavailable == true && answer?.json.contains("no controller at the moment") == true)
    }

    @Test func beforeAnythingIsReadNothingIsKnown() {
        var stand = ClusterMachineStand()
        #expect(stand.ask(AdminRequest(.status))?.isUnavailable == true)
        #expect(stand.ask(AdminRequest(.events), number: 2)?.isSuccess == true)
    }

    @Test func whoeverIsNotTheControllerSaysSoToAPeerAtOnce() {
        var stand = ClusterMachineStand.follower()
        stand.receive(.request(number: 4, AdminRequest(.status)))
        guard case .response(4, let answer)? = stand.sent(to: "n2").last else { return recordMissing("no answer") }
        #expect(answer.isUnavailable)
    }

    // MARK: - At the controller, nothing changes

    @Test func theControllerAnswersForTheCluster() {
        var stand = ClusterMachineStand.controller(of: 2)
        let status = stand.ask(AdminRequest(.status))
        #expect(status?.isSuccess == true && status?.json.contains("\"authoritative\":true") == true && status?.json.contains("\"served\":8") == true)
        #expect(status?.json.contains("\"health\":\"healthy\"") == true)
        let members = stand.ask(AdminRequest(.members), number: 2)
        #expect(members?.json.contains("\"id\":\"n2\",\"state\":\"active\"") == true && members?.json.contains("\"owned\":4") == true)
    }

    @Test func thePlanIsWhatARebalanceWouldDo() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        _ = stand.ask(AdminRequest(.pause))
        stand.arrive("n3")
        stand.forget()
        let asked = stand.ask(AdminRequest(.plan), number: 2)
        let plan = try #require(asked)
        #expect(plan.isSuccess && plan.json.contains("\"moves\":2,") && plan.json.contains("\"waiting\":2,") && plan.json.contains("\"settled\":false"))
        stand.advance(.seconds(20))
        #expect(stand.viewWrites.isEmpty)
    }

    @Test func onePartitionIsLocated() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        let partition = try #require(stand.machine.view?.partitions(ownedBy: "n2").first)
        let asked = stand.ask(AdminRequest(.locate, partition: partition))
        let answer = try #require(asked)
        #expect(answer.isSuccess && answer.json.contains("\"owner\":\"n2\"") && answer.json.contains("\"api\":\"n2:2\""))
        #expect(stand.ask(AdminRequest(.locate, partition: 8), number: 2)?.code == .badRequest)
        #expect(stand.ask(AdminRequest(.locate), number: 3)?.code == .badRequest)
    }

    @Test func eventsAreToldFromANumberOn() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        let last = try #require(stand.machine.history.events.last)
        let asked = stand.ask(AdminRequest(.events, after: last.number - 1))
        let answer = try #require(asked)
        #expect(answer.json.contains("\"number\":\(last.number)") && !answer.json.contains("\"number\":\(last.number - 1),"))
    }

    @Test func aPeersQuestionIsAnsweredToThePeer() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.receive(.request(number: 4, AdminRequest(.members)))
        guard case .response(4, let answer)? = stand.sent(to: "n2").last else { return recordMissing("no answer") }
        #expect(answer.isSuccess)
    }
}
