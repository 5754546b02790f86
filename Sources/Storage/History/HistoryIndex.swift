package import DequeModule
package import Pipeline

/// The recent history of all channels, in memory: the last events of each channel, and its head.
///
/// A channel's entries are contiguous, so an entry stores no position: its distance to the last entry is its distance to the
/// head. The head stays after the entries are removed, until the channel is forgotten.
///
/// `Element` is what the log stores for an event: the event itself, or the number of its row.
///
/// Not synchronized: its owner protects it.
package struct HistoryIndex<Element> {
    package struct Entry {
        package var element: Element
        /// The time of appending, on the steady clock. Never decreases within a channel.
        package var timestamp: Int64
        /// What the bounds count for it.
        var accountedBytes: UInt32
    }

    package struct Channel {
        /// Nil while this place is free.
        var name: ChannelName?
        package var head: Position
        /// When the head was written, on the steady clock.
        package var timestamp: Int64
        package var entries: Deque<Entry>
        /// How many of this channel's places in `order`, from the oldest on, belong to removed entries.
        var buried: Int
    }

    package let bounds: Bounds
    /// The number of entries of all channels.
    package internal(set) var count = 0
    /// What the bounds count for them together.
    package internal(set) var accountedBytes = 0

    var channels: [Channel] = []
    var places: [ChannelName: UInt32] = [:]
    var freePlaces: [UInt32] = []
    /// One place in `channels` for each appended entry, oldest first: the order in which the limit on the total removes entries.
    ///
    /// An entry that is removed earlier, by its channel's own limit, leaves its place here and is counted in `buried`. A channel's entries are removed
    /// oldest first, so the first `buried` places of a channel are the dead ones, and four bytes for each entry are enough.
    var order: Deque<UInt32> = []

    package init(bounds: Bounds) {
        self.bounds = bounds
    }

    /// Channels whose head is remembered.
    package var channelCount: Int { self.places.count }

    /// The head of a channel. Nil if it is not remembered.
    package func head(of channel: ChannelName) -> Position? {
        self.places[channel].map { self.channels[Int($0)].head }
    }

    /// Appends an entry and lets go of what is beyond the bounds on count and bytes. Age is ``removeExpired(now:limit:)``'s.
    ///
    /// A position that is not beyond the channel's head is there already, and nothing happens. One that is further on than the next means that
    /// continuity was lost: the entries before it go.
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
            self.channels[index].buried += 1
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
        // `buried` stays: the next channel in this place inherits the dead places in `order`, which are older than its own.
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
            self.channels.append(Channel(name: channel, head: before, timestamp: 0, entries: [], buried: 0))
        }
        self.places[channel] = place
        return place
    }
}

extension HistoryIndex {
    /// The limits on the history.
    package struct Bounds: Sendable, Equatable {
        /// Entries of one channel.
        package var eventsMax: Int
        package var ageMillisecondsMax: Int64
        /// Of all channels' entries together.
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
