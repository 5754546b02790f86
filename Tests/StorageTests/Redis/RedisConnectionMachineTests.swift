import NIOCore
import TestKit
import Testing

@testable import Storage

@Suite struct RedisConnectionMachineTests {
    private typealias Machine = RedisConnectionMachine

    /// A machine with its random numbers, and the wait that it asked for last.
    private struct Walk {
        var machine: Machine
        var random: SplitMix
        var wake: (turn: Int, after: TimeAmount)?

        init(seed: UInt64 = 1) {
            self.machine = Machine(settings: RedisClientSettings(), place: "h:1")
            self.random = SplitMix(seed: seed)
        }

        /// Without the waits, which have random lengths.
        mutating func event(_ event: Machine.Event) -> [Machine.Action] {
            self.machine.event(event, using: &self.random).filter {
                guard case .wake(let turn, let time) = $0 else { return true }
                self.wake = (turn, time)
                return false
            }
        }

        mutating func ready() {
            _ = self.event(.started)
            _ = self.event(.opened(attempt: 1))
            _ = self.event(.judged(attempt: 1, .accepted))
        }

        /// The wait is over.
        mutating func wait() -> [Machine.Action] { self.event(.woke(turn: self.wake!.turn)) }
    }

    @Test func aConnectionIsMadeLostAndMadeAgain() {
        var walk = Walk()
        #expect(walk.machine.problem == "Redis at h:1 is not connected yet")
        #expect(walk.event(.started) == [.open(attempt: 1)])
        #expect(walk.event(.opened(attempt: 1)) == [.handshake(attempt: 1)])
        #expect(walk.machine.problem != nil)
        #expect(walk.event(.judged(attempt: 1, .accepted)) == [.serve(generation: 1), .log(.connected)])
        #expect(walk.machine.problem == nil && walk.machine.state == .ready)
        #expect(walk.event(.lost(attempt: 1, "gone")) == [.drop(attempt: 1, "gone"), .log(.lost("gone"))])
        #expect(walk.machine.problem == "gone" && walk.machine.state == .disconnected)
        #expect(walk.event(.ended(attempt: 1)) == [])
        #expect(walk.wait() == [.open(attempt: 2)])
        // Logged once for all attempts.
        #expect(walk.event(.openingFailed(attempt: 2, "refused")) == [])
        #expect(walk.machine.problem == "refused")
        #expect(walk.wait() == [.open(attempt: 3)])
        #expect(walk.event(.opened(attempt: 3)) == [.handshake(attempt: 3)])
        #expect(walk.event(.judged(attempt: 3, .accepted)) == [.serve(generation: 2), .log(.back)])
        #expect(walk.event(.lost(attempt: 3, "again")) == [.drop(attempt: 3, "again"), .log(.lost("again"))])
    }

    @Test func aHandshakeWithoutRepliesEnds() {
        var walk = Walk()
        _ = walk.event(.started)
        _ = walk.event(.opened(attempt: 1))
        let sentence = "Redis at h:1 sent no reply to the first requests in 2000 ms"
        #expect(walk.wake?.after == .seconds(2))
        #expect(walk.wait() == [.drop(attempt: 1, sentence), .log(.lost(sentence))])
    }

    @Test func aRefusalIsLoggedOnceForEachReason() {
        var walk = Walk()
        var attempt = 0
        func refuse(_ walk: inout Walk, _ reason: String) -> [Machine.Action] {
            attempt += 1
            _ = attempt == 1 ? walk.event(.started) : walk.wait()
            _ = walk.event(.opened(attempt: attempt))
            let actions = walk.event(.judged(attempt: attempt, .refused(reason)))
            #expect(walk.machine.state == .refused && walk.machine.problem == reason)
            #expect(walk.wake!.after >= .seconds(1) && walk.wake!.after <= .seconds(2))
            return actions
        }
        #expect(refuse(&walk, "a") == [.drop(attempt: 1, "a"), .log(.refused("a"))])
        #expect(refuse(&walk, "a") == [.drop(attempt: 2, "a")])
        #expect(refuse(&walk, "b") == [.drop(attempt: 3, "b"), .log(.refused("b"))])
        _ = walk.wait()
        _ = walk.event(.opened(attempt: 4))
        #expect(walk.event(.judged(attempt: 4, .accepted)) == [.serve(generation: 1), .log(.back)])
    }

    @Test func aReadyServerIsAskedAgainAndMayBeRefused() {
        var walk = Walk()
        walk.ready()
        for _ in 0..<3 {
            #expect(walk.wake?.after == .seconds(1))
            #expect(walk.wait() == [.refresh(attempt: 1)])
            #expect(walk.event(.judged(attempt: 1, .accepted)) == [])
        }
        #expect(walk.event(.judged(attempt: 1, .refused("a replica"))) == [.drop(attempt: 1, "a replica"), .log(.refused("a replica"))])
        #expect(walk.machine.state == .refused)
    }

