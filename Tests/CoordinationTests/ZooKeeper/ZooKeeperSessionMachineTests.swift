@testable import Coordination
import TestKit
import Testing

@Suite struct ZooKeeperSessionMachineTests {
    private static let settings = ZooKeeperSessionMachine.Settings(
        connectTimeout: .seconds(15), backoffMin: .milliseconds(100), backoffMax: .seconds(10))
    private let start = ContinuousClock.now

    @Test func aSuspendedSessionIsResumed() {
        var walk = Walk(Self.settings, at: self.start)
        let connecting = ZooKeeperState(generation: 1, phase: .connecting)
        #expect(walk.event(.started) == [.report(connecting), .open(generation: 1), .wake(at: self.start + .seconds(15))])
        let connected = ZooKeeperState(generation: 1, phase: .connected(session: 7, timeout: .seconds(6)))
        #expect(walk.event(.connected(generation: 1, session: 7, timeout: .seconds(6))) == [.report(connected)])
        #expect(walk.event(.disconnected(generation: 1)) == [.report(.init(generation: 1, phase: .suspended)), .wake(at: self.start + .seconds(6))])
        walk.now += .milliseconds(5999)
        #expect(walk.event(.ticked) == [])
        #expect(walk.event(.connected(generation: 1, session: 7, timeout: .seconds(6))) == [.report(connected), .reread])
        walk.now += .seconds(60)
        #expect(walk.event(.ticked) == [])
    }

    @Test func aSuspendedSessionIsGivenUpAfterTheNegotiatedTimeout() {
        var walk = Walk(Self.settings, at: self.start)
        _ = walk.event(.started)
        _ = walk.event(.connected(generation: 1, session: 7, timeout: .seconds(6)))
        _ = walk.event(.disconnected(generation: 1))
        walk.now += .seconds(6)
        let actions = walk.event(.ticked)
        #expect(actions.prefix(2) == [.report(.init(generation: 1, phase: .lost(.givenUp))), .close(generation: 1)])
        guard case .wake(let next)? = actions.last else { return #expect(Bool(false)) }
        #expect(next - walk.now >= .milliseconds(50) && next - walk.now <= .milliseconds(100))
        #expect(walk.event(.connected(generation: 1, session: 7, timeout: .seconds(6))) == [])
        walk.now = next
        #expect(walk.event(.ticked).contains(.open(generation: 2)))
    }

    @Test func theWaitDoublesUntilThereIsAConnection() {
        var walk = Walk(Self.settings, at: self.start)
        _ = walk.event(.started)
        func loseOne() -> Duration {
            guard case .wake(let next)? = walk.event(.openingFailed(generation: walk.machine.generation)).last else { return .zero }
            let wait = next - walk.now
            walk.now = next
            _ = walk.event(.ticked)
            return wait
        }
        for exponent in 0..<40 {
            let longest = min(.seconds(10), Duration.milliseconds(100) * (1 << min(exponent, 20)))
            let wait = loseOne()
            #expect(wait <= longest && wait >= longest / 2, "\(exponent)")
        }
        _ = walk.event(.connected(generation: walk.machine.generation, session: 1, timeout: .seconds(6)))
        #expect(loseOne() <= .milliseconds(100))
    }

    // MARK: - A cautious client

    private static let cautious = ZooKeeperSessionMachine.Settings(
        connectTimeout: .seconds(15), isCautious: true, backoffMin: .milliseconds(100), backoffMax: .seconds(10))

    private func connected() -> Walk {
        var walk = Walk(Self.cautious, at: self.start)
        _ = walk.event(.started)
        _ = walk.event(.connected(generation: 1, session: 7, timeout: .seconds(6)))
        return walk
    }

    /// Lets time pass in steps of 10 ms, and returns the machine's actions. If `answers` is true, the servers verify the session each time.
    private func pass(_ duration: Duration, _ walk: inout Walk, answers: Bool) -> [ZooKeeperSessionMachine.Action] {
        var actions: [ZooKeeperSessionMachine.Action] = []
        let end = walk.now + duration
        while walk.now < end {
            walk.now += .milliseconds(10)
            for action in walk.event(.ticked) {
                actions.append(action)
                if case .verify(let generation) = action, answers { actions += walk.event(.verified(generation: generation, sentAt: walk.now)) }
            }
        }
        return actions
    }

    @Test func aCautiousClientVerifiesTheSessionSixTimesPerTimeout() {
        var walk = self.connected()
        let actions = self.pass(.seconds(60), &walk, answers: true)
        #expect((58...60).contains(actions.count { $0 == .verify(generation: 1) }))
        #expect(!actions.contains { if case .report = $0 { true } else { false } } && walk.machine.isConnected)
        #expect(actions.count { if case .wake = $0 { true } else { false } } <= 60)
    }

    @Test func aServerThatCannotVerifyTheSessionCountsAsDisconnected() {
        var walk = self.connected()
        #expect(!self.pass(.milliseconds(2990), &walk, answers: false).contains(.report(.init(generation: 1, phase: .suspended))))
        let suspended = self.pass(.milliseconds(10), &walk, answers: false)
        #expect(suspended.contains(.report(.init(generation: 1, phase: .suspended))) && suspended.contains(.wake(at: self.start + .milliseconds(4500))))
        #expect(!walk.machine.isConnected)
        let waiting = self.pass(.milliseconds(1490), &walk, answers: false)
        #expect(waiting.contains(.verify(generation: 1)) && !waiting.contains { if case .report = $0 { true } else { false } })
        #expect(
            self.pass(.milliseconds(10), &walk, answers: false).prefix(2) == [.report(.init(generation: 1, phase: .lost(.givenUp))), .close(generation: 1)])
    }

