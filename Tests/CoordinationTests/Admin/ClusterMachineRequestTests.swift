import AdminAPI
import Testing

@testable import Coordination

/// Operators' requests at a node that is not the controller, and reads at the controller.
@Suite struct ClusterMachineRequestTests {
    private func forwarded(_ bench: ClusterMachineBench) -> (number: Int64, request: AdminRequest)? {
        for case .request(let number, let request) in bench.sent(to: "n2").reversed() { return (number, request) }
        return nil
    }

    @Test(arguments: AdminRequest.Kind.allCases)
    func everyRequestIsForwardedToTheControllerAndItsResponseIsReturned(_ kind: AdminRequest.Kind) throws {
        var bench = ClusterMachineBench.follower()
        #expect(bench.request(AdminRequest(kind, node: "n2", partition: 3, by: "me"), number: 9) == nil)
        let forwarded = try #require(self.forwarded(bench))
        #expect(forwarded.request == AdminRequest(kind, node: "n2", partition: 3, by: "me"))
        let answer = AdminResponse.forwarded(json: "{\"result\":\"\(kind.rawValue)\"}")
        bench.receive(.response(number: forwarded.number, answer))
        #expect(bench.response(to: 9) == answer)
        // The operator gets one response, even if the controller sends two and the deadline passes.
        bench.receive(.response(number: forwarded.number, answer))
        bench.advance(.seconds(10))
        #expect(bench.effects.count { if case .respond = $0 { true } else { false } } == 1)
    }

    @Test func aChangeWaitsFiveSecondsForTheController() throws {
        var bench = ClusterMachineBench.follower()
        #expect(bench.request(AdminRequest(.pause)) == nil)
        bench.advance(.milliseconds(4999))
        #expect(bench.response(to: 1) == nil)
        bench.advance(.milliseconds(1))
        #expect(bench.response(to: 1)?.code == .timeout)
        let number = try #require(self.forwarded(bench)).number
        bench.receive(.response(number: number, AdminResponse.forwarded(json: "{}")))
        #expect(bench.effects.count { if case .respond = $0 { true } else { false } } == 1 && bench.machine.admin.forwarded.isEmpty)
    }

