import NIOHTTP1
import Testing

@testable import Commands

@Suite struct PublishCourseTests {
    private let start = ContinuousClock.now
    private let accepted = PublishOutcome.published(answer: [], isDuplicate: false)
    private let seen = PublishOutcome.published(answer: [], isDuplicate: true)
    private let later = PublishOutcome.retry(after: nil, reason: "later", wasReached: true)
    private let lost = PublishOutcome.retry(after: nil, reason: "lost", wasReached: false)

    private func course(_ count: Int, concurrency: Int = 4) -> PublishCourse {
        var course = PublishCourse(concurrency: concurrency, patience: .seconds(10))
        course.accept((1...count).map { PublishEvent(line: $0, messageID: "m\($0)", payload: []) })
        return course
    }

    private func settle(_ course: inout PublishCourse, _ outcomes: [PublishOutcome], at second: Int = 0) -> PublishCourse.Step {
        course.settled(outcomes, sentAt: self.start + .seconds(second), now: self.start + .seconds(second))
    }

    @Test func sendsInOrderAndUpToTheConcurrency() {
        var course = self.course(4)
        #expect(course.room == 0)
        #expect(course.window.map(\.line) == [1, 2, 3, 4])
        #expect(settle(&course, [accepted, accepted, accepted, accepted]) == .goOn)
        #expect(course.window.isEmpty && course.room == 4)
        #expect(course.tally.published == 4)
    }

    @Test func whatIsLostGoesAgainWithTheSameIDAndOneAtATime() {
        var course = self.course(4)
        #expect(settle(&course, [accepted, lost, lost, lost]) == .wait(atLeast: nil, reason: "lost"))
        #expect(course.window.map(\.messageID) == ["m2"])
        #expect(settle(&course, [seen]) == .goOn)
        #expect(course.window.map(\.messageID) == ["m3", "m4"])
        #expect(settle(&course, [accepted, accepted]) == .goOn)
        #expect(course.tally == .init(published: 4, duplicates: 1, retries: 3))
    }

    @Test func oneThatCanNeverBePublishedDoesNotStopTheOthers() {
        var course = self.course(3)
        #expect(settle(&course, [accepted, .refused("too large"), accepted]) == .goOn)
        #expect(course.window.isEmpty)
        #expect(course.tally.published == 2 && course.tally.refused == 1)
        #expect(course.tally.firstRefusal == .init(line: 2, reason: "too large"))
    }

    @Test func overtakingIsCounted() {
        var course = self.course(3)
        #expect(settle(&course, [later, accepted, accepted]) == .wait(atLeast: nil, reason: "later"))
        #expect(course.tally.overtaking == 2)
        #expect(course.tally.firstOvertakenLine == 1)
    }

    @Test func patienceEnds() {
        var course = self.course(2)
        #expect(settle(&course, [lost, lost], at: 0) == .wait(atLeast: nil, reason: "lost"))
        #expect(course.patience(at: self.start + .seconds(4)) == .seconds(6))
        #expect(settle(&course, [lost], at: 9) == .wait(atLeast: nil, reason: "lost"))
        guard case .stop(let failure) = settle(&course, [lost], at: 10) else {
            Issue.record("It must give up")
            return
        }
        #expect(failure.status == .unreachable)
        #expect(failure.message.contains("Line 1 is the first"))
    }

    @Test func eachEventHasItsOwnPatience() {
        var course = self.course(2)
        _ = settle(&course, [lost, lost], at: 0)
        #expect(settle(&course, [accepted], at: 9) == .goOn)
        #expect(settle(&course, [later], at: 12) == .wait(atLeast: nil, reason: "later"))
    }

    @Test func theNodesWaitIsPassedOn() {
        var course = self.course(1)
        #expect(settle(&course, [.retry(after: .seconds(3), reason: "busy", wasReached: true)]) == .wait(atLeast: .seconds(3), reason: "busy"))
    }

    @Test func theHopelessStops() {
        var course = self.course(2)
        guard case .stop(let failure) = settle(&course, [.hopeless("no token."), .hopeless("no token.")]) else {
            Issue.record("It must stop")
            return
        }
        #expect(failure == Failure(.critical, "no token. Line 1 is the first that was not published."))
    }

    /// Whatever a node does, nothing is lost, and what it accepted is in order but for what was counted.
    @Test func randomWalk() {
        for _ in 0..<500 {
            var course = PublishCourse(concurrency: Int.random(in: 1...8), patience: .seconds(1000))
            var next = 1
            var arrived: [Int] = []
            var refused = 0
            while next <= 60 || !course.window.isEmpty {
                while next <= 60, course.room > 0, course.window.isEmpty || Bool.random() {
                    course.accept([PublishEvent(line: next, messageID: "\(next)", payload: [])])
                    next += 1
                }
                let outcomes = course.window.map { event -> PublishOutcome in
                    switch Int.random(in: 0..<10) {
                    case 0: return later
                    case 1:
                        // The answer is lost after the node took the event.
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
                _ = course.settled(outcomes, sentAt: self.start, now: self.start)
            }
            #expect(arrived.count + refused == 60)
            #expect(course.tally.published == arrived.count)
            #expect(course.tally.refused == refused)
            if course.tally.overtaking == 0, arrived != arrived.sorted() {
                // Only answers that were lost hide an overtaking from who sends.
                #expect(course.tally.retries > 0)
            }
        }
    }

    @Test func answersMeanWhatTheProtocolSays() {
        func outcome(_ status: Int, _ body: String = "{}", headers: HTTPHeaders = [:]) -> PublishOutcome {
            PublishOutcome(Answer(status: status, headers: headers, body: Array(body.utf8)))
        }
        #expect(outcome(200, #"{"id":"1-1"}"#) == .published(answer: Array(#"{"id":"1-1"}"#.utf8), isDuplicate: false))
        func kind(_ outcome: PublishOutcome) -> String {
            switch outcome {
            case .published(_, let isDuplicate): isDuplicate ? "duplicate" : "published"
            case .refused: "refused"
            case .hopeless: "hopeless"
            case .retry(_, _, let wasReached): wasReached ? "retry" : "lost"
            }
        }
        #expect(kind(outcome(200, #"[{"duplicate":true},{"duplicate":true}]"#)) == "duplicate")
        #expect(kind(outcome(200, #"[{"duplicate":true},{}]"#)) == "published")
        for status in [400, 413, 414, 431] { #expect(kind(outcome(status)) == "refused", "\(status)") }
        for status in [401, 403, 404, 405] { #expect(kind(outcome(status)) == "hopeless", "\(status)") }
        for status in [408, 429, 500, 502, 504] { #expect(kind(outcome(status)) == "retry", "\(status)") }
        #expect(
            outcome(503, #"{"error":{"code":"unavailable","message":"wait"}}"#, headers: ["Retry-After": "2"])
                == .retry(after: .seconds(2), reason: "503: wait", wasReached: true))
    }
}
