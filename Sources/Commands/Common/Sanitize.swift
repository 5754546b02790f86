import JSON

/// Whether a character controls a terminal or changes the order of its text: control characters, line separators and bidirectional controls.
///
/// A payload, a node id or a note must not control the reader's terminal or forge a line on it.
private func isControl(_ value: UInt32) -> Bool {
    switch value {
    case 0..<0x20, 0x7F..<0xA0, 0x061C, 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069: true
    default: false
    }
}

private func escape(_ value: UInt32) -> String {
    let digits = String(value, radix: 16)
    return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
}

/// Escapes the characters that control a terminal, for example ESC as `\u001b`.
///
/// - Parameter keeping: characters that are not escaped.
func sanitized(_ text: String, keeping kept: Set<Unicode.Scalar> = []) -> String {
    guard text.unicodeScalars.contains(where: { isControl($0.value) && !kept.contains($0) }) else { return text }
    var result = ""
    for scalar in text.unicodeScalars {
        if isControl(scalar.value), !kept.contains(scalar) { result += escape(scalar.value) } else { result.unicodeScalars.append(scalar) }
    }
    return result
}

/// Escapes a payload for output on a terminal. Tabs and line ends stay. Bytes that are not UTF-8 become U+FFFD.
func sanitized(_ payload: [UInt8]) -> [UInt8] {
    Array(sanitized(String(decoding: payload, as: UTF8.self), keeping: ["\t", "\n"]).utf8)
}

/// Applies ``sanitized(_:keeping:)`` to each string and field name of a response before it is read. Nil if the bytes are not JSON.
func sanitizedJSON(_ json: [UInt8]) -> JSONValue? {
    var writer = JSONWriter()
    guard let value = JSONValue(json), (try? value.write(to: &writer, changing: { sanitized($0) })) != nil else { return nil }
    return JSONValue(writer.bytes)
}
