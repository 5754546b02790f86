/// The edges interested in one channel, as indices into the sequencer's edges. Most channels have at most one edge, which needs no allocation.
package struct EdgeList: Sendable {
    private var first: UInt32 = .max
    private var others: [UInt32] = []

    package init() {}

    package var isEmpty: Bool { self.first == .max }

    package func contains(_ slot: Int) -> Bool { self.first == UInt32(slot) || self.others.contains(UInt32(slot)) }

    package mutating func insert(_ slot: Int) {
        if self.contains(slot) { return }
        if self.isEmpty { self.first = UInt32(slot) } else { self.others.append(UInt32(slot)) }
    }

    package mutating func remove(_ slot: Int) {
        if self.first == UInt32(slot) {
            self.first = self.others.popLast() ?? .max
        } else {
            self.others.removeAll { $0 == UInt32(slot) }
        }
    }

    package func forEach(_ body: (Int) -> Void) {
        guard !self.isEmpty else { return }
        body(Int(self.first))
        for slot in self.others { body(Int(slot)) }
    }
}
