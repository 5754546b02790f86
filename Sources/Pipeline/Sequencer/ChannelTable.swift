import Partitioning

/// The channels in use at a sequencer: their heads, the edges interested in them, their subscribers. A pure value.
///
/// The log stores the heads of all channels; this table caches those in use. A channel is added at its first use, and its head is read from the log once. A
/// channel that has not been used for a while is removed. Removing a channel loses nothing.
struct ChannelTable {
    /// A place in the table. A channel keeps its place while it is in the table.
    typealias Index = UInt32

    enum Reading: Equatable {
        /// The head must be read from the log.
        case wanted
        case reading
        case done
        /// The log is forgetting the channel. If the channel is used meanwhile, its head is read afterwards: a head that was read before would be
        /// deleted, and the event after it would have no predecessor.
        case forgetting
        /// The log could not read the head. The head is read again for the next publish or edge that needs it.
        case failed(String)
    }

    struct ChannelState {
        let partition: PartitionID
        /// The hash of the channel's name.
        let hash: UInt64
        var reading = Reading.wanted
        /// The last committed position; offset 0 before the first event. Valid while `reading` is `done`.
        var head = Position(epoch: 0, offset: 0)
        /// The number of this channel's events that have positions in the commit in flight.
        var inFlight: UInt64 = 0
        /// The number of this channel's events in the commit that is being formed.
        var forming: UInt32 = 0
        var edges = EdgeList()
        var subscribers = 0
        /// The last use, by the steady clock.
        var usedAt: Int64

        fileprivate var isUnused: Bool { self.inFlight == 0 && self.forming == 0 && self.edges.isEmpty && self.subscribers == 0 }

        /// True if the channel may be removed from the table.
        var isIdle: Bool {
            self.isUnused && self.reading != .reading && self.reading != .forgetting
        }
    }

    private struct Place {
        /// Nil while the place is free.
        var name: ChannelName?
        var state: ChannelState
    }

    private let partitions: Partitions
    private var places: [Place] = []
    private var indices: [ChannelName: Index] = [:]
    private var free: [Index] = []
    /// Places whose heads must be read, in the order of their first use. Their channels may have been removed since.
    private var toRead: [Index] = []
    /// The place where the next slice of ``sweep(unusedSince:count:)`` begins.
    private var sweepPlace = 0

    init(partitions: Partitions) {
        self.partitions = partitions
    }

    var count: Int { self.indices.count }

    subscript(channel: ChannelName) -> ChannelState? { self.indices[channel].map { self.places[Int($0)].state } }

    subscript(index: Index) -> ChannelState {
        // Yields the state in place: a copy would retain the references in it, and each event reads only a few numbers.
        _read { yield self.places[Int(index)].state }
        _modify { yield &self.places[Int(index)].state }
    }

    func name(of index: Index) -> ChannelName? { self.places[Int(index)].name }

    func partition(of channel: ChannelName) -> PartitionID { self.partitions.partition(ofHash: channel.hash64) }

    /// Returns the channel's place, and adds the channel if it is new. The head of a new channel must be read. This is the only look-up by name for an event.
    mutating func touch(_ channel: ChannelName, at now: Int64) -> Index {
        if let index = self.indices[channel] {
            self.places[Int(index)].state.usedAt = now
            return index
        }
        let hash = channel.hash64
        let place = Place(name: channel, state: ChannelState(partition: self.partitions.partition(ofHash: hash), hash: hash, usedAt: now))
        let index: Index
        if let free = self.free.popLast() {
            index = free
            self.places[Int(index)] = place
        } else {
            index = Index(self.places.count)
            self.places.append(place)
        }
        self.indices[channel] = index
        self.toRead.append(index)
        return index
    }

    func index(of channel: ChannelName) -> Index? { self.indices[channel] }

    private mutating func remove(_ index: Index) {
        guard let name = self.places[Int(index)].name else { return }
        self.indices[name] = nil
        self.places[Int(index)].name = nil
        self.places[Int(index)].state.edges = EdgeList()
        self.free.append(index)
    }

    // MARK: - Reading

    var hasToRead: Bool { !self.toRead.isEmpty }

    /// Marks a place to be read again.
    mutating func readAgain(_ index: Index) {
        self.places[Int(index)].state.reading = .wanted
        self.toRead.append(index)
    }

