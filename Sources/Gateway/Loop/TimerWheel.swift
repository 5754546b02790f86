import DequeModule

/// Deadlines of one loop's connections, in whole seconds. Pure; the loop calls `turn` every second.
///
/// Every connection has a deadline and often moves it. NIO's timers are too expensive for this: each timer needs allocations, and cancelling a timer searches
/// all timers. With this wheel, moving a deadline to a later second only stores a number in the connection. That number is read when the old entry is due.
struct TimerWheel {
    static let slots = 128

    struct Entry: Equatable {
        var id: ConnectionID
        var second: Int
    }

    private var buckets: [[Entry]] = Array(repeating: [], count: Self.slots)
    /// Due entries that have not been handled yet, oldest first.
    private var due: Deque<Entry> = []

    mutating func add(_ id: ConnectionID, at second: Int, now: Int) {
        let second = min(max(second, now + 1), now + Self.slots - 1)
        self.buckets[second % Self.slots].append(Entry(id: id, second: second))
    }

    /// Advances by one second. Entries of previous seconds that have not been handled remain due, and are handled first.
    mutating func turn(to second: Int) {
        let index = second % Self.slots
        self.due.append(contentsOf: self.buckets[index])
        self.buckets[index] = []
    }

    var hasDue: Bool { !self.due.isEmpty }

    mutating func popDue() -> Entry? {
        let entry = self.due.popFirst()
        // This releases the memory after a second with many entries.
        if self.due.isEmpty { self.due = [] }
        return entry
    }
}

/// A slot in a loop's connection table. The generation distinguishes the connections that have used the same slot.
struct ConnectionID: Hashable, Sendable {
    var slot: UInt32
    var generation: UInt32
}
