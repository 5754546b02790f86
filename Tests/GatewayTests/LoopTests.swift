import NIOCore
import TestKit
import Testing

@testable import Gateway

private final class Connection: LoopConnection {
    var id = ConnectionID(slot: 0, generation: 0)
    var deadline = 0
    var wheelSecond = 0

    func deadlineReached() {}
    func stop() {}
    func drain() {}
}

@Suite struct LoopTests {
    @Test(arguments: [1, 2, 3] as [UInt64])
    func responsesAreSentInTheOrderOfRequests(seed: UInt64) {
        var random = SplitMix(seed: seed)
        for _ in 0..<50 {
            var queue = ResponseQueue()
            var output = ByteBuffer()
            var waiting: [(index: UInt64, number: Int)] = []
            var asked = 0
            let closing = random.below(3) == 0 ? random.below(40) : Int.max
            var isClosed = false
            for _ in 0..<100 where !isClosed {
                if random.below(2) == 0 || waiting.isEmpty {
                    waiting.append((queue.reserve(), asked))
                    asked += 1
                } else {
                    let (index, number) = waiting.remove(at: random.below(waiting.count))
                    isClosed = queue.complete(index, with: ByteBuffer(string: "\(number) "), closes: number == closing, into: &output)
                    #expect(!queue.complete(index + 1000, with: ByteBuffer(string: "no"), closes: true, into: &output))
                }
            }
            while let (index, number) = waiting.popLast(), !isClosed {
                isClosed = queue.complete(index, with: ByteBuffer(string: "\(number) "), closes: number == closing, into: &output)
            }
            let expected = (0..<min(asked, closing == .max ? asked : closing + 1)).map { "\($0) " }.joined()
            #expect(String(buffer: output) == expected, "seed \(seed)")
            #expect(queue.count == 0 && isClosed == (closing < asked), "seed \(seed)")
        }
    }

    @Test(arguments: [1, 2] as [UInt64])
    func theConnectionTableFindsOnlyOpenConnections(seed: UInt64) {
        var random = SplitMix(seed: seed)
        var table = ConnectionTable()
        var open: [Connection] = []
        var gone: [ConnectionID] = []
        for _ in 0..<2000 {
            if random.below(2) == 0 || open.isEmpty {
                open.append(Connection())
                table.add(open.last!)
            } else {
                let connection = open.remove(at: random.below(open.count))
                gone.append(connection.id)
                table.remove(connection.id)
                table.remove(connection.id)
            }
            #expect(table.count == open.count, "seed \(seed)")
        }
        for connection in open { #expect(table[connection.id] === connection) }
        for id in gone { #expect(table[id] == nil) }
        var seen: [ObjectIdentifier] = []
        var next: Int? = 0
        while let start = next {
            let slice = table.slice(from: start, limit: 7)
            #expect(slice.connections.count <= 7)
            seen += slice.connections.map { ObjectIdentifier($0) }
            next = slice.next
        }
        #expect(seen.count == open.count && Set(seen) == Set(open.map { ObjectIdentifier($0) }), "seed \(seed)")
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func aSweepVisitsEverySlotOnceInARound(seed: UInt64) {
        var random = SplitMix(seed: seed)
        for _ in 0..<200 {
            let steps = 1 + random.below(50)
            var count = random.below(200)
            var sweep = DrainSweep(steps: steps)
            for _ in 0..<3 {
                let atStart = count
                var met: [Int] = []
                for _ in 0..<steps {
                    met += sweep.next(of: count)
                    count += random.below(3) == 0 ? random.below(40) : 0
                }
                #expect(met == Array(0..<met.count) && met.count >= atStart && met.count <= count, "seed \(seed)")
            }
        }
    }

    @Test func aSweepIsEvenlySpread() {
        var sweep = DrainSweep(steps: 150)
        let sizes = (0..<150).map { _ in sweep.next(of: 20_000).count }
        #expect(sizes.max()! - sizes.min()! <= 1)
    }

    @Test(arguments: [1, 2] as [UInt64])
    func everyTimerWheelEntryIsDueOnce(seed: UInt64) {
        var random = SplitMix(seed: seed)
        var wheel = TimerWheel()
        var due: [Int: [UInt32]] = [:]
        var waiting: [UInt32] = []
        var number: UInt32 = 0
        for now in 0..<1000 {
            wheel.turn(to: now)
            waiting += due[now] ?? []
            // Not all due entries are handled before the next second.
            for _ in 0..<random.below(4) where !waiting.isEmpty { #expect(wheel.popDue()?.id.slot == waiting.removeFirst(), "seed \(seed), second \(now)") }
            #expect(wheel.hasDue != waiting.isEmpty, "seed \(seed), second \(now)")
            for _ in 0..<random.below(4) {
                let second = now + random.below(300) - 20
                wheel.add(ConnectionID(slot: number, generation: 0), at: second, now: now)
                // An entry is due in the next second at the earliest. An entry too far in the future is due early, and its owner adds it again.
                due[min(max(second, now + 1), now + TimerWheel.slots - 1), default: []].append(number)
                number += 1
            }
        }
    }
}
