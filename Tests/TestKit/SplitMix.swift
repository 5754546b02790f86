/// A random number generator with a seed, so that a failing test can be repeated.
public struct SplitMix: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) { self.state = seed }

    public mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var word = self.state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    public mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &self) }

    public mutating func chance(_ percent: Int) -> Bool { self.below(100) < percent }

    /// A random number with a random number of bits, so that small numbers are frequent too.
    public mutating func number(bits: Int = 63) -> UInt64 { (self.next() >> UInt64(64 - bits)) >> UInt64(self.below(bits)) }

    public mutating func bytes(upTo count: Int) -> [UInt8] { (0..<self.below(count + 1)).map { _ in UInt8(truncatingIfNeeded: self.next()) } }

    /// The bytes with one to four changes: a byte or a token inserted, a byte removed, a bit flipped, a run of bytes removed or repeated, the end removed.
    public mutating func mutate(_ bytes: [UInt8], with tokens: [String]) -> [UInt8] {
        var bytes = bytes
        for _ in 0...self.below(4) {
            let index = self.below(bytes.count + 1)
            switch self.below(9) {
            case 0: bytes.insert(UInt8(truncatingIfNeeded: self.next()), at: index)
            case 1: bytes.insert(UInt8(self.below(95) + 32), at: index)
            case 2: if index < bytes.count { bytes.remove(at: index) }
            case 3: if index < bytes.count { bytes[index] ^= 1 << UInt8(self.below(8)) }
            case 4: bytes.removeSubrange(index..<min(bytes.count, index + self.below(12)))
            case 5: bytes.insert(contentsOf: bytes[index..<min(bytes.count, index + self.below(12))], at: index)
            case 6: bytes.removeLast(self.below(bytes.count + 1) / (1 + self.below(20)))
            default: bytes.insert(contentsOf: tokens.randomElement(using: &self)!.utf8, at: index)
            }
        }
        return bytes
    }

    /// The bytes in pieces of random lengths.
    public mutating func pieces(_ bytes: [UInt8]) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = 1 + self.below(self.below(4) == 0 ? 40 : 4)
            pieces.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        return pieces
    }
}
