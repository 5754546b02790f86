/// What the index of recent history keeps of an event: its row, and whether its message id has to be looked up there.
struct IndexedRow: Sendable {
    private let bits: Int64

    init(number: Int64, hasMessageID: Bool) { self.bits = number << 1 | (hasMessageID ? 1 : 0) }

    var number: Int64 { self.bits >> 1 }
    var hasMessageID: Bool { self.bits & 1 == 1 }
}
