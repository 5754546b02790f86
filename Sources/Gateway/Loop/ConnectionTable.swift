/// The open connections of one loop, by slot. A value, but the connections are objects.
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

    /// Returns up to `limit` connections in the slots from `start`. `next` is the `start` of the next call, or nil after the last slot.
    func slice(from start: Int, limit: Int) -> (connections: [any LoopConnection], next: Int?) {
        var connections: [any LoopConnection] = []
        var index = start
        while index < self.slots.count, connections.count < limit {
            if let connection = self.slots[index].connection { connections.append(connection) }
            index += 1
        }
        return (connections, index < self.slots.count ? index : nil)
    }

    /// The largest number of connections that have been open at the same time.
    var slotCount: Int { self.slots.count }

    func connections(in slots: Range<Int>) -> [any LoopConnection] {
        self.slots[slots.clamped(to: 0..<self.slots.count)].compactMap(\.connection)
    }
}
