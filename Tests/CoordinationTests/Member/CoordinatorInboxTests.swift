import Partitioning
import Testing

@testable import Coordination

@Suite struct CoordinatorInboxTests {
    private static func event(_ number: Int) -> ClusterMachine.Event { .fault(String(number)) }

    private static func numbers(_ events: [ClusterMachine.Event]?) -> [Int] {
        (events ?? []).compactMap { if case .fault(let text) = $0 { Int(text) } else { nil } }
    }

    @Test func allEventsAreTakenInOrder() async {
        let inbox = CoordinatorInbox()
        inbox.put(Self.event(1))
        await inbox.offer(Self.event(2))
        inbox.put(Self.event(3))
        #expect(Self.numbers(await inbox.take()) == [1, 2, 3])
        inbox.finish()
        #expect(Self.numbers(await inbox.take()).isEmpty)
    }

    @Test func aReaderWaitsForTheFirstEvent() async {
        let inbox = CoordinatorInbox()
        async let taken = inbox.take()
        inbox.put(Self.event(7))
        #expect(Self.numbers(await taken) == [7])
    }

    /// Events from peers wait while the inbox is full. Events that the coordinator causes do not wait.
    @available(macOS 26, *)
    @Test func anOfferWaitsWhileTheInboxIsFull() async {
        let inbox = CoordinatorInbox()
        for number in 0..<CoordinatorInbox.countMax { await inbox.offer(Self.event(number)) }
        // The task runs up to its first wait before the next event is added.
        let offer = Task.immediate { await inbox.offer(Self.event(1000)) }
        inbox.put(Self.event(999))
        // The offered event is not among the first events: it waited until they were taken.
        #expect(Self.numbers(await inbox.take()) == Array(0..<CoordinatorInbox.countMax) + [999])
        #expect(Self.numbers(await inbox.take()) == [1000])
        await offer.value
    }

    /// An event from a peer may contain several megabytes.
    @available(macOS 26, *)
    @Test func anOfferWaitsWhileTheInboxHasTooManyBytes() async {
        func message(_ number: Int64, megabytes: Int) -> ClusterMachine.Event {
            .received(from: ProcessID(id: "n2", incarnation: number), payload: [UInt8](repeating: 0, count: megabytes << 20))
        }
        func numbers(_ events: [ClusterMachine.Event]?) -> [Int64] {
            (events ?? []).compactMap { if case .received(let process, _) = $0 { process.incarnation } else { nil } }
        }
        let inbox = CoordinatorInbox()
        await inbox.offer(message(1, megabytes: 8))
        await inbox.offer(message(2, megabytes: 7))
        // The task runs up to its first wait before the events are taken.
        let offers = Task.immediate {
            await inbox.offer(message(3, megabytes: 8))
            // This event is larger than the inbox. It is accepted when the inbox is empty.
            await inbox.offer(message(4, megabytes: 20))
            // A reader gets nil instead of waiting if an event came too early.
            inbox.finish()
        }
        #expect(numbers(await inbox.take()) == [1, 2])
        #expect(numbers(await inbox.take()) == [3])
        #expect(numbers(await inbox.take()) == [4])
        await offers.value
    }

    @available(macOS 26, *)
    @Test func theEndOfTheInboxEndsTheWaitOfAnOffer() async {
        let inbox = CoordinatorInbox()
        for number in 0..<CoordinatorInbox.countMax { await inbox.offer(Self.event(number)) }
        // The task runs up to its first wait before the next event is added.
        let offer = Task.immediate { await inbox.offer(Self.event(1000)) }
        inbox.finish()
        await offer.value
        // Events in the inbox can still be taken, but no new event is accepted.
        inbox.put(Self.event(1001))
        #expect(Self.numbers(await inbox.take()) == Array(0..<CoordinatorInbox.countMax))
        #expect(Self.numbers(await inbox.take()).isEmpty)
    }

    @Test func aCancelledReaderReturns() async {
        let inbox = CoordinatorInbox()
        let task = Task { Self.numbers(await inbox.take()).isEmpty }
        task.cancel()
        #expect(await task.value)
    }
}
