/// Standard base64 with padding (RFC 4648 §4).
package enum Base64 {
    package static func string(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        bytes.withUnsafeBytes { text.writeBase64($0) }
        return String(decoding: text, as: UTF8.self)
    }
}
