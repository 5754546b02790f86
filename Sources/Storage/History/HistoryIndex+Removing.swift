import DequeModule

extension HistoryIndex {
    /// Removes what has expired by `now`, oldest of all first, at most `limit` entries. True if there may be more.
    ///
    /// It stops at the first entry that has not expired, in the order of appending, which is that of the steady clock.
    package mutating func removeExpired(now: Int64, limit: Int) -> Bool {
        let horizon = self.bounds.horizon(now: now)
        return self.removeOldest(limit: limit) { $0.timestamp < horizon }
    }

    /// Removes entries, oldest of all first, while they satisfy the condition, at most `limit`. True if it stopped at the limit.
    package mutating func removeOldest(limit: Int, while condition: (Entry) -> Bool) -> Bool {
        var removed = 0
        while let index = self.placeOfOldest() {
            guard condition(self.channels[index].entries[0]) else { return false }
            guard removed < limit else { return true }
            self.order.removeFirst()
            self.dropFirst(at: index)
            removed += 1
        }
        return false
    }

    /// Removes the oldest entry of all.
    mutating func removeOldest() {
        guard let index = self.placeOfOldest() else { return }
        self.order.removeFirst()
        self.dropFirst(at: index)
    }

    /// Removes a channel's entries. Its places in `order` are dead from now on.
    mutating func removeEntries(at index: Int) {
        let gone = self.channels[index].entries.count
        guard gone > 0 else { return }
        for entry in self.channels[index].entries { self.cost -= Int(entry.cost) }
        self.count -= gone
        self.channels[index].entries = []
        self.channels[index].buried += gone
    }

    /// Removes a channel's oldest entry; the caller accounts for its place in `order`.
    mutating func dropFirst(at index: Int) {
        let entry = self.channels[index].entries.removeFirst()
        // An idle channel gives its storage back: there may be a million of them.
        if self.channels[index].entries.isEmpty { self.channels[index].entries = [] }
        self.cost -= Int(entry.cost)
        self.count -= 1
    }

    /// Where the oldest entry of all is. Passes over the dead places before it.
    private mutating func placeOfOldest() -> Int? {
        while let place = self.order.first {
            let index = Int(place)
            guard self.channels[index].buried > 0 else { return index }
            self.channels[index].buried -= 1
            self.order.removeFirst()
        }
        return nil
    }

    /// Sweeps dead places out of `order` when they are more than the living: a busy channel leaves one behind with every append.
    ///
    /// A sweep passes over every place, but only after as many appends as there are entries, so an append pays for a place or two.
    mutating func compactIfWorthwhile() {
        guard self.order.count > 2 * self.count + 4096 else { return }
        var living: Deque<UInt32> = []
        living.reserveCapacity(self.count)
        for place in self.order {
            if self.channels[Int(place)].buried > 0 {
                self.channels[Int(place)].buried -= 1
            } else {
                living.append(place)
            }
        }
        self.order = living
    }
}
