import DequeModule
package import Pipeline

extension HistoryIndex {
    /// Consecutive elements of one channel.
    package struct Slice {
        /// Contiguous, oldest first.
        package var elements: [Element]
        /// The position of the first element. Nil if there is no element.
        package var first: Position?
        /// The channel's oldest position in the index that has not expired. Nil if there is none.
        package var oldest: Position?
    }

    /// Elements of a channel after a position, oldest first, at most `limit`. Elements that have expired by `now` are not included.
    package func elements(of channel: ChannelName, after position: Position, limit: Int, now: Int64) -> Slice {
        var slice = Slice(elements: [], first: nil, oldest: nil)
        guard let place = self.places[channel] else { return slice }
        let channel = self.channels[Int(place)]
        let entries = channel.entries
        let held = self.bounds.firstHeld(in: entries, now: now)
        guard held < entries.count else { return slice }

        // The offset of the entry at index 0.
        let base = channel.head.offset - UInt64(entries.count - 1)
        slice.oldest = Position(epoch: channel.head.epoch, offset: base + UInt64(held))
        guard position < channel.head, limit > 0 else { return slice }

        var start = held
        if position.epoch == channel.head.epoch, position.offset >= base { start = max(held, Int(position.offset - base) + 1) }
        let end = start + min(limit, entries.count - start)
        slice.first = Position(epoch: channel.head.epoch, offset: base + UInt64(start))
        slice.elements.reserveCapacity(end - start)
        for index in start..<end { slice.elements.append(entries[index].element) }
        return slice
    }

    /// A channel with its entries, oldest first, including expired ones. Nil if it is not remembered.
    func channel(_ channel: ChannelName) -> Channel? { self.places[channel].map { self.channels[Int($0)] } }

    /// A channel's entries, oldest first, including expired ones.
    func entries(of channel: ChannelName) -> Deque<Entry> { self.channel(channel)?.entries ?? [] }

    /// The remembered channels in `count` places from `start` on, with the times at which their heads were written.
    package func remembered(from place: RememberedPlace, count: Int) -> RememberedSlice {
        let start = Int(place.cursor)
        let end = min(self.channels.count, start + count)
        guard start < end else { return RememberedSlice(channels: [], next: nil) }
        let channels = self.channels[start..<end].compactMap { channel in
            channel.name.map { (channel: $0, head: channel.head, timestamp: channel.timestamp) }
        }
        return RememberedSlice(channels: channels, next: end < self.channels.count ? RememberedPlace(cursor: UInt64(end)) : nil)
    }

    /// The lowest epoch for channels without a head after these channels are forgotten: they must not use a former epoch again.
    package func floor(forgetting channels: [ChannelName]) -> UInt64 {
        channels.reduce(0) { floor, channel in max(floor, self.head(of: channel).map { $0.epoch + 1 } ?? 0) }
    }

    /// All entries of all channels that have not expired by `now`, in the order in which they were appended.
    package func entriesInOrder(now: Int64) -> [Entry] {
        let horizon = self.bounds.horizon(now: now)
        // One number for each channel. While it is negative, it counts the dead places to skip. Then it is the index of the next entry.
        var next = self.channels.map { -$0.deadPlaces }
        var entries: [Entry] = []
        entries.reserveCapacity(self.count)
        for place in self.order {
            let index = next[Int(place)]
            next[Int(place)] += 1
            guard index >= 0 else { continue }
            let entry = self.channels[Int(place)].entries[index]
            if entry.timestamp >= horizon { entries.append(entry) }
        }
        return entries
    }
}

extension HistoryIndex.Bounds {
    /// The index of the first entry that has not expired by `now`. Binary search: timestamps never decrease within a channel.
    func firstHeld(in entries: Deque<HistoryIndex.Entry>, now: Int64) -> Int {
        let horizon = self.horizon(now: now)
        var low = 0
        var high = entries.count
        if let first = entries.first, first.timestamp >= horizon { return 0 }
        while low < high {
            let middle = low + (high - low) / 2
            if entries[middle].timestamp < horizon { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
