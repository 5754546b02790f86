package import NIOCore

/// Base64 with the URL-safe alphabet and without padding (RFC 4648 §5).
package enum Base64URL {
    private static let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    package static func write(_ bytes: UnsafeRawBufferPointer, into buffer: inout ByteBuffer) {
        let length = (bytes.count * 4 + 2) / 3
        let alphabet = alphabet.utf8Start
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: length) { out in
            var input = 0
            var output = 0
            while input < bytes.count {
                let left = bytes.count - input
                let word = UInt32(bytes[input]) << 16 | (left > 1 ? UInt32(bytes[input + 1]) << 8 : 0) | (left > 2 ? UInt32(bytes[input + 2]) : 0)
                out[output] = alphabet[Int(word >> 18)]
                out[output + 1] = alphabet[Int(word >> 12 & 63)]
                if left > 1 { out[output + 2] = alphabet[Int(word >> 6 & 63)] }
                if left > 2 { out[output + 3] = alphabet[Int(word & 63)] }
                input += 3
                output += min(left, 3) + 1
            }
            return length
        }
    }

    /// The character of a number of 6 bits.
    static func character(_ number: UInt8) -> UInt8 { self.alphabet.utf8Start[Int(number & 63)] }

    /// Returns nil if a byte is outside the alphabet, the length is impossible, or the unused last bits are not zero.
    package static func decode(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var bytes: [UInt8] = []
        var word: UInt32 = 0
        var bits = 0
        var count = 0
        for character in text {
            guard let value = value(character) else { return nil }
            word = word << 6 | UInt32(value)
            bits += 6
            count += 1
            if bits >= 8 {
                bits -= 8
                bytes.append(UInt8(truncatingIfNeeded: word >> UInt32(bits)))
                word &= (1 << UInt32(bits)) - 1
            }
        }
        return count % 4 == 1 || word != 0 ? nil : bytes
    }

    private static func value(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - 65
        case UInt8(ascii: "a")...UInt8(ascii: "z"): character - 97 + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - 48 + 52
        case UInt8(ascii: "-"): 62
        case UInt8(ascii: "_"): 63
        default: nil
        }
    }
}
