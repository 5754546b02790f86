package import DequeModule
package import Pipeline

/// The recent history of all channels, in memory: what each channel's last events were, and how far it ever got.
///
/// A channel's entries are contiguous, so an entry needs no position of its own: it stands as far behind the head as it stands
/// behind the last entry. The head stays when the entries are gone, until the channel is forgotten.
///
/// `Element` is what a log wants to find again: the event itself, or the number of its row.
///
/// A value without threads: its owner guards it.
package struct HistoryIndex<Element> {
    package struct Entry {
        package var element: Element
        /// When it was appended, by the steady clock. It never falls within a channel.
        package var timestamp: Int64
        /// What the bounds count for it.
        var cost: UInt32
    }

    package struct Channel {
        /// Nil while nobody uses this place.
        var name: ChannelName?
        package var head: Position
        /// When the head was written, by the steady clock.
        package var timestamp: Int64
        package var entries: Deque<Entry>
        /// How many of this channel's places in `order`, from the oldest on, stand for entries that are gone.
        var buried: Int
    }

    package let bounds: Bounds
    /// Entries held, over all channels.
    package internal(set) var count = 0
    /// What they cost together.
    package internal(set) var cost = 0

    var channels: [Channel] = []
    var places: [ChannelName: UInt32] = [:]
    var freePlaces: [UInt32] = []
    /// One place in `channels` for each entry ever appended, oldest first: the order in which the bound on the total lets go.
    ///
    /// An entry that goes earlier, by its channel's own bound, leaves its place here and is counted in `buried`. As a channel's entries go
    /// oldest first, the first `buried` places of a channel are the dead ones, and four bytes an entry suffice.
    var order: Deque<UInt32> = []

    package init(bounds: Bounds) {
        self.bounds = bounds
    }

    /// Channels whose head is remembered.
    package var channelCount: Int { self.places.count }

    /// Where a channel stands; nil if it is not remembered.
    package func head(of channel: ChannelName) -> Position? {
        self.places[channel].map { self.channels[Int($0)].head }
    }

    /// Appends an entry and lets go of what is beyond the bounds on count and cost. Age is ``removeExpired(now:limit:)``'s.
    ///
    /// A position that is not beyond the channel's head is there already, and nothing happens. One that is further on than the next means that
    /// continuity was lost: the entries before it go.
    package mutating func append(_ element: Element, to channel: ChannelName, at position: Position, timestamp: Int64, cost: Int) {
        let place = self.place(of: channel, at: position)
        let index = Int(place)
        guard self.channels[index].head < position else { return }
        if self.channels[index].head.next != position { self.removeEntries(at: index) }
        let newest = self.channels[index].entries.last?.timestamp ?? timestamp
        let cost = UInt32(clamping: cost)
        self.channels[index].entries.append(Entry(element: element, timestamp: max(timestamp, newest), cost: cost))
        self.channels[index].head = position
        self.channels[index].timestamp = timestamp
        self.order.append(place)
        self.count += 1
        self.cost += Int(cost)

        while self.channels[index].entries.count > self.bounds.eventsMax {
            self.dropFirst(at: index)
            self.channels[index].buried += 1
        }
        while self.cost > self.bounds.costMax { self.removeOldest() }
        self.compactIfWorthwhile()
    }

    /// Remembers how far a channel got, without entries. A head further on than this one stays.
    package mutating func remember(_ channel: ChannelName, head: Position, timestamp: Int64) {
        let index = Int(self.place(of: channel, at: head))
        guard self.channels[index].head < head else { return }
        self.removeEntries(at: index)
        self.channels[index].head = head
        self.channels[index].timestamp = timestamp
    }

    /// Forgets a channel: its head and what it holds.
    package mutating func forget(_ channel: ChannelName) {
        guard let place = self.places.removeValue(forKey: channel) else { return }
        let index = Int(place)
        self.removeEntries(at: index)
        self.channels[index].name = nil
        // What is buried stays: whoever takes this place next inherits the dead places in `order`, which are older than its own.
        self.freePlaces.append(place)
        self.compactIfWorthwhile()
    }

    /// The channel's place; a new one begins just before `position`, as if its predecessor had been trimmed.
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
    /// How much history is held.
    package struct Bounds: Sendable, Equatable {
        /// Entries of one channel.
        package var eventsMax: Int
        package var ageMillisecondsMax: Int64
        /// The cost of all channels' entries together.
        package var costMax: Int

        package init(eventsMax: Int, ageMillisecondsMax: Int64, costMax: Int) {
            self.eventsMax = eventsMax
            self.ageMillisecondsMax = ageMillisecondsMax
            self.costMax = costMax
        }

        package init(_ limits: Limits) {
            self.init(
                eventsMax: limits.historyEventsMax,
                ageMillisecondsMax: Int64(limits.historySecondsMax) * 1000,
                costMax: limits.historyBytesMax
            )
        }

        /// What was written before this moment has expired.
        package func horizon(now: Int64) -> Int64 { now - self.ageMillisecondsMax }
    }
}

extension HistoryIndex: Sendable where Element: Sendable {}
extension HistoryIndex.Channel: Sendable where Element: Sendable {}
extension HistoryIndex.Entry: Sendable where Element: Sendable {}
