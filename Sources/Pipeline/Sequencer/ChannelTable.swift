/// The channels a sequencer remembers: heads, edges that listen, subscribers. A pure value.
struct ChannelTable {
    struct ChannelState {
        /// The last committed position; offset 0 before the first.
        var head: Position
        /// Positions given to events of the commit in flight.
        var inFlight: UInt64 = 0
        /// A bit for each edge that listens.
        var edges: UInt64 = 0
        var subscribers = 0
        /// When the head was written, by the steady clock.
        var timestamp: Int64

        /// Nothing would be lost by not knowing it.
        var isBlank: Bool { self.head.offset == 0 && self.inFlight == 0 && self.edges == 0 }
        /// It has events, or is about to.
        var isRemembered: Bool { self.head.offset > 0 || self.inFlight > 0 }
        var isIdle: Bool { self.inFlight == 0 && self.edges == 0 && self.subscribers == 0 }
    }

    /// A place in the table. Places stay where they are, so that a look at all of them can stop and go on; a dictionary's order does not.
    private struct Place {
        /// Nil while nobody uses it.
        var name: ChannelName?
        var state: ChannelState
    }

    static let edgesMax = 64
    /// How long between the beginnings of two looks at all channels, in milliseconds.
    private static let sweepMilliseconds: Int64 = 5_000

    private var places: [Place] = []
    private var indices: [ChannelName: UInt32] = [:]
    private var free: [UInt32] = []
    /// The epoch of a channel that is not remembered.
    var epochFloor: UInt64 = 1
    private var lastSweep: Int64 = 0
    /// Where the look at all channels goes on, and what has not been written since is old; nil between two looks.
    private var sweeping: (place: Int, oldest: Int64)?
    /// A new channel was refused since the last sweep.
    private var isPressed = false

    var count: Int { self.indices.count }
    /// Those with events. Only they count against the bound: what subscribers merely name must not keep publishers out.
    private(set) var rememberedCount = 0

    subscript(channel: ChannelName) -> ChannelState? {
        self.indices[channel].map { self.places[Int($0)].state }
    }

    func head(of channel: ChannelName) -> Position {
        self[channel]?.head ?? Position(epoch: self.epochFloor, offset: 0)
    }

    func subscribers(of channel: ChannelName) -> Int {
        self[channel]?.subscribers ?? 0
    }

    func edges(of channel: ChannelName) -> UInt64 {
        self[channel]?.edges ?? 0
    }

    mutating func restore(_ channel: ChannelName, head: Position, timestamp: Int64) {
        if self[channel] == nil {
            self.add(channel)
            self.rememberedCount += 1
        }
        self.withState(channel) { $0 = ChannelState(head: head, timestamp: timestamp) }
    }

    // MARK: - Positions

    /// The next position of a channel and its subscribers; nil when there is no room for a new channel.
    mutating func take(_ channel: ChannelName, channelsMax: Int) -> (Position, subscribers: Int)? {
        if !(self[channel]?.isRemembered ?? false) {
            guard self.rememberedCount < channelsMax else {
                self.isPressed = true
                return nil
            }
            if self[channel] == nil { self.add(channel) }
            self.rememberedCount += 1
        }
        return self.withState(channel) { state in
            state.inFlight += 1
            return (Position(epoch: state.head.epoch, offset: state.head.offset + state.inFlight), state.subscribers)
        }
    }

    mutating func commit(_ event: SequencedEvent, at now: Int64) {
        self.withState(event.event.channel) { state in
            precondition(event.position == state.head.next && state.inFlight > 0, "\(event.position) does not follow \(state.head)")
            state.head = event.position
            state.inFlight -= 1
            state.timestamp = now
        }
    }

    mutating func giveBack(_ event: SequencedEvent) {
        let (isBlank, isRemembered) = self.withState(event.event.channel) { state in
            state.inFlight -= 1
            return (state.isBlank, state.isRemembered)
        }
        if !isRemembered { self.rememberedCount -= 1 }
        if isBlank { self.remove(event.event.channel) }
    }

    // MARK: - Interest

    mutating func interest(_ change: InterestChange, edge: Int) -> Position? {
        if self[change.channel] == nil {
            guard change.wanted == .open || change.subscribers != 0 else { return nil }
            self.add(change.channel)
        }
        let bit: UInt64 = 1 << UInt64(edge)
        let (head, isBlank) = self.withState(change.channel) { state in
            state.subscribers += change.subscribers
            switch change.wanted {
            case .open: state.edges |= bit
            case .close: state.edges &= ~bit
            case .unchanged: break
            }
            return (state.head, state.isBlank)
        }
        if isBlank { self.remove(change.channel) }
        return change.wanted == .open ? head : nil
    }

    // MARK: - Places

    private mutating func add(_ channel: ChannelName) {
        let place = Place(name: channel, state: ChannelState(head: Position(epoch: self.epochFloor, offset: 0), timestamp: 0))
        if let index = self.free.popLast() {
            self.places[Int(index)] = place
            self.indices[channel] = index
        } else {
            self.indices[channel] = UInt32(self.places.count)
            self.places.append(place)
        }
    }

    private mutating func remove(_ channel: ChannelName) {
        guard let index = self.indices.removeValue(forKey: channel) else { return }
        self.places[Int(index)].name = nil
        self.free.append(index)
    }

    private mutating func withState<Value>(_ channel: ChannelName, _ body: (inout ChannelState) -> Value) -> Value {
        guard let index = self.indices[channel] else { preconditionFailure("\(channel) is not in the table") }
        return body(&self.places[Int(index)].state)
    }

    /// The channels in so many places from one on, and where to go on. Who is there all the while is met once in a walk from 0 on.
    func slice(from start: Int, count: Int) -> (channels: [(channel: ChannelName, state: ChannelState)], next: Int?) {
        let end = min(self.places.count, start + count)
        guard start < end else { return ([], nil) }
        let channels = self.places[start..<end].compactMap { place in place.name.map { (channel: $0, state: place.state) } }
        return (channels, end < self.places.count ? end : nil)
    }

    // MARK: - Forgetting

    /// Drops idle channels whose head is too old; when there is no room, those whose history is over. Looks at so many places at once; true when the next
    /// are to be looked at in a moment.
    mutating func sweep(now: Int64, limits: Limits, count: Int) -> (forgotten: [ChannelName], isMore: Bool) {
        guard let (start, oldest) = self.sweeping ?? self.beginSweep(now: now, limits: limits) else { return ([], false) }
        let (channels, next) = self.slice(from: start, count: count)
        self.sweeping = next.map { ($0, oldest) }
        var forgotten: [ChannelName] = []
        for (channel, state) in channels where state.isIdle && state.timestamp < oldest {
            forgotten.append(channel)
            // A channel that comes back must not continue positions that were given out.
            self.epochFloor = max(self.epochFloor, state.head.epoch + 1)
            if state.isRemembered { self.rememberedCount -= 1 }
            self.remove(channel)
        }
        return (forgotten, next != nil)
    }

    private mutating func beginSweep(now: Int64, limits: Limits) -> (place: Int, oldest: Int64)? {
        guard now >= self.lastSweep + Self.sweepMilliseconds || (self.isPressed && now >= self.lastSweep + 1000) else { return nil }
        self.lastSweep = now
        let seconds = self.isPressed ? limits.historySecondsMax : max(limits.headSecondsMax, limits.historySecondsMax)
        self.isPressed = false
        return (0, now - Int64(seconds) * 1000)
    }
}