    @Test func aNodeRespondsToReadsWhenTheControllerDoesNotRespond() throws {
        var bench = ClusterMachineBench.follower()
        for (number, kind) in [AdminRequest.Kind.status, .members, .partitions, .events, .plan].enumerated() {
            #expect(bench.request(AdminRequest(kind), number: UInt64(number)) == nil)
        }
        bench.advance(.milliseconds(999))
        #expect(bench.response(to: 0) == nil)
        bench.advance(.milliseconds(1))
        #expect(bench.response(to: 0)?.json.contains("\"authoritative\":false") == true)
        for number in UInt64(0)..<4 { #expect(bench.response(to: number)?.isSuccess == true) }
        #expect(bench.response(to: 4)?.json.contains("only the controller can plan") == true)
        #expect(bench.machine.admin.forwarded.isEmpty)
    }

    @Test func aNodeRespondsToReadsWhenTheFormerControllerRefuses() throws {
        var bench = ClusterMachineBench.follower()
        let refusal = AdminResponse.failed(.noController, "n2 is not the controller any more; retry in a moment")
        for (number, kind) in [AdminRequest.Kind.status, .pause].enumerated() {
            #expect(bench.request(AdminRequest(kind), number: UInt64(number)) == nil)
            bench.receive(.response(number: try #require(self.forwarded(bench)).number, refusal))
        }
        #expect(bench.response(to: 0)?.json.contains("\"authoritative\":false") == true)
        #expect(bench.response(to: 1)?.isUnavailable == true)
    }

    @Test func aPendingRequestOutlivesTheSessionOfItsNode() {
        var bench = ClusterMachineBench.follower()
        #expect(bench.request(AdminRequest(.pause)) == nil)
        bench.lose()
        bench.advance(.seconds(5))
        #expect(bench.response(to: 1)?.code == .timeout)
    }

    @Test func withoutALinkToTheControllerANodeRespondsToReads() {
        var bench = ClusterMachineBench.follower()
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        for (number, kind) in [AdminRequest.Kind.status, .members, .partitions, .events].enumerated() {
            #expect(bench.request(AdminRequest(kind), number: UInt64(number))?.isSuccess == true)
        }
        #expect(bench.response(to: 0)?.json.contains("\"authoritative\":false") == true)
        #expect(bench.response(to: 1)?.json.contains("\"id\":\"n2\"") == true)
        let plan = bench.request(AdminRequest(.plan), number: 10)
        #expect(plan?.isUnavailable == true && plan?.json.contains("no_controller") == true)
        let pause = bench.request(AdminRequest(.pause), number: 11)
        #expect(pause?.isUnavailable == true && pause?.json.contains("no link to the controller n2") == true)
    }

    @Test func withoutAControllerNothingIsChanged() {
        var bench = ClusterMachineBench.follower()
        // The node sees that the controller is gone. No new controller is elected yet.
        bench.store.end(200)
        bench.settle()
        #expect(!bench.machine.isController && bench.machine.controller == nil)
        let answer = bench.request(AdminRequest(.drain, node: "n2"))
        #expect(answer?.isUnavailable == true && answer?.json.contains("no controller at the moment") == true)
    }

    @Test func beforeTheFirstReadTheStatusIsUnavailable() {
        var bench = ClusterMachineBench()
        #expect(bench.request(AdminRequest(.status))?.isUnavailable == true)
        #expect(bench.request(AdminRequest(.events), number: 2)?.isSuccess == true)
    }

    @Test func aPeersRequestIsRefusedImmediatelyByAFollower() {
        var bench = ClusterMachineBench.follower()
        bench.receive(.request(number: 4, AdminRequest(.status)))
        guard case .response(4, let answer)? = bench.sent(to: "n2").last else { return recordMissing("no response") }
        #expect(answer.isUnavailable)
    }

    // MARK: - Reads at the controller

    @Test func theControllersResponseIsAuthoritative() {
        var bench = ClusterMachineBench.controller(of: 2)
        let status = bench.request(AdminRequest(.status))
        #expect(status?.isSuccess == true && status?.json.contains("\"authoritative\":true") == true && status?.json.contains("\"served\":8") == true)
        #expect(status?.json.contains("\"health\":\"healthy\"") == true)
        let members = bench.request(AdminRequest(.members), number: 2)
        #expect(members?.json.contains("\"id\":\"n2\",\"state\":\"active\"") == true && members?.json.contains("\"owned\":4") == true)
    }

    @Test func thePlanShowsTheMovesOfARebalance() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        _ = bench.request(AdminRequest(.pause))
        bench.arrive("n3")
        bench.forget()
        let asked = bench.request(AdminRequest(.plan), number: 2)
        let plan = try #require(asked)
        #expect(plan.isSuccess && plan.json.contains("\"moves\":2,") && plan.json.contains("\"waiting\":2,") && plan.json.contains("\"settled\":false"))
        bench.advance(.seconds(20))
        #expect(bench.viewWrites.isEmpty)
    }

    @Test func onePartitionIsLocated() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        let partition = try #require(bench.machine.view?.partitions(ownedBy: "n2").first)
        let asked = bench.request(AdminRequest(.locate, partition: partition))
        let answer = try #require(asked)
        #expect(answer.isSuccess && answer.json.contains("\"owner\":\"n2\"") && answer.json.contains("\"api\":\"n2:2\""))
        #expect(bench.request(AdminRequest(.locate, partition: 8), number: 2)?.code == .badRequest)
        #expect(bench.request(AdminRequest(.locate), number: 3)?.code == .badRequest)
    }

    @Test func eventsAreListedAfterANumber() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        let last = try #require(bench.machine.history.events.last)
        let asked = bench.request(AdminRequest(.events, after: last.number - 1))
        let answer = try #require(asked)
        #expect(answer.json.contains("\"number\":\(last.number)") && !answer.json.contains("\"number\":\(last.number - 1),"))
    }

    @Test func theResponseToAPeersRequestIsSentToThePeer() {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.receive(.request(number: 4, AdminRequest(.members)))
        guard case .response(4, let answer)? = bench.sent(to: "n2").last else { return recordMissing("no response") }
        #expect(answer.isSuccess)
    }
}
