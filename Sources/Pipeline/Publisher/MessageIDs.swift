/// Makes message ids for events that the client has not given one. A pure value.
///
/// An id has 15 bytes, so that Swift stores it without an allocation: a tilde, 7 characters of a random number of this value, and 7 of a counter, 6 bits each.
package struct MessageIDs: Sendable {
    private let prefix: UInt64
    private var counter: UInt64 = 0

    /// - Parameter random: a random number. Its low 42 bits distinguish this value from all others in the cluster, within the time that message ids are
    ///   remembered.
    package init(random: UInt64) {
        self.prefix = random & Self.mask
    }

    private static let mask: UInt64 = 1 << 42 - 1

    package mutating func next() -> String {
        self.counter = (self.counter + 1) & Self.mask
        let (prefix, counter) = (self.prefix, self.counter)
        return String(unsafeUninitializedCapacity: 15) { bytes in
            bytes[0] = UInt8(ascii: "~")
            for index in 0..<7 {
                bytes[1 + index] = Base64URL.character(UInt8(truncatingIfNeeded: prefix >> (6 * UInt64(6 - index))) & 63)
                bytes[8 + index] = Base64URL.character(UInt8(truncatingIfNeeded: counter >> (6 * UInt64(6 - index))) & 63)
            }
            return 15
        }
    }
}
