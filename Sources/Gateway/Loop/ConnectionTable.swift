/// A connection that lives in a loop's table and wheel. Confined to that loop.
protocol LoopConnection: AnyObject {
    var id: ConnectionID { get set }
    /// The second at which ``deadlineReached()`` is due; never later than the wheel's entry when that was set.
    var deadline: Int { get set }
    /// The second of the wheel's entry that counts.
    var wheelSecond: Int { get set }

    /// The deadline has come. Sets a new one, or closes.
    func deadlineReached()
    /// The node stops: say goodbye in the transport's own words and close.
    func stop()
    /// The node is drained: whoever can go on elsewhere is told to.
    func drain()
}

/// The open connections of one loop. Pure but for the connections it holds.
struct ConnectionTable {
    private struct Slot {
        var connection: (any LoopConnection)?
        var generation: UInt32 = 0
    }

    private var slots: [Slot] = []
    private var free: [UInt32] = []
    private(set) var count = 0

    mutating func add(_ connection: any LoopConnection) {
        self.count += 1
        let slot: UInt32
        if let reused = self.free.popLast() {
            slot = reused
        } else {
            slot = UInt32(self.slots.count)
            self.slots.append(Slot())
        }
        self.slots[Int(slot)].connection = connection
        connection.id = ConnectionID(slot: slot, generation: self.slots[Int(slot)].generation)
    }

    mutating func remove(_ id: ConnectionID) {
        guard self[id] != nil else { return }
        self.count -= 1
        self.slots[Int(id.slot)].connection = nil
        self.slots[Int(id.slot)].generation &+= 1
        self.free.append(id.slot)
    }

    subscript(id: ConnectionID) -> (any LoopConnection)? {
        let slot = self.slots[Int(id.slot)]
        return slot.generation == id.generation ? slot.connection : nil
    }

    /// Up to `limit` connections from a slot on, and where to go on.
    func slice(from start: Int, limit: Int) -> (connections: [any LoopConnection], next: Int?) {
        var connections: [any LoopConnection] = []
        var index = start
        while index < self.slots.count, connections.count < limit {
            if let connection = self.slots[index].connection { connections.append(connection) }
            index += 1
        }
        return (connections, index < self.slots.count ? index : nil)
    }

    /// How many connections there have been at once.
    var slotCount: Int { self.slots.count }

    func connections(in slots: Range<Int>) -> [any LoopConnection] {
        self.slots[slots.clamped(to: 0..<self.slots.count)].compactMap(\.connection)
    }
}
