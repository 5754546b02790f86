import DequeModule

extension HistoryIndex {
    /// Removes entries that have expired by `now`, the oldest of all channels first, at most `limit`. Returns true if there may be more.
    ///
    /// Stops at the first entry that has not expired. Entries are in the order of appending, which is the order of the steady clock.
    package mutating func removeExpired(now: Int64, limit: Int) -> Bool {
        let horizon = self.bounds.horizon(now: now)
        return self.removeOldest(limit: limit) { $0.timestamp < horizon }
    }

    /// Removes entries, the oldest of all channels first, while they satisfy the condition, at most `limit`. Returns true if it stopped at the limit.
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

    /// Removes the oldest entry of all channels.
    mutating func removeOldest() {
        guard let index = self.placeOfOldest() else { return }
        self.order.removeFirst()
        self.dropFirst(at: index)
    }

    /// Removes a channel's entries. The channel's places in `order` become dead.
    mutating func removeEntries(at index: Int) {
        let removed = self.channels[index].entries.count
        guard removed > 0 else { return }
        for entry in self.channels[index].entries { self.accountedBytes -= Int(entry.accountedBytes) }
        self.count -= removed
        self.channels[index].entries = []
        self.channels[index].deadPlaces += removed
    }

    /// Removes a channel's oldest entry. The caller handles its place in `order`.
    mutating func dropFirst(at index: Int) {
        let entry = self.channels[index].entries.removeFirst()
        // An idle channel releases its storage, because there may be a million of them.
        if self.channels[index].entries.isEmpty { self.channels[index].entries = [] }
        self.accountedBytes -= Int(entry.accountedBytes)
        self.count -= 1
    }

    /// The place of the oldest entry of all channels. Removes the dead places before it.
    private mutating func placeOfOldest() -> Int? {
        while let place = self.order.first {
            let index = Int(place)
            guard self.channels[index].deadPlaces > 0 else { return index }
            self.channels[index].deadPlaces -= 1
            self.order.removeFirst()
        }
        return nil
    }

    /// Removes the dead places from `order` when more places are dead than live: a busy channel leaves a dead place with every append.
    ///
    /// The removal visits every place, but happens only after as many appends as there are entries. So on average an append costs one or two visits.
    mutating func compactIfWorthwhile() {
        guard self.order.count > 2 * self.count + 4096 else { return }
        var living: Deque<UInt32> = []
        living.reserveCapacity(self.count)
        for place in self.order {
            if self.channels[Int(place)].deadPlaces > 0 {
                self.channels[Int(place)].deadPlaces -= 1
            } else {
                living.append(place)
            }
        }
        self.order = living
    }
}