    @Test func aServerThatVerifiesTheSessionAgainIsConnected() {
        var walk = self.connected()
        _ = self.pass(.seconds(4), &walk, answers: false)
        // This verification was sent too long ago to prove that the session still lives.
        #expect(!walk.event(.verified(generation: 1, sentAt: self.start + .milliseconds(500))).contains(.reread))
        #expect(walk.event(.verified(generation: 2, sentAt: walk.now)) == [] && !walk.machine.isConnected)
        let back = walk.event(.verified(generation: 1, sentAt: walk.now))
        #expect(back == [.report(.init(generation: 1, phase: .connected(session: 7, timeout: .seconds(6)))), .reread])
        let after = self.pass(.seconds(20), &walk, answers: true)
        #expect(walk.machine.isConnected && after.count { $0 == .verify(generation: 1) } >= 18)
    }

    /// The connection to a silent server breaks at last. This does not extend the time until the session is given up.
    @Test func aBrokenConnectionDoesNotDelayTheEndOfTheSession() {
        var walk = self.connected()
        _ = self.pass(.milliseconds(4400), &walk, answers: false)
        #expect(walk.event(.disconnected(generation: 1)) == [.wake(at: self.start + .milliseconds(4500))])
        #expect(self.pass(.milliseconds(110), &walk, answers: false).contains(.report(.init(generation: 1, phase: .lost(.givenUp)))))
    }

    /// The connection to a cut-off server breaks just before the session would be suspended. The silence before the break counts too.
    @Test func silenceBeforeADisconnectionShortensTheSuspension() {
        var walk = self.connected()
        _ = self.pass(.milliseconds(2900), &walk, answers: false)
        #expect(walk.event(.disconnected(generation: 1)).contains(.wake(at: self.start + .milliseconds(4500))))
        #expect(self.pass(.milliseconds(1610), &walk, answers: false).contains(.report(.init(generation: 1, phase: .lost(.givenUp)))))
    }

    /// The session of a paused process may have ended. The client gives the session up before it does anything else.
    /// The time is known before anything happens, so a process that was paused knows it before it handles an event.
    @Test func theTimeUntilWhichTheSessionIsValidFollowsTheLastVerification() {
        var walk = Walk(Self.cautious, at: self.start)
        #expect(walk.machine.validUntil == nil)
        _ = walk.event(.started)
        _ = walk.event(.connected(generation: 1, session: 7, timeout: .seconds(6)))
        #expect(walk.machine.validUntil == self.start + .milliseconds(4500))
        walk.now += .seconds(2)
        _ = walk.event(.verified(generation: 1, sentAt: self.start + .seconds(1)))
        #expect(walk.machine.validUntil == self.start + .milliseconds(5500))
        _ = walk.event(.disconnected(generation: 1))
        #expect(walk.machine.validUntil == self.start + .seconds(4))
        _ = walk.event(.expired(generation: 1))
        #expect(walk.machine.validUntil == nil)
    }

