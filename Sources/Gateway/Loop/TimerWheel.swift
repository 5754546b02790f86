import DequeModule

/// Deadlines of one loop's connections, in whole seconds. Pure; driven once a second.
///
/// NIO's own timers cost allocations each and a search of all of them to cancel one; a connection has a deadline at all times and moves it often. Here
/// moving a deadline later is a store, and a deadline that was moved is found out when the old one comes round.
struct TimerWheel {
    static let slots = 128

    struct Entry: Equatable {
        var id: ConnectionID
        var second: Int
    }

    private var buckets: [[Entry]] = Array(repeating: [], count: Self.slots)
    /// Entries whose second has come and that nobody has looked at yet, oldest first.
    private var due: Deque<Entry> = []

    mutating func add(_ id: ConnectionID, at second: Int, now: Int) {
        let second = min(max(second, now + 1), now + Self.slots - 1)
        self.buckets[second % Self.slots].append(Entry(id: id, second: second))
    }

    /// A second has come. What is left of the one before goes first.
    mutating func turn(to second: Int) {
        let index = second % Self.slots
        self.due.append(contentsOf: self.buckets[index])
        self.buckets[index] = []
    }

    var hasDue: Bool { !self.due.isEmpty }

    mutating func popDue() -> Entry? {
        let entry = self.due.popFirst()
        // A crowd's second leaves no memory behind.
        if self.due.isEmpty { self.due = [] }
        return entry
    }
}

/// A place in a loop's connection table, and which of its occupants over time is meant.
struct ConnectionID: Hashable, Sendable {
    var slot: UInt32
    var generation: UInt32
}
