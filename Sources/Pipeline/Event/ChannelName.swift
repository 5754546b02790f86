import Partitioning

/// The name of a channel. Every value is valid.
///
/// A name has 1 to 200 bytes of `A-Z a-z 0-9 _ . : -`. It does not end in `.bN`, because a subscribe request uses this suffix for a backlog of N events.
package struct ChannelName: Hashable, Sendable, CustomStringConvertible {
    package static let bytesMax = 200

    package let string: String

    /// Nil if the name is not valid.
    package init?(_ string: String) {
        var string = string
        guard string.withUTF8({ ChannelName.isValid(UnsafeRawBufferPointer($0)) }) else { return nil }
        self.string = string
    }

    /// Nil if the name is not valid.
    package init?(bytes: some RandomAccessCollection<UInt8>) {
        guard !bytes.isEmpty, bytes.count <= ChannelName.bytesMax else { return nil }
        self.init(String(decoding: bytes, as: UTF8.self))
    }

    package var description: String { self.string }

    /// The hash that cursors store for this channel.
    package var hash64: UInt64 { XXH64.hash(self.string) }

    private static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard !bytes.isEmpty, bytes.count <= bytesMax else { return false }
        for byte in bytes where !isNameByte(byte) { return false }
        return backlogSuffixStart(bytes) == nil
    }

    package static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: ":"), UInt8(ascii: "-"):
            true
        default:
            false
        }
    }

    /// The index at which the suffix `.bN` begins. Nil if the bytes do not end in this suffix.
    package static func backlogSuffixStart(_ bytes: some RandomAccessCollection<UInt8>) -> Int? {
        var index = bytes.endIndex
        var digits = 0
        while index > bytes.startIndex {
            let before = bytes.index(before: index)
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[before]) else { break }
            index = before
            digits += 1
        }
        let length = bytes.distance(from: bytes.startIndex, to: index)
        guard digits > 0, length >= 2 else { return nil }
        let letter = bytes.index(before: index)
        let dot = bytes.index(before: letter)
        guard bytes[letter] == UInt8(ascii: "b"), bytes[dot] == UInt8(ascii: ".") else { return nil }
        return length - 2
    }
}
