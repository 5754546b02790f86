import NIOCore

/// Writes HTTP/1.1's chunked transfer coding (RFC 9112 §7.1).
package enum ChunkedCoding {
    /// The end of a chunked stream.
    package static let end: StaticString = "0\r\n\r\n"

    /// The size line of a chunk.
    static func writeSize(_ size: Int, into buffer: inout ByteBuffer) {
        let digits: StaticString = "0123456789abcdef"
        var shift = max(0, (Int.bitWidth - 1 - size.leadingZeroBitCount) / 4 * 4)
        while shift >= 0 {
            buffer.writeInteger(digits.utf8Start[size >> shift & 15])
            shift -= 4
        }
        buffer.writeStaticString("\r\n")
    }
}
