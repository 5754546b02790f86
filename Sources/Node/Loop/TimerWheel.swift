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

    mutating func add(_ id: ConnectionID, at second: Int, now: Int) {
        let second = min(max(second, now + 1), now + Self.slots - 1)
        self.buckets[second % Self.slots].append(Entry(id: id, second: second))
    }

    /// The entries whose second has come.
    mutating func take(_ second: Int) -> [Entry] {
        let index = second % Self.slots
        let entries = self.buckets[index]
        self.buckets[index] = []
        return entries
    }
}

/// A place in a loop's connection table, and which of its occupants over time is meant.
struct ConnectionID: Hashable, Sendable {
    var slot: UInt32
    var generation: UInt32
}
