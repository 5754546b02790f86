import JSON
package import NIOCore
import Partitioning

/// A subscriber's cursor: the position of its last event in each of its channels, as one opaque URL-safe string.
///
/// The string is the base64url form of these bytes:
/// - The version (1 byte).
/// - For each channel: the low 32 bits of the xxh64 of its name (little endian), then epoch and offset as LEB128.
/// - A checksum: 16 bits of xxh64 over all bytes before it. A node uses it to refuse a truncated or mistyped cursor.
///
/// The hashes ensure that a cursor of one channel is never used as a position in another channel.
package struct Cursor: Equatable, Sendable {
    package struct Entry: Equatable, Sendable {
        package var channel: UInt32
        package var position: Position

        package init(channel: UInt32, position: Position) {
            self.channel = channel
            self.position = position
        }
    }

    static let version: UInt8 = 1
    static let checkSeed: UInt64 = 0x5254
    /// The length of the longest entry: the hash and two LEB128 numbers.
    static let entryBytesMax = 4 + 10 + 10
    /// A longer text is never a valid cursor.
    static let textBytesMax = 8 * 1024

    package var entries: [Entry]

    package init(entries: [Entry]) {
        self.entries = entries
    }

    /// Nil unless the text is in the exact form that a node writes.
    package init?(_ text: some StringProtocol) {
        guard text.utf8.count <= Cursor.textBytesMax, let bytes = Base64URL.decode(text.utf8) else { return nil }
        guard bytes.count >= 3, bytes[0] == Cursor.version else { return nil }
        let body = bytes.count - 2
        let check = UInt16(bytes[body]) | UInt16(bytes[body + 1]) << 8
        guard bytes.withUnsafeBytes({ Cursor.check(UnsafeRawBufferPointer(rebasing: $0[..<body])) }) == check else { return nil }
        var entries: [Entry] = []
        var index = 1
        while index < body {
            guard index + 4 <= body else { return nil }
            let hash =
                UInt32(bytes[index]) | UInt32(bytes[index + 1]) << 8 | UInt32(bytes[index + 2]) << 16 | UInt32(bytes[index + 3]) << 24
            index += 4
            guard let epoch = Cursor.number(bytes, &index, body), let offset = Cursor.number(bytes, &index, body) else { return nil }
            entries.append(Entry(channel: hash, position: Position(epoch: epoch, offset: offset)))
        }
        guard !entries.isEmpty else { return nil }
        self.entries = entries
    }

    /// The position that this cursor holds for a channel.
    package func position(of channel: ChannelName) -> Position? {
        let hash = UInt32(truncatingIfNeeded: channel.hash64)
        return self.entries.first { $0.channel == hash }?.position
    }

    package var text: String {
        var buffer = ByteBufferAllocator().buffer(capacity: 64)
        Cursor.write(count: self.entries.count, into: &buffer) { self.entries[$0] }
        return String(buffer: buffer)
    }

    /// Writes the text of a cursor of one channel.
    package static func write(_ channel: ChannelName, _ position: Position, into buffer: inout ByteBuffer) {
        let entry = Entry(channel: UInt32(truncatingIfNeeded: channel.hash64), position: position)
        self.write(count: 1, into: &buffer) { _ in entry }
    }

    /// Writes the text of a cursor. Allocates nothing except to grow `buffer`.
    @inline(__always)
    package static func write(count: Int, into buffer: inout ByteBuffer, entry: (Int) -> Entry) {
        withUnsafeTemporaryAllocation(byteCount: 3 + count * entryBytesMax, alignment: 1) { bytes in
            bytes[0] = version
            var length = 1
            for index in 0..<count {
                let entry = entry(index)
                bytes.storeBytes(of: entry.channel.littleEndian, toByteOffset: length, as: UInt32.self)
                length += 4
                store(entry.position.epoch, bytes, &length)
                store(entry.position.offset, bytes, &length)
            }
            let check = check(UnsafeRawBufferPointer(rebasing: bytes[..<length]))
            bytes[length] = UInt8(truncatingIfNeeded: check)
            bytes[length + 1] = UInt8(truncatingIfNeeded: check >> 8)
            Base64URL.write(UnsafeRawBufferPointer(rebasing: bytes[..<(length + 2)]), into: &buffer)
        }
    }

    private static func check(_ bytes: UnsafeRawBufferPointer) -> UInt16 {
        UInt16(truncatingIfNeeded: XXH64.hash(bytes, seed: checkSeed))
    }

    private static func store(_ value: UInt64, _ bytes: UnsafeMutableRawBufferPointer, _ length: inout Int) {
        var value = value
        while value >= 0x80 {
            bytes[length] = UInt8(truncatingIfNeeded: value) | 0x80
            value >>= 7
            length += 1
        }
        bytes[length] = UInt8(truncatingIfNeeded: value)
        length += 1
    }

    /// Reads a canonical LEB128 number of at most 63 bits, so that the next number fits into 64 bits. Refuses all other forms.
    private static func number(_ bytes: [UInt8], _ index: inout Int, _ end: Int) -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while index < end {
            let byte = bytes[index]
            index += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte & 0x80 == 0 { return byte == 0 && shift > 0 ? nil : value }
            shift += 7
            if shift > 56 { return nil }
        }
        return nil
    }
}
