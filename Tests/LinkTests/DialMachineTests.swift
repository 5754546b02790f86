import NIOCore
import TestKit
import Testing

@testable import Link

@Suite struct DialMachineTests {
    @Test(arguments: 0..<500) func dialsAndLinkEventsAlternate(seed: UInt64) {
        var generator = SplitMix(seed: seed)
        let limits = LinkLimits()
        var machine = DialMachine(limits: limits, attempt: 100)
        var now = 0
        var isUp = false
        var hasEnded = false
        var timers: Set<Int> = []
        var attempts: [Int] = []

        func execute(_ actions: [DialMachine.Action]) {
            if hasEnded { #expect(actions.allSatisfy { if case .drop = $0 { true } else { false } }) }
            for action in actions {
                switch action {
                case .dial(let attempt):
                    #expect(attempt > attempts.last ?? 100 && !isUp)
                    attempts.append(attempt)
                case .drop(let attempt): #expect(attempts.contains(attempt))
                case .wait(let attempt, let milliseconds):
                    #expect(attempt == attempts.last)
                    #expect((limits.backoffMillisecondsMin / 2...limits.backoffMillisecondsMax).contains(milliseconds))
                    timers.insert(attempt)
                case .up:
                    #expect(!isUp)
                    isUp = true
                case .down(_, let isNew):
                    if isUp { #expect(isNew) }
                    isUp = false
                case .log: break
                }
            }
            #expect(machine.isUp == isUp)
            // A waiting machine has a timer.
            if case .waiting = machine.state { #expect(timers.contains(machine.attempt)) }
        }

        for _ in 0..<200 {
            now += generator.below(3000)
            // Mostly the current attempt, sometimes a late event of an older one.
            let attempt = generator.below(5) == 0 ? attempts.randomElement(using: &generator) ?? machine.attempt : machine.attempt
            switch attempts.isEmpty ? 0 : generator.below(16) {
            case 0: execute(machine.renew())
            case 1 where generator.below(10) == 0:
                execute(machine.end())
                hasEnded = true
            case 2..<6: if timers.contains(attempt) { execute(machine.elapsed(attempt)) }
            case 6..<10:
                let before = machine.state
                let isWanted = machine.connected(attempt)
                #expect(isWanted == (before == .dialling && attempt == machine.attempt))
            case 10..<13: execute(machine.didOpen(attempt, now: now))
            default: execute(machine.didClose(attempt, [.refused, .reset, .silent].randomElement(using: &generator)!, now: now, using: &generator))
            }
        }
    }

    @Test func theDelayDoublesAndRestartsAfterALongConnection() {
        var generator = SplitMix(seed: 1)
        var machine = DialMachine(limits: LinkLimits())
        _ = machine.renew()
        var waits: [Int] = []
        var logs = 0
        for _ in 0..<12 {
            for action in machine.didClose(machine.attempt, .refused, now: 0, using: &generator) {
                if case .wait(_, let milliseconds) = action { waits.append(milliseconds) }
                if case .log = action { logs += 1 }
            }
            _ = machine.elapsed(machine.attempt)
        }
        for (number, wait) in waits.enumerated() {
            let ceiling = min(5000, 100 << number)
            #expect((ceiling / 2...ceiling).contains(wait))
        }
        #expect(waits.count == 12 && logs == 1)
        // After a long connection the delay restarts at its minimum. After a short connection it does not.
        for (lasted, ceiling) in [(1000, 5000), (6000, 100)] {
            let isWanted = machine.connected(machine.attempt)
            #expect(isWanted)
            _ = machine.didOpen(machine.attempt, now: 0)
            let actions = machine.didClose(machine.attempt, .reset, now: lasted, using: &generator)
            #expect(actions.contains { if case .wait(_, let milliseconds) = $0 { (ceiling / 2...ceiling).contains(milliseconds) } else { false } })
            _ = machine.elapsed(machine.attempt)
        }
    }

    @Test func repeatedRefusalsAreNotNew() {
        var refusals = LinkRefusals()
        let now = NIODeadline.uptimeNanoseconds(1_000_000_000)
        var news = [("a", now), ("a", now + .seconds(1)), ("a", now + .seconds(2) + LinkRefusals.memory)].map { refusals.isNew($0, now: $1) }
        #expect(news == [true, false, true])
        for number in 0..<1000 { _ = refusals.isNew("\(number)", now: now) }
        news = [now, now + .hours(1)].map { refusals.isNew("one too many", now: $0) }
        #expect(news == [false, true])
        #expect(refusals.total == 1005)
    }
}