    /// Takes those of these places whose heads are still wanted, before all others.
    mutating func takeToRead(_ indices: [Index], limit: Int, isReadable: (PartitionID) -> Bool) -> [Index] {
        var taken: [Index] = []
        for index in indices where taken.count < limit {
            guard self.places[Int(index)].state.reading == .wanted, isReadable(self.places[Int(index)].state.partition) else { continue }
            self.places[Int(index)].state.reading = .reading
            taken.append(index)
        }
        return taken
    }

    /// Takes up to `count` places to read. Places of partitions that are not readable are dropped from the list: ``readAll(of:)`` adds them again.
    mutating func takeToRead(_ count: Int, isReadable: (PartitionID) -> Bool) -> [Index] {
        var taken: [Index] = []
        let looked = min(count, self.toRead.count)
        for index in self.toRead.prefix(looked) {
            guard self.places[Int(index)].name != nil, self.places[Int(index)].state.reading == .wanted else { continue }
            guard isReadable(self.places[Int(index)].state.partition) else { continue }
            self.places[Int(index)].state.reading = .reading
            taken.append(index)
        }
        self.toRead.removeFirst(looked)
        return taken
    }

    // MARK: - Acquired and lost partitions

    /// The partitions are owned by other nodes now, or by no node: channels in use are marked to be read again, the others are removed.
    mutating func invalidate(_ partitions: Set<PartitionID>) {
        for index in self.places.indices where self.places[index].name != nil && partitions.contains(self.places[index].state.partition) {
            self.places[index].state.reading = .wanted
            // The next owner may have reset the channel: this head says nothing about the ones that are read later.
            self.places[index].state.head = Position(epoch: 0, offset: 0)
            if self.places[index].state.isIdle { self.remove(Index(index)) }
        }
    }

    /// The log may have lost events of these partitions: all channels are marked to be read again. They keep their heads, for the comparison.
    mutating func doubt(_ partitions: Set<PartitionID>) {
        for index in self.places.indices where self.places[index].name != nil && partitions.contains(self.places[index].state.partition) {
            self.places[index].state.reading = .wanted
        }
    }

    /// These partitions are served from now on: their channels in the table can be read.
    mutating func readAll(of partitions: Set<PartitionID>) {
        for index in self.places.indices where self.places[index].name != nil && partitions.contains(self.places[index].state.partition) {
            if self.places[index].state.reading == .wanted { self.toRead.append(Index(index)) }
        }
    }

    // MARK: - Listing

    /// Channels of these places that have subscribers but no events, and the place to continue from. The log does not know such channels.
    func subscribedOnly(
        from start: Int, count: Int, in isServed: (PartitionID) -> Bool
    ) -> (channels: [(channel: ChannelName, head: Position)], next: Int?) {
        let end = min(self.places.count, start + count)
        guard start < end else { return ([], nil) }
        let channels = self.places[start..<end].compactMap { place in
            let isListed = place.state.head.offset == 0 && place.state.subscribers > 0 && isServed(place.state.partition)
            return isListed ? place.name.map { (channel: $0, head: place.state.head) } : nil
        }
        return (channels, end < self.places.count ? end : nil)
    }

    // MARK: - Upkeep

    /// Removes channels that have not been used since `oldest`, in a slice of `count` places. Returns true if more places remain.
    mutating func sweep(unusedSince oldest: Int64, count: Int) -> Bool {
        let end = min(self.places.count, self.sweepPlace + count)
        for index in self.sweepPlace..<max(end, self.sweepPlace) where self.places[index].name != nil {
            let state = self.places[index].state
            if state.isIdle, state.usedAt < oldest { self.remove(Index(index)) }
        }
        self.sweepPlace = end < self.places.count ? end : 0
        return self.sweepPlace > 0
    }

    /// Marks a channel that is not in use while the log forgets it. Returns false if it is in use.
    mutating func beginForgetting(_ channel: ChannelName, at now: Int64) -> Bool {
        if let index = self.indices[channel], !self.places[Int(index)].state.isIdle { return false }
        let index = self.touch(channel, at: now)
        self.places[Int(index)].state.reading = .forgetting
        return true
    }

    /// The log has forgotten the channel, or has failed to.
    mutating func endForgetting(_ channel: ChannelName) {
        guard let index = self.indices[channel], self.places[Int(index)].state.reading == .forgetting else { return }
        if self.places[Int(index)].state.isUnused { self.remove(index) } else { self.readAgain(index) }
    }

    /// Removes a channel that is not in use. Returns false if it is in use.
    mutating func letGo(_ channel: ChannelName) -> Bool {
        guard let index = self.indices[channel] else { return true }
        guard self.places[Int(index)].state.isIdle else { return false }
        self.remove(index)
        return true
    }
}
