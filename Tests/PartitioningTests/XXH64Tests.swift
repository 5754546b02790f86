import Partitioning
import Testing

@Suite struct XXH64Tests {
    @Test(
        arguments: [
            ("", 0xef46_db37_51d8_e999), ("a", 0xd24e_c4f1_a98c_6e5b), ("as", 0x1c33_0fb2_d66b_e179), ("asd", 0x631c_37ce_72a9_7393),
            ("abc", 0x44bc_2cf5_ad77_0999), ("asdf", 0x4158_72f5_99ce_a71e), ("Nobody inspects the spammish repetition", 0xfbce_a83c_8a37_8bf1),
            ("Call me Ishmael. Some years ago--never mind how long precisely-", 0x02a2_e854_70d6_fd96),
        ] as [(String, UInt64)])
    func publishedVectors(_ text: String, _ hash: UInt64) {
        #expect(XXH64.hash(text) == hash)
    }

    @Test func aSeedChangesTheHash() {
        #expect(XXH64.hash("xxhash", seed: 20_141_025) == 0xb559_b98d_844e_0635)
    }

    @Test func theHashDoesNotDependOnTheAlignment() {
        let bytes = (0..<100).map { UInt8($0) }
        for length in 0..<80 {
            let hashes = (0..<8).map { shift in
                let moved = [UInt8](repeating: 0, count: shift) + bytes.prefix(length)
                return moved.withUnsafeBytes { XXH64.hash(UnsafeRawBufferPointer(rebasing: $0[shift...])) }
            }
            #expect(Set(hashes).count == 1, "length \(length)")
        }
    }
}
