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
        /// When the head was written, in milliseconds since 1970.
        var timestamp: Int64

        /// Nothing would be lost by not knowing it.
        var isBlank: Bool { self.head.offset == 0 && self.inFlight == 0 && self.edges == 0 }
        /// It has events, or is about to.
        var isRemembered: Bool { self.head.offset > 0 || self.inFlight > 0 }
        var isIdle: Bool { self.inFlight == 0 && self.edges == 0 && self.subscribers == 0 }
    }

    static let edgesMax = 64
    /// How long between two looks at all channels, in milliseconds: the more there are, the longer a look takes.
    private var sweepMilliseconds: Int64 { self.states.count > 50_000 ? 30_000 : 5_000 }

    private(set) var states: [ChannelName: ChannelState] = [:]
    /// The epoch of a channel that is not remembered.
    var epochFloor: UInt64 = 1
    private var lastSweep: Int64 = 0
    /// A new channel was refused since the last sweep.
    private var isPressed = false

    var count: Int { self.states.count }
    /// Those with events. Only they count against the bound: what subscribers merely name must not keep publishers out.
    private(set) var rememberedCount = 0

    func head(of channel: ChannelName) -> Position {
        self.states[channel]?.head ?? Position(epoch: self.epochFloor, offset: 0)
    }

    func subscribers(of channel: ChannelName) -> Int {
        self.states[channel]?.subscribers ?? 0
    }

    func edges(of channel: ChannelName) -> UInt64 {
        self.states[channel]?.edges ?? 0
    }

    mutating func restore(_ channel: ChannelName, head: Position, timestamp: Int64) {
        let old = self.states.updateValue(ChannelState(head: head, timestamp: timestamp), forKey: channel)
        if old == nil { self.rememberedCount += 1 }
    }

    // MARK: - Positions

    /// The next position of a channel and its subscribers; nil when there is no room for a new channel.
    mutating func take(_ channel: ChannelName, channelsMax: Int) -> (Position, subscribers: Int)? {
        if !(self.states[channel]?.isRemembered ?? false) {
            guard self.rememberedCount < channelsMax else {
                self.isPressed = true
                return nil
            }
            if self.states[channel] == nil { self.states[channel] = self.blank() }
            self.rememberedCount += 1
        }
        return self.withState(channel) { state in
            state.inFlight += 1
            return (Position(epoch: state.head.epoch, offset: state.head.offset + state.inFlight), state.subscribers)
        }
    }

    mutating func commit(_ event: SequencedEvent) {
        self.withState(event.event.channel) { state in
            precondition(event.position == state.head.next && state.inFlight > 0, "\(event.position) does not follow \(state.head)")
            state.head = event.position
            state.inFlight -= 1
            state.timestamp = event.timestamp
        }
    }

    mutating func giveBack(_ event: SequencedEvent) {
        let (isBlank, isRemembered) = self.withState(event.event.channel) { state in
            state.inFlight -= 1
            return (state.isBlank, state.isRemembered)
        }
        if !isRemembered { self.rememberedCount -= 1 }
        if isBlank { self.states[event.event.channel] = nil }
    }

    // MARK: - Interest

    mutating func interest(_ change: InterestChange, edge: Int) -> Position? {
        if self.states[change.channel] == nil {
            guard change.wanted == .open || change.subscribers != 0 else { return nil }
            self.states[change.channel] = self.blank()
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
        if isBlank { self.states[change.channel] = nil }
        return change.wanted == .open ? head : nil
    }

    // MARK: - Forgetting

    /// Drops idle channels whose head is too old; when there is no room, those whose history is over. Looks at all channels, so not often.
    mutating func sweep(now: Int64, limits: Limits) -> [ChannelName] {
        guard now >= self.lastSweep + self.sweepMilliseconds || (self.isPressed && now >= self.lastSweep + 1000) else { return [] }
        self.lastSweep = now
        let seconds = self.isPressed ? limits.historySecondsMax : max(limits.headSecondsMax, limits.historySecondsMax)
        self.isPressed = false
        let oldest = now - Int64(seconds) * 1000
        var forgotten: [ChannelName] = []
        for (channel, state) in self.states where state.isIdle && state.timestamp < oldest {
            forgotten.append(channel)
            // A channel that comes back must not continue positions that were given out.
            self.epochFloor = max(self.epochFloor, state.head.epoch + 1)
        }
        for channel in forgotten where self.states.removeValue(forKey: channel)?.isRemembered ?? false { self.rememberedCount -= 1 }
        return forgotten
    }

    // MARK: -

    private func blank() -> ChannelState {
        ChannelState(head: Position(epoch: self.epochFloor, offset: 0), timestamp: 0)
    }

    /// One look-up for reading and writing back.
    private mutating func withState<Value>(_ channel: ChannelName, _ body: (inout ChannelState) -> Value) -> Value {
        guard let index = self.states.index(forKey: channel) else { preconditionFailure("\(channel) is not in the table") }
        return body(&self.states.values[index])
    }
}
