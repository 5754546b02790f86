import JSON

/// Characters that control a terminal or change the order of its text: control characters, line separators and bidirectional controls.
///
/// A payload, a node's name or a note must not control the reader's terminal, nor forge a line there.
private func isHarmful(_ value: UInt32) -> Bool {
    switch value {
    case 0..<0x20, 0x7F..<0xA0, 0x061C, 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069: true
    default: false
    }
}

private func escape(_ value: UInt32) -> String {
    let digits = String(value, radix: 16)
    return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
}

/// Text for a person: characters that control a terminal are escaped, ESC as `\u001b`.
///
/// - Parameter keeping: characters that are not escaped.
func harmless(_ text: String, keeping kept: Set<Unicode.Scalar> = []) -> String {
    guard text.unicodeScalars.contains(where: { isHarmful($0.value) && !kept.contains($0) }) else { return text }
    var result = ""
    for scalar in text.unicodeScalars {
        if isHarmful(scalar.value), !kept.contains(scalar) { result += escape(scalar.value) } else { result.unicodeScalars.append(scalar) }
    }
    return result
}

/// A payload for a person: tabs and line ends stay; bytes that are not UTF-8 become U+FFFD.
func harmless(_ payload: [UInt8]) -> [UInt8] {
    Array(harmless(String(decoding: payload, as: UTF8.self), keeping: ["\t", "\n"]).utf8)
}

/// JSON in which each string is what ``harmless(_:keeping:)`` makes of it: a response is made harmless in one place, before it is read. Nil if it is no JSON.
func harmlessJSON(_ json: [UInt8]) -> JSONValue? {
    var writer = JSONWriter()
    guard let value = JSONValue(json), (try? value.write(to: &writer, changing: { harmless($0) })) != nil else { return nil }
    return JSONValue(writer.bytes)
}
