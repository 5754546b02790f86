import NIOHTTP1
import Testing

@testable import Commands

@Suite struct PublishMachineTests {
    private let start = ContinuousClock.now
    private let accepted = PublishOutcome.published(response: [], isDuplicate: false)
    private let seen = PublishOutcome.published(response: [], isDuplicate: true)
    private let later = PublishOutcome.retry(after: nil, reason: "later", wasReached: true)
    private let lost = PublishOutcome.retry(after: nil, reason: "lost", wasReached: false)

    private func machine(_ count: Int, concurrency: Int = 4) -> PublishMachine {
        var machine = PublishMachine(concurrency: concurrency, retryTimeout: .seconds(10))
        machine.accept((1...count).map { PublishEvent(line: $0, messageID: "m\($0)", payload: []) })
        return machine
    }

    private func finish(_ machine: inout PublishMachine, _ outcomes: [PublishOutcome], at second: Int = 0) -> PublishMachine.Step {
        machine.didFinish(outcomes, sentAt: self.start + .seconds(second), now: self.start + .seconds(second))
    }

    @Test func sendsInOrderAndUpToTheConcurrency() {
        var machine = self.machine(4)
        #expect(machine.capacity == 0)
        #expect(machine.window.map(\.line) == [1, 2, 3, 4])
        #expect(finish(&machine, [accepted, accepted, accepted, accepted]) == .proceed)
        #expect(machine.window.isEmpty && machine.capacity == 4)
        #expect(machine.tally.published == 4)
    }

    @Test func lostEventsAreSentAgainWithTheSameIDOneAtATime() {
        var machine = self.machine(4)
        #expect(finish(&machine, [accepted, lost, lost, lost]) == .wait(atLeast: nil, reason: "lost"))
        #expect(machine.window.map(\.messageID) == ["m2"])
        #expect(finish(&machine, [seen]) == .proceed)
        #expect(machine.window.map(\.messageID) == ["m3", "m4"])
        #expect(finish(&machine, [accepted, accepted]) == .proceed)
        #expect(machine.tally == .init(published: 4, duplicates: 1, retries: 3))
    }

    @Test func aRefusedEventDoesNotStopTheOthers() {
        var machine = self.machine(3)
        #expect(finish(&machine, [accepted, .refused("too large"), accepted]) == .proceed)
        #expect(machine.window.isEmpty)
        #expect(machine.tally.published == 2 && machine.tally.refused == 1)
        #expect(machine.tally.firstRefusal == .init(line: 2, reason: "too large"))
    }

    @Test func overtakingIsCounted() {
        var machine = self.machine(3)
        #expect(finish(&machine, [later, accepted, accepted]) == .wait(atLeast: nil, reason: "later"))
        #expect(machine.tally.overtaking == 2)
        #expect(machine.tally.firstOvertakenLine == 1)
    }

    @Test func theMachineStopsAfterTheRetryTimeout() {
        var machine = self.machine(2)
        #expect(finish(&machine, [lost, lost], at: 0) == .wait(atLeast: nil, reason: "lost"))
        #expect(machine.retryTimeout(at: self.start + .seconds(4)) == .seconds(6))
        #expect(finish(&machine, [lost], at: 9) == .wait(atLeast: nil, reason: "lost"))
        guard case .stop(let failure) = finish(&machine, [lost], at: 10) else {
            Issue.record("the machine must stop")
            return
        }
        #expect(failure.status == .unreachable)
        #expect(failure.message.contains("Line 1 is the first"))
    }

    @Test func eachEventHasItsOwnRetryTimeout() {
        var machine = self.machine(2)
        _ = finish(&machine, [lost, lost], at: 0)
        #expect(finish(&machine, [accepted], at: 9) == .proceed)
        #expect(finish(&machine, [later], at: 12) == .wait(atLeast: nil, reason: "later"))
    }

    @Test func theRetryAfterOfTheNodeIsReturned() {
        var machine = self.machine(1)
        #expect(finish(&machine, [.retry(after: .seconds(3), reason: "busy", wasReached: true)]) == .wait(atLeast: .seconds(3), reason: "busy"))
    }

    @Test func aMisconfigurationStops() {
        var machine = self.machine(2)
        guard case .stop(let failure) = finish(&machine, [.misconfigured("no token."), .misconfigured("no token.")]) else {
            Issue.record("the machine must stop")
            return
        }
        #expect(failure == CommandError(.critical, "no token. Line 1 is the first line that was not published."))
    }

    /// For any behaviour of the node, no event is lost. Accepted events are in order, except for the events that count as overtaking.
    @Test func randomWalk() {
        for _ in 0..<500 {
            var machine = PublishMachine(concurrency: Int.random(in: 1...8), retryTimeout: .seconds(1000))
            var next = 1
            var arrived: [Int] = []
            var refused = 0
            while next <= 60 || !machine.window.isEmpty {
                while next <= 60, machine.capacity > 0, machine.window.isEmpty || Bool.random() {
                    machine.accept([PublishEvent(line: next, messageID: "\(next)", payload: [])])
                    next += 1
                }
                let outcomes = machine.window.map { event -> PublishOutcome in
                    switch Int.random(in: 0..<10) {
                    case 0: return later
                    case 1:
                        // The response is lost after the node accepted the event.
                        if !arrived.contains(event.line) { arrived.append(event.line) }
                        return lost
                    case 2 where !arrived.contains(event.line):
                        refused += 1
                        return .refused("no")
                    default:
                        if arrived.contains(event.line) { return seen }
                        arrived.append(event.line)
                        return accepted
                    }
                }
                _ = machine.didFinish(outcomes, sentAt: self.start, now: self.start)
            }
            #expect(arrived.count + refused == 60)
            #expect(machine.tally.published == arrived.count)
            #expect(machine.tally.refused == refused)
            if machine.tally.overtaking == 0, arrived != arrived.sorted() {
                // Only lost responses can hide an overtaking from the sender.
                #expect(machine.tally.retries > 0)
            }
        }
    }

    @Test func responsesAreInterpretedAsTheProtocolDefines() {
        func outcome(_ status: Int, _ body: String = "{}", headers: HTTPHeaders = [:]) -> PublishOutcome {
            PublishOutcome(Response(status: status, headers: headers, body: Array(body.utf8)))
        }
        #expect(outcome(200, #"{"id":"1-1"}"#) == .published(response: Array(#"{"id":"1-1"}"#.utf8), isDuplicate: false))
        func kind(_ outcome: PublishOutcome) -> String {
            switch outcome {
            case .published(_, let isDuplicate): isDuplicate ? "duplicate" : "published"
            case .refused: "refused"
            case .misconfigured: "misconfigured"
            case .retry(_, _, let wasReached): wasReached ? "retry" : "lost"
            }
        }
        #expect(kind(outcome(200, #"[{"duplicate":true},{"duplicate":true}]"#)) == "duplicate")
        #expect(kind(outcome(200, #"[{"duplicate":true},{}]"#)) == "published")
        for status in [400, 413, 414, 431] { #expect(kind(outcome(status)) == "refused", "\(status)") }
        for status in [401, 403, 404, 405] { #expect(kind(outcome(status)) == "misconfigured", "\(status)") }
        for status in [408, 429, 500, 502, 504] { #expect(kind(outcome(status)) == "retry", "\(status)") }
        #expect(
            outcome(503, #"{"error":{"code":"unavailable","message":"wait"}}"#, headers: ["Retry-After": "2"])
                == .retry(after: .seconds(2), reason: "503: wait", wasReached: true))
    }
}
