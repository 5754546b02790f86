import Testing

@testable import Coordination

/// What operators ask at a node that is not the controller, and what changes nothing.
@Suite struct ClusterMachineQuestionTests {
    private func forwarded(_ stand: ClusterMachineStand) -> (number: Int64, question: ClusterQuestion)? {
        for case .ask(let number, let question) in stand.sent(to: "n2").reversed() { return (number, question) }
        return nil
    }

    @Test(arguments: ClusterQuestion.Kind.allCases)
    func everyQuestionIsForwardedToTheControllerAndItsAnswerComesBack(_ kind: ClusterQuestion.Kind) throws {
        var stand = ClusterMachineStand.follower()
        #expect(stand.ask(ClusterQuestion(kind, node: "n2", partition: 3, by: "me"), number: 9) == nil)
        let forwarded = try #require(self.forwarded(stand))
        #expect(forwarded.question == ClusterQuestion(kind, node: "n2", partition: 3, by: "me"))
        let answer = ClusterAnswer(status: 200, body: "{\"result\":\"\(kind.rawValue)\"}")
        stand.receive(.answer(number: forwarded.number, answer))
        #expect(stand.answer(to: 9) == answer)
        // Once, even if it is answered twice and though its time runs out.
        stand.receive(.answer(number: forwarded.number, answer))
        stand.advance(.seconds(10))
        #expect(stand.told.count { if case .answer = $0 { true } else { false } } == 1)
    }

    @Test func aControllerThatDoesNotAnswerIsWaitedForFiveSeconds() throws {
        var stand = ClusterMachineStand.follower()
        #expect(stand.ask(ClusterQuestion(.pause)) == nil)
        stand.advance(.milliseconds(4999))
        #expect(stand.answer(to: 1) == nil)
        stand.advance(.milliseconds(1))
        #expect(stand.answer(to: 1)?.status == 504)
        let number = try #require(self.forwarded(stand)).number
        stand.receive(.answer(number: number, ClusterAnswer(status: 200, body: "{}")))
        #expect(stand.told.count { if case .answer = $0 { true } else { false } } == 1 && stand.machine.asked.isEmpty)
    }