    @Test func theWaitDoublesWithEachFailureAndIsShortenedAtRandom() {
        var waits: Set<Int64> = []
        for seed in 0..<20 {
            var walk = Walk(seed: UInt64(seed))
            _ = walk.event(.started)
            for failure in 0..<40 {
                _ = walk.event(.openingFailed(attempt: failure + 1, "refused"))
                let full = failure < 6 ? TimeAmount.milliseconds(50 << Int64(failure)) : .seconds(2)
                #expect(walk.wake!.after <= full && walk.wake!.after.nanoseconds >= full.nanoseconds / 2)
                if failure == 39 { waits.insert(walk.wake!.after.nanoseconds) }
                _ = walk.wait()
            }
            // A connection forgives them all.
            _ = walk.event(.opened(attempt: 41))
            _ = walk.event(.judged(attempt: 41, .accepted))
            _ = walk.event(.lost(attempt: 41, "gone"))
            #expect(walk.wake!.after <= .milliseconds(50))
        }
        #expect(waits.count > 10)
    }

    @Test func closingWaitsForTheConnection() {
        var walk = Walk()
        walk.ready()
        let sentence = "this node has closed its connection to Redis at h:1"
        #expect(walk.event(.closingRequested) == [.drop(attempt: 1, sentence)])
        #expect(walk.event(.closingRequested) == [] && walk.machine.problem == sentence)
        #expect(walk.event(.lost(attempt: 1, "gone")) == [])
        #expect(walk.event(.ended(attempt: 1)) == [.finish])
        #expect(walk.event(.started) == [] && walk.machine.state == .closed)
        // While it is being opened it cannot be dropped yet.
        var opening = Walk()
        _ = opening.event(.started)
        #expect(opening.event(.closingRequested) == [])
        #expect(opening.event(.opened(attempt: 1)) == [.drop(attempt: 1, sentence)])
        #expect(opening.event(.ended(attempt: 1)) == [.finish])
        var failing = Walk()
        _ = failing.event(.started)
        _ = failing.event(.closingRequested)
        #expect(failing.event(.openingFailed(attempt: 1, "refused")) == [.finish])
        var idle = Walk()
        #expect(idle.event(.closingRequested) == [.finish])
    }

    /// What the comments on the states say.
    private static let successors: [Machine.State: Set<Machine.State>] = [
        .idle: [.connecting, .closed], .connecting: [.handshaking, .disconnected, .closing], .handshaking: [.ready, .disconnected, .refused, .closing],
        .ready: [.disconnected, .refused, .closing], .disconnected: [.connecting, .closed], .refused: [.connecting, .closed], .closing: [.closed], .closed: [],
    ]

    /// Everything may happen at any time, and for attempts and waits that are over.
    @Test(arguments: 0..<200) func anyOrderOfEventsKeepsTheTransitions(seed: UInt64) {
        var walk = Walk(seed: seed)
        var random = SplitMix(seed: seed ^ 0xABCD)
        var seen: Set<Machine.State> = [.idle]
        // The attempt whose connection is open and not dropped.
        var live: Int?
        var turns: [Int] = []
        var isFinished = false
        for _ in 0..<600 {
            let before = (state: walk.machine.state, generation: walk.machine.generation, turn: walk.wake?.turn)
            let attempt = max(0, walk.machine.attempt - (random.chance(80) ? 0 : 1))
            let sentence = "reason \(random.below(3))"
            let event: Machine.Event =
                switch random.below(100) {
                case 0..<5: .started
                case 5..<25: .opened(attempt: attempt)
                case 25..<35: .openingFailed(attempt: attempt, sentence)
                case 35..<50: .judged(attempt: attempt, .accepted)
                case 50..<53: .judged(attempt: attempt, .unavailable(sentence))
                case 53..<58: .judged(attempt: attempt, .refused(sentence))
                case 58..<68: .lost(attempt: attempt, sentence)
                case 68..<69: random.chance(20) ? .closingRequested : .started
                case 69..<75: .ended(attempt: attempt)
                case 75..<95: .woke(turn: before.turn ?? 0)
                default: .woke(turn: turns.randomElement(using: &random) ?? 0)
                }
            let isStale = if case .opened(let attempt) = event { attempt != walk.machine.attempt } else { false }
            let actions = walk.event(event)
            let state = walk.machine.state
            if let turn = walk.wake?.turn, turns.last != turn { turns.append(turn) }
            seen.insert(state)
            #expect(state == before.state || Self.successors[before.state]!.contains(state), "\(before.state) -> \(state) by \(event)")
            #expect((walk.machine.problem == nil) == (state == .ready))
            #expect(walk.machine.generation == before.generation + (actions.contains(.serve(generation: before.generation + 1)) ? 1 : 0))
            #expect((state == .ready && before.state != .ready) == (walk.machine.generation > before.generation))
            for action in actions {
                #expect(!isFinished || isStale, "\(action) after the end")
                switch action {
                case .open(let attempt):
                    #expect(live == nil && attempt == walk.machine.attempt && state == .connecting)
                case .handshake(let attempt):
                    #expect(live == nil && state == .handshaking)
                    live = attempt
                case .serve: #expect(live == walk.machine.attempt)
                case .refresh(let attempt): #expect(live == attempt && state == .ready)
                case .drop(let attempt, _):
                    if live == attempt { live = nil } else { #expect(isStale || state == .closing) }
                case .finish:
                    #expect(live == nil && state == .closed)
                    isFinished = true
                case .wake, .log: break
                }
            }
            #expect((live != nil) == (state == .handshaking || state == .ready))
            // A state that waits has a wait that ends it.
            switch state {
            case .disconnected, .refused, .handshaking, .ready:
                var copy = walk
                #expect(!copy.wait().isEmpty)
            case .idle, .connecting, .closing, .closed: break
            }
        }
        if seed == 0 { #expect(seen.count > 4) }
    }
}
