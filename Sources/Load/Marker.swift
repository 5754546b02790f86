/// Identifies an event. Each payload contains a marker, to check the order and to measure the latency.
struct Marker: Equatable, Sendable {
    var channel: UInt32
    /// The number of the publisher within its channel. 0 if the channel has only one publisher.
    var lane: UInt16
    /// The sequence number within the channel and lane: 1, 2, 3, … It has 48 bits.
    var sequence: UInt64
    /// The scheduled send time on the monotonic clock.
    var sentNanoseconds: UInt64
}

/// A marker as text: `@RRRRRRRR.CCCCCCCC.LLLLSSSSSSSSSSSS.TTTTTTTTTTTTTTTT.`. The hexadecimal fields are run, channel, lane and sequence, send time.
///
/// Every field ends with a dot. If an HTTP chunk header splits a field, the dot is not at its place, so the scanner detects the split.
/// JSON escapes none of the characters, so the scanner also finds a marker in a JSON string.
enum MarkerText {
    static let sign = UInt8(ascii: "@")
    static let dot = UInt8(ascii: ".")
    static let length = 53

    static let runOffset = 1
    static let channelOffset = 10
    static let sequenceOffset = 19
    static let sentOffset = 36
    static let dotOffsets = [9, 18, 35, 52]

    static let sequenceMax: UInt64 = (1 << 48) - 1

    static func write(_ marker: Marker, run: UInt32, to text: UnsafeMutablePointer<UInt8>) {
        text[0] = self.sign
        for offset in self.dotOffsets { text[offset] = self.dot }
        self.writeHex(UInt64(run), digits: 8, to: text + self.runOffset)
        self.writeHex(UInt64(marker.channel), digits: 8, to: text + self.channelOffset)
        self.writeHex(UInt64(marker.lane) << 48 | marker.sequence, digits: 16, to: text + self.sequenceOffset)
        self.writeHex(marker.sentNanoseconds, digits: 16, to: text + self.sentOffset)
    }

    /// Reads a marker. The text must be a valid marker.
    @inline(__always)
    static func read(_ text: UnsafePointer<UInt8>) -> Marker {
        let sequence = self.readHex16(text + self.sequenceOffset)
        return Marker(
            channel: UInt32(truncatingIfNeeded: self.readHex8(text + self.channelOffset)),
            lane: UInt16(truncatingIfNeeded: sequence >> 48),
            sequence: sequence & self.sequenceMax,
            sentNanoseconds: self.readHex16(text + self.sentOffset)
        )
    }

    private static func writeHex(_ value: UInt64, digits: Int, to text: UnsafeMutablePointer<UInt8>) {
        var rest = value
        for index in stride(from: digits - 1, through: 0, by: -1) {
            let digit = UInt8(truncatingIfNeeded: rest & 15)
            text[index] = digit < 10 ? 48 + digit : 87 + digit
            rest >>= 4
        }
    }

    @inline(__always)
    private static func readHex16(_ text: UnsafePointer<UInt8>) -> UInt64 {
        self.readHex8(text) << 32 | self.readHex8(text + 8)
    }

    /// Reads eight digits together. A letter has bit 6, and its value is its low nibble plus 9. Then pairs of nibbles are combined in three steps.
    @inline(__always)
    private static func readHex8(_ text: UnsafePointer<UInt8>) -> UInt64 {
        let bytes = UInt64(bigEndian: UnsafeRawPointer(text).loadUnaligned(as: UInt64.self))
        let letters = (bytes >> 6) & 0x0101_0101_0101_0101
        var value = (bytes & 0x0F0F_0F0F_0F0F_0F0F) &+ letters &* 9
        value = (value | value >> 4) & 0x00FF_00FF_00FF_00FF
        value = (value | value >> 8) & 0x0000_FFFF_0000_FFFF
        return (value | value >> 16) & 0xFFFF_FFFF
    }
}

/// The payload of an event: a JSON object with the marker and padding.
struct PayloadTemplate: Sendable {
    static let prefix = Array(#"{"rt":""#.utf8)
    static let bytesMin = prefix.count + MarkerText.length + #"","pad":""}"#.utf8.count

    let run: UInt32
    private(set) var bytes: [UInt8]

    init(run: UInt32, count: Int) {
        self.run = run
        let middle = Array(#"","pad":""#.utf8)
        let end = Array(#""}"#.utf8)
        let padding = max(0, count - Self.bytesMin)
        self.bytes = Self.prefix + [UInt8](repeating: 48, count: MarkerText.length) + middle + [UInt8](repeating: 120, count: padding) + end
    }

    /// The distance from the `@` of one marker to the first possible place of the next marker. The bytes between the markers are padding.
    var stride: Int { self.bytes.count - Self.prefix.count }

    mutating func set(_ marker: Marker) {
        let run = self.run
        self.bytes.withUnsafeMutableBufferPointer { MarkerText.write(marker, run: run, to: $0.baseAddress! + Self.prefix.count) }
    }
}