    @Test func aProcessThatWasPausedGivesTheSessionUp() {
        var walk = self.connected()
        walk.now += .seconds(5)
        let actions = walk.event(.ticked)
        #expect(
            actions.contains(.report(.init(generation: 1, phase: .suspended))) && actions.contains(.report(.init(generation: 1, phase: .lost(.givenUp)))))
    }

    @Test func closingWaitsForTheHandle() {
        var walk = Walk(Self.settings, at: self.start)
        _ = walk.event(.started)
        #expect(walk.event(.closingRequested) == [.report(.init(generation: 1, phase: .closing)), .close(generation: 1)])
        #expect(walk.event(.connected(generation: 1, session: 1, timeout: .seconds(6))) == [])
        #expect(walk.event(.closingRequested) == [])
        #expect(walk.event(.handleClosed(generation: 1)) == [.report(.init(generation: 1, phase: .closed)), .finish])
        #expect(walk.event(.handleClosed(generation: 1)) == [])
        #expect(walk.event(.started) == [])
    }

    /// Events may come at any time and in any order, also for generations that are over.
    @Test(arguments: 0..<200) func anyOrderOfEventsCausesOnlyAllowedTransitions(seed: UInt64) {
        var random = SplitMix(seed: seed)
        var walk = Walk(seed.isMultiple(of: 2) ? Self.settings : Self.cautious, at: self.start)
        var last: ZooKeeperState?
        var open: UInt64?
        var isFinished = false
        for _ in 0..<500 {
            let generation = walk.machine.generation &- UInt64.random(in: 0...1, using: &random)
            let event: ZooKeeperSessionMachine.Event =
                switch Int.random(in: 0..<100, using: &random) {
                case 0..<10: .started
                case 10..<15: .openingFailed(generation: generation)
                case 15..<40: .connected(generation: generation, session: 7, timeout: .seconds(6))
                case 40..<50: .disconnected(generation: generation)
                case 50..<60: .verified(generation: generation, sentAt: walk.now - .milliseconds(Int.random(in: 0..<4000, using: &random)))
                case 60..<65: .expired(generation: generation)
                case 65..<67: .authenticationFailed(generation: generation)
                case 67..<68: .closingRequested
                case 68..<72: .handleClosed(generation: generation)
                default: .ticked
                }
            for action in walk.event(event) {
                #expect(!isFinished)
                switch action {
                case .report(let state):
                    #expect(Self.mayFollow(last, state), "\(state) after \(String(describing: last))")
                    last = state
                case .open(let generation):
                    #expect(open == nil && generation == last?.generation && last?.phase == .connecting)
                    open = generation
                case .close(let generation):
                    #expect(open == generation)
                    open = nil
                case .wake(let time): #expect(time > walk.now)
                case .verify(let generation): #expect(open == generation)
                case .reread: if case .connected? = last?.phase {} else { #expect(Bool(false)) }
                case .finish:
                    #expect(open == nil && last?.phase == .closed)
                    isFinished = true
                }
            }
            let isConnected = if case .connected? = last?.phase { true } else { false }
            #expect(walk.machine.isConnected == isConnected)
            walk.now += .milliseconds(Int.random(in: 0..<3000, using: &random))
        }
    }

    /// Whether the comments on ``ZooKeeperState/Phase`` allow this transition.
    private static func mayFollow(_ last: ZooKeeperState?, _ next: ZooKeeperState) -> Bool {
        guard let last else { return next.phase == .connecting && next.generation == 1 || next.phase == .closed }
        let same = next.generation == last.generation
        return switch (last.phase, next.phase) {
        case (.connecting, .connected), (.connecting, .lost), (.connecting, .closing): same
        case (.connected, .suspended), (.connected, .lost), (.connected, .closing): same
        case (.suspended, .connected), (.suspended, .lost), (.suspended, .closing): same
        case (.lost, .connecting): next.generation == last.generation + 1
        case (.lost, .closed), (.closing, .closed): same
        default: false
        }
    }
}

private struct Walk {
    var machine: ZooKeeperSessionMachine
    var now: ContinuousClock.Instant
    var generator = SplitMix(seed: 1)

    init(_ settings: ZooKeeperSessionMachine.Settings, at now: ContinuousClock.Instant) {
        self.machine = ZooKeeperSessionMachine(settings: settings)
        self.now = now
    }

    mutating func event(_ event: ZooKeeperSessionMachine.Event) -> [ZooKeeperSessionMachine.Action] {
        self.machine.event(event, at: self.now, using: &self.generator)
    }
}
