/// The rules for node ids. An id becomes a part of paths in ZooKeeper, of file names and of command lines.
package enum NodeID {
    package static let bytesMax = 64

    /// 1 to 64 of `A-Z a-z 0-9 _ . -`, but not `.` or `..`, because ZooKeeper refuses `.` and `..` as parts of a path.
    package static func isValid(_ id: String) -> Bool {
        (1...Self.bytesMax).contains(id.utf8.count) && id != "." && id != ".."
            && id.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                    UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}
