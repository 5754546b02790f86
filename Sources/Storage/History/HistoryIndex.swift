package import DequeModule
package import Pipeline

/// The recent history of all channels, in memory: the last events of each channel, and its head.
///
/// A channel's entries are contiguous, so an entry stores no position: its distance to the last entry is its distance to the
/// head. The head stays after the entries are removed, until the channel is forgotten.
///
/// `Element` is the log's own value for an event: the event itself, or the number of its row.
///
/// Not synchronized: a log accesses its index only under a lock.
package struct HistoryIndex<Element> {
    package struct Entry {
        package var element: Element
        /// The time of appending, on the steady clock. Never decreases within a channel.
        package var timestamp: Int64
        /// The event's size, as the bounds count it.
        var accountedBytes: UInt32
    }

    package struct Channel {
        /// The channel's name. Nil while this place is free.
        var name: ChannelName?
        package var head: Position
        /// When the head was written, on the steady clock.
        package var timestamp: Int64
        package var entries: Deque<Entry>
        /// The number of this channel's places in `order` that belong to removed entries. These are the channel's oldest places in `order`.
        var deadPlaces: Int
    }

    package let bounds: Bounds
    /// The number of entries of all channels.
    package internal(set) var count = 0
    /// The size of all entries, as the bounds count it.
    package internal(set) var accountedBytes = 0

    var channels: [Channel] = []
    var places: [ChannelName: UInt32] = [:]
    var freePlaces: [UInt32] = []
    /// For each appended entry, the place of its channel in `channels`. Oldest first: the limit on the total size removes entries in this order.
    ///
    /// If an entry is removed earlier, by its channel's own limit, its place stays here and is counted in the channel's `deadPlaces`. A channel's entries are
    /// removed oldest first, so the first `deadPlaces` places of a channel are dead. So an entry of `order` needs only four bytes.
    var order: Deque<UInt32> = []

    package init(bounds: Bounds) {
        self.bounds = bounds
    }

    /// The number of channels whose head is remembered.
    package var channelCount: Int { self.places.count }

    /// The head of a channel. Nil if it is not remembered.
    package func head(of channel: ChannelName) -> Position? {
        self.places[channel].map { self.channels[Int($0)].head }
    }

    /// Returns true if the channel has no event at or after this time.
    package func isIdle(_ channel: ChannelName, since oldest: Int64) -> Bool {
        self.places[channel].map { self.channels[Int($0)].timestamp < oldest } ?? true
    }

    /// Appends an entry, then removes entries that exceed the bounds on count and bytes. ``removeExpired(now:limit:)`` handles the bound on age.
    ///
    /// If the position is at or before the channel's head, the event is already in the index, and nothing changes. If the position is not the next one,
    /// continuity was lost, and the channel's earlier entries are removed.
    package mutating func append(_ element: Element, to channel: ChannelName, at position: Position, timestamp: Int64, bytes: Int) {
        let place = self.place(of: channel, at: position)
        let index = Int(place)
        guard self.channels[index].head < position else { return }
        if self.channels[index].head.next != position { self.removeEntries(at: index) }
        let newest = self.channels[index].entries.last?.timestamp ?? timestamp
        let bytes = UInt32(clamping: bytes)
        self.channels[index].entries.append(Entry(element: element, timestamp: max(timestamp, newest), accountedBytes: bytes))
        self.channels[index].head = position
        self.channels[index].timestamp = timestamp
        self.order.append(place)
        self.count += 1
        self.accountedBytes += Int(bytes)

        while self.channels[index].entries.count > self.bounds.eventsMax {
            self.dropFirst(at: index)
            self.channels[index].deadPlaces += 1
        }
        while self.accountedBytes > self.bounds.bytesMax { self.removeOldest() }
        self.compactIfWorthwhile()
    }

    /// Takes over a channel of another index. Everything that this index has of the channel is replaced.
    ///
    /// The entries are consecutive, and the last one is at the head. They may be older than entries of other channels that were appended before. Their memory may
    /// then be released later, but readers skip expired entries.
    mutating func adopt(_ channel: ChannelName, head: Position, timestamp: Int64, entries: Deque<Entry>) {
        self.forget(channel)
        let place = self.place(of: channel, at: head)
        let index = Int(place)
        self.channels[index].head = head
        self.channels[index].timestamp = timestamp
        self.channels[index].entries = entries
        self.order.append(contentsOf: repeatElement(place, count: entries.count))
        self.count += entries.count
        for entry in entries { self.accountedBytes += Int(entry.accountedBytes) }
        while self.channels[index].entries.count > self.bounds.eventsMax {
            self.dropFirst(at: index)
            self.channels[index].deadPlaces += 1
        }
        while self.accountedBytes > self.bounds.bytesMax { self.removeOldest() }
        self.compactIfWorthwhile()
    }

    /// Remembers the head of a channel without entries. A higher head stays.
    package mutating func remember(_ channel: ChannelName, head: Position, timestamp: Int64) {
        let index = Int(self.place(of: channel, at: head))
        guard self.channels[index].head < head else { return }
        self.removeEntries(at: index)
        self.channels[index].head = head
        self.channels[index].timestamp = timestamp
    }

    /// Forgets a channel: its head and its entries.
    package mutating func forget(_ channel: ChannelName) {
        guard let place = self.places.removeValue(forKey: channel) else { return }
        let index = Int(place)
        self.removeEntries(at: index)
        self.channels[index].name = nil
        // `deadPlaces` stays: the next channel in this place takes over the dead places in `order`, which are older than its own places.
        self.freePlaces.append(place)
        self.compactIfWorthwhile()
    }

    /// The channel's place. A new channel begins just before `position`, as if earlier events had been trimmed.
    private mutating func place(of channel: ChannelName, at position: Position) -> UInt32 {
        if let place = self.places[channel] { return place }
        let before = Position(epoch: position.epoch, offset: position.offset == 0 ? 0 : position.offset - 1)
        let place: UInt32
        if let free = self.freePlaces.popLast() {
            place = free
            self.channels[Int(free)].name = channel
            self.channels[Int(free)].head = before
            self.channels[Int(free)].timestamp = 0
        } else {
            place = UInt32(self.channels.count)
            self.channels.append(Channel(name: channel, head: before, timestamp: 0, entries: [], deadPlaces: 0))
        }
        self.places[channel] = place
        return place
    }
}

extension HistoryIndex {
    /// The limits on the history.
    package struct Bounds: Sendable, Equatable {
        /// The most entries of one channel.
        package var eventsMax: Int
        package var ageMillisecondsMax: Int64
        /// The most bytes of all channels' entries together.
        package var bytesMax: Int

        package init(eventsMax: Int, ageMillisecondsMax: Int64, bytesMax: Int) {
            self.eventsMax = eventsMax
            self.ageMillisecondsMax = ageMillisecondsMax
            self.bytesMax = bytesMax
        }

        package init(_ limits: Limits) {
            self.init(
                eventsMax: limits.historyEventsMax,
                ageMillisecondsMax: Int64(limits.historySecondsMax) * 1000,
                bytesMax: limits.historyBytesMax
            )
        }

        /// Everything written before this time has expired.
        package func horizon(now: Int64) -> Int64 { now - self.ageMillisecondsMax }
    }
}

extension HistoryIndex: Sendable where Element: Sendable {}
extension HistoryIndex.Channel: Sendable where Element: Sendable {}
extension HistoryIndex.Entry: Sendable where Element: Sendable {}
