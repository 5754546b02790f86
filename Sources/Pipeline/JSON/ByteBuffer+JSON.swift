package import NIOCore

extension ByteBuffer {
    /// Writes a JSON string with its quotes. Escapes only what JSON requires. The bytes must be valid UTF-8.
    package mutating func writeJSONString(_ bytes: UnsafeRawBufferPointer) {
        self.writeInteger(UInt8(ascii: "\""))
        var start = 0
        for index in 0..<bytes.count {
            let byte = bytes[index]
            guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else { continue }
            self.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
            self.writeJSONEscape(byte)
            start = index + 1
        }
        self.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[start...]))
        self.writeInteger(UInt8(ascii: "\""))
    }

    package mutating func writeJSONString(_ string: String) {
        var string = string
        string.withUTF8 { self.writeJSONString(UnsafeRawBufferPointer($0)) }
    }

    private mutating func writeJSONEscape(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): self.writeStaticString("\\\"")
        case UInt8(ascii: "\\"): self.writeStaticString("\\\\")
        case 0x0A: self.writeStaticString("\\n")
        case 0x0D: self.writeStaticString("\\r")
        case 0x09: self.writeStaticString("\\t")
        default:
            let digits: StaticString = "0123456789abcdef"
            self.writeStaticString("\\u00")
            self.writeInteger(digits.utf8Start[Int(byte >> 4)])
            self.writeInteger(digits.utf8Start[Int(byte & 15)])
        }
    }

    /// Writes a number in decimal without making a string.
    package mutating func writeDecimal(_ value: UInt64) {
        withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { digits in
            var value = value
            var index = 20
            repeat {
                index -= 1
                digits[index] = UInt8(0x30 + value % 10)
                value /= 10
            } while value > 0
            self.writeBytes(UnsafeRawBufferPointer(rebasing: digits[index...]))
        }
    }

    package mutating func writePosition(_ position: Position) {
        self.writeDecimal(position.epoch)
        self.writeInteger(UInt8(ascii: "-"))
        self.writeDecimal(position.offset)
    }
}
