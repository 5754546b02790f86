import NIOCore
import TestKit
import Testing

@testable import Storage

@Suite struct RedisRequestQueueTests {
    private let now = NIODeadline.uptimeNanoseconds(0)

    private func queue(requestsMax: Int = 10, bytesMax: Int = 100) -> RedisRequestQueue<Int> { RedisRequestQueue(requestsMax: requestsMax, bytesMax: bytesMax) }

    @Test func bothBoundsHold() {
        var queue = self.queue()
        // What is larger than a bound could otherwise never be sent.
        #expect(queue.objection(toAdding: 11, bytes: 101) == nil)
        queue.add(1, count: 6, bytes: 60, at: self.now)
        #expect(queue.objection(toAdding: 4, bytes: 40) == nil)
        #expect(queue.objection(toAdding: 5, bytes: 1)?.contains("6 requests are waiting for Redis") == true)
        #expect(queue.objection(toAdding: 1, bytes: 41)?.contains("60 bytes are waiting for Redis") == true)
        for _ in 0..<6 { _ = queue.received(.success(.null)) }
        #expect(queue.requests == 0 && queue.bytes == 0 && queue.oldest == nil)
    }

    @Test func whatWasNotWrittenIsSaidToBeNotSent() {
        var queue = self.queue()
        queue.add(1, count: 2, bytes: 1, at: self.now)
        queue.mayHaveWrittenAll()
        queue.add(2, count: 3, bytes: 1, at: self.now + .seconds(1))
        queue.didWrite(1)
        #expect(queue.oldest == self.now)
        _ = queue.received(.success(.integer(1)))
        let ended = queue.end("gone")
        #expect(ended.map(\.waiter) == [1, 2])
        #expect(
            ended.map(\.results) == [
                [.success(.integer(1)), .failure(.noReply("gone"))], [.failure(.noReply("gone"))] + Array(repeating: .failure(.notSent("gone")), count: 2),
            ])
        #expect(queue.requests == 0 && queue.end("gone").isEmpty)
    }

    @Test func aReplyProvesThatItsRequestWasWritten() {
        var queue = self.queue()
        queue.add(1, count: 1, bytes: 1, at: self.now)
        queue.add(2, count: 1, bytes: 1, at: self.now)
        guard case .complete(1, [.success(.null)]) = queue.received(.success(.null)) else { return #expect(Bool(false)) }
        // A late report of the write of the first says nothing about the second.
        #expect(queue.end("gone").map(\.results) == [[.failure(.notSent("gone"))]])
        guard case .unexpected = queue.received(.success(.null)) else { return #expect(Bool(false)) }
    }

    /// Against the plainest model: a list of requests, each with its group and whether it was written.
    @Test(arguments: 0..<100) func eachRequestGetsOneResultInOrder(seed: UInt64) {
        var random = SplitMix(seed: seed)
        var queue = self.queue(requestsMax: 30, bytesMax: 1000)
        var model: [(group: Int, count: Int, bytes: Int, at: NIODeadline, isWritten: Bool)] = []
        var results: [Int: [RedisRequestQueue<Int>.Outcome]] = [:]
        var (group, number, now) = (0, Int64(0), self.now)
        func finished(_ waiter: Int, _ outcomes: [RedisRequestQueue<Int>.Outcome]) {
            #expect(results.removeValue(forKey: waiter) == outcomes)
        }
        for _ in 0..<400 {
            now = now + .milliseconds(1)
            switch random.below(10) {
            case 0..<4:
                let (count, bytes) = (1 + random.below(4), random.below(100))
                let isFull =
                    !model.isEmpty
                    && (model.count + count > 30 || Set(model.map(\.group)).reduce(0) { sum, id in sum + model.first { $0.group == id }!.bytes } + bytes > 1000)
                #expect((queue.objection(toAdding: count, bytes: bytes) != nil) == isFull)
                guard !isFull else { continue }
                group += 1
                results[group] = []
                queue.add(group, count: count, bytes: bytes, at: now)
                model += (0..<count).map { _ in (group, count, bytes, now, false) }
                if random.chance(50) {
                    queue.mayHaveWrittenAll()
                    for index in model.indices { model[index].isWritten = true }
                }
            case 4..<6:
                guard let index = model.firstIndex(where: { !$0.isWritten }) else { continue }
                queue.didWrite(1)
                model[index].isWritten = true
            case 6..<9:
                guard let first = model.first else {
                    guard case .unexpected = queue.received(.success(.null)) else { return #expect(Bool(false)) }
                    continue
                }
                model.removeFirst()
                number += 1
                results[first.group]!.append(.success(.integer(number)))
                switch queue.received(.success(.integer(number))) {
                case .incomplete: #expect(model.first?.group == first.group)
                case .complete(let waiter, let outcomes):
                    #expect(waiter == first.group && model.first?.group != first.group)
                    finished(waiter, outcomes)
                case .unexpected: #expect(Bool(false))
                }
            default:
                guard random.chance(20) else { continue }
                for request in model { results[request.group]!.append(.failure(request.isWritten ? .noReply("x") : .notSent("x"))) }
                let expected = Set(model.map(\.group))
                let ended = queue.end("x")
                #expect(Set(ended.map(\.waiter)) == expected && ended.map(\.waiter) == ended.map(\.waiter).sorted())
                for (waiter, outcomes) in ended { finished(waiter, outcomes) }
                model = []
            }
            #expect(queue.requests == model.count && queue.oldest == model.first?.at)
        }
    }
}
