/// The index's value for an event: the number of its row, and whether the row has a message id.
struct IndexedRow: Sendable {
    private let bits: Int64

    init(number: Int64, hasMessageID: Bool) { self.bits = number << 1 | (hasMessageID ? 1 : 0) }

    var number: Int64 { self.bits >> 1 }
    var hasMessageID: Bool { self.bits & 1 == 1 }
}
