/// Weighted rendezvous hashing: breaks ties between nodes for a partition, with the same result on every machine and in every version.
///
/// The cost of a node is -ln(u) / weight. The number u is in (0, 1], and is a hash of the node and the partition. The node with the lowest cost wins, so each
/// node wins in proportion to its weight (<https://datatracker.ietf.org/doc/draft-ietf-bess-weighted-hrw/>). The calculation uses only additions, products and
/// quotients of doubles, which IEEE 754 defines exactly.
struct Affinity {
    private let hashes: [UInt64]
    private let weights: [Double]

    init(ids: [String], weights: [Double]) {
        self.hashes = ids.map(Affinity.hash)
        self.weights = weights
    }

    /// Infinite for a node with weight 0.
    func cost(_ partition: Int, _ node: Int) -> Double {
        guard self.weights[node] > 0 else { return .infinity }
        return Affinity.negativeLog(Affinity.mix(self.hashes[node] ^ Affinity.mix(UInt64(partition) &+ 1))) / self.weights[node]
    }

    /// FNV-1a, then mixed: <https://datatracker.ietf.org/doc/draft-eastlake-fnv/>.
    private static func hash(_ id: String) -> UInt64 {
        self.mix(id.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 })
    }

    /// The finalizer of SplitMix64.
    private static func mix(_ word: UInt64) -> UInt64 {
        var word = word &+ 0x9E37_79B9_7F4A_7C15
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    /// -ln(word / 2^64), to 7 digits: ln m = 2 artanh((m - 1) / (m + 1)) for the mantissa m in [1, 2).
    private static func negativeLog(_ word: UInt64) -> Double {
        let word = word | 1
        let zeros = word.leadingZeroBitCount
        let mantissa = Double((word << UInt64(zeros)) >> 11) / 4_503_599_627_370_496
        let ratio = (mantissa - 1) / (mantissa + 1)
        let square = ratio * ratio
        var series = 1.0 / 13
        for divisor in [11.0, 9, 7, 5, 3, 1] { series = series * square + 1 / divisor }
        return Double(zeros + 1) * 0.693_147_180_559_945_3 - 2 * ratio * series
    }
}
