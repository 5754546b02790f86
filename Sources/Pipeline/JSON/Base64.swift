import NIOCore

/// Standard base64 with padding (RFC 4648 §4), for payloads that are not text.
package enum Base64 {
    package static func string(_ bytes: [UInt8]) -> String {
        var buffer = ByteBuffer()
        bytes.withUnsafeBytes { self.write($0, into: &buffer) }
        return String(buffer: buffer)
    }

    static func write(_ bytes: UnsafeRawBufferPointer, into buffer: inout ByteBuffer) {
        let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        var index = 0
        while index < bytes.count {
            let left = bytes.count - index
            let word = UInt32(bytes[index]) << 16 | (left > 1 ? UInt32(bytes[index + 1]) << 8 : 0) | (left > 2 ? UInt32(bytes[index + 2]) : 0)
            buffer.writeInteger(alphabet.utf8Start[Int(word >> 18)])
            buffer.writeInteger(alphabet.utf8Start[Int(word >> 12 & 63)])
            buffer.writeInteger(left > 1 ? alphabet.utf8Start[Int(word >> 6 & 63)] : UInt8(ascii: "="))
            buffer.writeInteger(left > 2 ? alphabet.utf8Start[Int(word & 63)] : UInt8(ascii: "="))
            index += 3
        }
    }
}
