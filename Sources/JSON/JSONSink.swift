/// The destination of JSON text: an array of bytes in this module, a `ByteBuffer` in modules that import NIO.
///
/// The functions that run for every event (strings, decimals, base64) are inlinable extensions of this protocol. The compiler specialises them in the
/// module that calls them: there is no existential, no witness call for each byte, and no intermediate string.
package protocol JSONSink {
    mutating func append(byte: UInt8)
    mutating func append(bytes: UnsafeRawBufferPointer)
}

extension [UInt8]: JSONSink {
    @inlinable
    package mutating func append(byte: UInt8) { self.append(byte) }

    @inlinable
    package mutating func append(bytes: UnsafeRawBufferPointer) { self.append(contentsOf: bytes) }
}

extension JSONSink {
    @inlinable
    package mutating func append(static text: StaticString) {
        self.append(bytes: UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    @inlinable
    package mutating func append(text: String) {
        var text = text
        text.withUTF8 { self.append(bytes: UnsafeRawBufferPointer($0)) }
    }

    /// Writes a JSON string with its quotes. Escapes only the bytes that JSON requires to be escaped. The bytes must be valid UTF-8.
    @inlinable
    package mutating func writeJSONString(_ bytes: UnsafeRawBufferPointer) {
        self.append(byte: UInt8(ascii: "\""))
        var start = 0
        for index in 0..<bytes.count {
            let byte = bytes[index]
            guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else { continue }
            self.append(bytes: UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
            self.writeJSONEscape(byte)
            start = index + 1
        }
        self.append(bytes: UnsafeRawBufferPointer(rebasing: bytes[start...]))
        self.append(byte: UInt8(ascii: "\""))
    }

    @inlinable
    package mutating func writeJSONString(_ string: String) {
        var string = string
        string.withUTF8 { self.writeJSONString(UnsafeRawBufferPointer($0)) }
    }

    @inlinable
    package mutating func writeJSONEscape(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): self.append(static: "\\\"")
        case UInt8(ascii: "\\"): self.append(static: "\\\\")
        case 0x0A: self.append(static: "\\n")
        case 0x0D: self.append(static: "\\r")
        case 0x09: self.append(static: "\\t")
        default:
            let digits: StaticString = "0123456789abcdef"
            self.append(static: "\\u00")
            self.append(byte: digits.utf8Start[Int(byte >> 4)])
            self.append(byte: digits.utf8Start[Int(byte & 15)])
        }
    }

    /// Writes a number in decimal without making a string.
    @inlinable
    package mutating func writeDecimal(_ value: UInt64) {
        withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { digits in
            var value = value
            var index = 20
            repeat {
                index -= 1
                digits[index] = UInt8(0x30 + value % 10)
                value /= 10
            } while value > 0
            self.append(bytes: UnsafeRawBufferPointer(rebasing: digits[index...]))
        }
    }

    /// Writes standard base64 with padding (RFC 4648 §4), for payloads that are not text.
    @inlinable
    package mutating func writeBase64(_ bytes: UnsafeRawBufferPointer) {
        let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        var index = 0
        while index < bytes.count {
            let left = bytes.count - index
            let word = UInt32(bytes[index]) << 16 | (left > 1 ? UInt32(bytes[index + 1]) << 8 : 0) | (left > 2 ? UInt32(bytes[index + 2]) : 0)
            self.append(byte: alphabet.utf8Start[Int(word >> 18)])
            self.append(byte: alphabet.utf8Start[Int(word >> 12 & 63)])
            self.append(byte: left > 1 ? alphabet.utf8Start[Int(word >> 6 & 63)] : UInt8(ascii: "="))
            self.append(byte: left > 2 ? alphabet.utf8Start[Int(word & 63)] : UInt8(ascii: "="))
            index += 3
        }
    }
}
