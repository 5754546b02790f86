/// The position of an event in its channel. In one epoch the offsets are consecutive: 1, 2, 3…
///
/// Offset 0 is the position before the first event. The epoch changes only when continuity was lost. A new epoch is always higher.
package struct Position: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var epoch: UInt64
    package var offset: UInt64

    package init(epoch: UInt64, offset: UInt64) {
        self.epoch = epoch
        self.offset = offset
    }

    /// Parses `<epoch>-<offset>`, two decimal numbers of at most 63 bits without sign or padding. Nil for anything else.
    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let epoch = Position.number(parts[0]), let offset = Position.number(parts[1]) else { return nil }
        self.init(epoch: epoch, offset: offset)
    }

    package var description: String { "\(self.epoch)-\(self.offset)" }

    /// The next position. The offset saturates, because a forged cursor may contain any offset, and adding 1 must not overflow.
    package var next: Position { Position(epoch: self.epoch, offset: self.offset == .max ? .max : self.offset + 1) }

    package static func < (left: Position, right: Position) -> Bool {
        (left.epoch, left.offset) < (right.epoch, right.offset)
    }

    private static func number(_ text: some StringProtocol) -> UInt64? {
        guard let first = text.utf8.first, first != UInt8(ascii: "+"), first != UInt8(ascii: "-"), first != UInt8(ascii: "0") || text.utf8.count == 1 else {
            return nil
        }
        // Only 63 bits, because the offset after a client's offset must also fit into UInt64.
        return Int64(text).map(UInt64.init)
    }
}