    @Test func whatOnlyReadsIsAnsweredHereWhenTheControllerDoesNotAnswer() throws {
        var stand = ClusterMachineStand.follower()
        for (number, kind) in [ClusterQuestion.Kind.status, .members, .partitions, .events, .plan].enumerated() {
            #expect(stand.ask(ClusterQuestion(kind), number: UInt64(number)) == nil)
        }
        stand.advance(.milliseconds(999))
        #expect(stand.answer(to: 0) == nil)
        stand.advance(.milliseconds(1))
        #expect(stand.answer(to: 0)?.body.contains("\"authoritative\":false") == true)
        for number in UInt64(0)..<4 { #expect(stand.answer(to: number)?.status == 200) }
        #expect(stand.answer(to: 4)?.body.contains("only the controller can plan") == true)
        #expect(stand.machine.asked.isEmpty)
    }

    @Test func whatOnlyReadsIsAnsweredHereWhenItIsNotTheControllerAnyMore() throws {
        var stand = ClusterMachineStand.follower()
        let refusal = ClusterAnswer.failure(503, "no_controller", "n2 is not the controller any more; ask again")
        for (number, kind) in [ClusterQuestion.Kind.status, .pause].enumerated() {
            #expect(stand.ask(ClusterQuestion(kind), number: UInt64(number)) == nil)
            stand.receive(.answer(number: try #require(self.forwarded(stand)).number, refusal))
        }
        #expect(stand.answer(to: 0)?.body.contains("\"authoritative\":false") == true)
        #expect(stand.answer(to: 1)?.status == 503)
    }

    @Test func aQuestionOutlivesTheLossOfItsNodesSession() {
        var stand = ClusterMachineStand.follower()
        #expect(stand.ask(ClusterQuestion(.pause)) == nil)
        stand.lose()
        stand.advance(.seconds(5))
        #expect(stand.answer(to: 1)?.status == 504)
    }

    @Test func withoutALinkToTheControllerANodeTellsWhatItKnowsItself() {
        var stand = ClusterMachineStand.follower()
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        for (number, kind) in [ClusterQuestion.Kind.status, .members, .partitions, .events].enumerated() {
            #expect(stand.ask(ClusterQuestion(kind), number: UInt64(number))?.status == 200)
        }
        #expect(stand.answer(to: 0)?.body.contains("\"authoritative\":false") == true)
        #expect(stand.answer(to: 1)?.body.contains("\"id\":\"n2\"") == true)
        let plan = stand.ask(ClusterQuestion(.plan), number: 10)
        #expect(plan?.status == 503 && plan?.body.contains("no_controller") == true)
        let pause = stand.ask(ClusterQuestion(.pause), number: 11)
        #expect(pause?.status == 503 && pause?.body.contains("no link to the controller n2") == true)
    }

    @Test func withoutAControllerNothingIsChanged() {
        var stand = ClusterMachineStand.follower()
        // It is seen to be gone, and whoever is next has not been elected yet.
        stand.store.end(200)
        stand.settle()
        #expect(!stand.machine.isController && stand.machine.controller == nil)
        let answer = stand.ask(ClusterQuestion(.drain, node: "n2"))
        #expect(answer?.status == 503 && answer?.body.contains("no controller at the moment") == true)
    }

    @Test func beforeAnythingIsReadNothingIsKnown() {
        var stand = ClusterMachineStand()
        #expect(stand.ask(ClusterQuestion(.status))?.status == 503)
        #expect(stand.ask(ClusterQuestion(.events), number: 2)?.status == 200)
    }

    @Test func whoeverIsNotTheControllerSaysSoToAPeerAtOnce() {
        var stand = ClusterMachineStand.follower()
        stand.receive(.ask(number: 4, ClusterQuestion(.status)))
        guard case .answer(4, let answer)? = stand.sent(to: "n2").last else { return recordMissing("no answer") }
        #expect(answer.status == 503)
    }

    // MARK: - At the controller, nothing changes

    @Test func theControllerAnswersForTheCluster() {
        var stand = ClusterMachineStand.controller(of: 2)
        let status = stand.ask(ClusterQuestion(.status))
        #expect(status?.status == 200 && status?.body.contains("\"authoritative\":true") == true && status?.body.contains("\"served\":8") == true)
        #expect(status?.body.contains("\"health\":\"healthy\"") == true)
        let members = stand.ask(ClusterQuestion(.members), number: 2)
        #expect(members?.body.contains("\"id\":\"n2\",\"state\":\"active\"") == true && members?.body.contains("\"owned\":4") == true)
    }

    @Test func thePlanIsWhatARebalanceWouldDo() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        _ = stand.ask(ClusterQuestion(.pause))
        stand.arrive("n3")
        stand.forget()
        let asked = stand.ask(ClusterQuestion(.plan), number: 2)
        let plan = try #require(asked)
        #expect(plan.status == 200 && plan.body.contains("\"moves\":2,") && plan.body.contains("\"waiting\":2,") && plan.body.contains("\"settled\":false"))
        stand.advance(.seconds(20))
        #expect(stand.viewWrites.isEmpty)
    }

    @Test func onePartitionIsLocated() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        let partition = try #require(stand.machine.view?.partitions(ownedBy: "n2").first)
        let asked = stand.ask(ClusterQuestion(.locate, partition: partition))
        let answer = try #require(asked)
        #expect(answer.status == 200 && answer.body.contains("\"owner\":\"n2\"") && answer.body.contains("\"api\":\"n2:2\""))
        #expect(stand.ask(ClusterQuestion(.locate, partition: 8), number: 2)?.status == 400)
        #expect(stand.ask(ClusterQuestion(.locate), number: 3)?.status == 400)
    }

    @Test func eventsAreToldFromANumberOn() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        let last = try #require(stand.machine.history.events.last)
        let asked = stand.ask(ClusterQuestion(.events, after: last.number - 1))
        let answer = try #require(asked)
        #expect(answer.body.contains("\"number\":\(last.number)") && !answer.body.contains("\"number\":\(last.number - 1),"))
    }

    @Test func aPeersQuestionIsAnsweredToThePeer() {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.receive(.ask(number: 4, ClusterQuestion(.members)))
        guard case .answer(4, let answer)? = stand.sent(to: "n2").last else { return recordMissing("no answer") }
        #expect(answer.status == 200)
    }
}
