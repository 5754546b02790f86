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

/// JSON whose decoded strings are escaped as by ``harmless(_:keeping:)``. So a response is made harmless in one place, before it is decoded.
func harmlessJSON(_ json: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(json.count)
    var index = 0
    func spell(_ value: UInt32) { result += Array("\\\(escape(value))".utf8) }
    while index < json.count {
        let byte = json[index]
        if byte == UInt8(ascii: "\\"), index + 1 < json.count {
            let next = json[index + 1]
            let short: [UInt8: UInt32] = [
                UInt8(ascii: "b"): 8, UInt8(ascii: "t"): 9, UInt8(ascii: "n"): 10, UInt8(ascii: "f"): 12, UInt8(ascii: "r"): 13,
            ]
            if let value = short[next] {
                spell(value)
                index += 2
            } else if next == UInt8(ascii: "u"), index + 6 <= json.count,
                let value = UInt32(String(decoding: json[index + 2..<index + 6], as: UTF8.self), radix: 16), isHarmful(value)
            {
                spell(value)
                index += 6
            } else {
                result += [byte, next]
                index += 2
            }
            continue
        }
        // Raw characters: U+007F to U+009F, U+061C, U+200E to U+2069. In JSON they occur only inside strings.
        if byte == 0x7F {
            spell(0x7F)
            index += 1
        } else if byte & 0xE0 == 0xC0, index + 1 < json.count, case let value = UInt32(byte & 0x1F) << 6 | UInt32(json[index + 1] & 0x3F), isHarmful(value) {
            spell(value)
            index += 2
        } else if byte & 0xF0 == 0xE0, index + 2 < json.count,
            case let value = UInt32(byte & 0x0F) << 12 | UInt32(json[index + 1] & 0x3F) << 6 | UInt32(json[index + 2] & 0x3F), isHarmful(value)
        {
            spell(value)
            index += 3
        } else {
            result.append(byte)
            index += 1
        }
    }
    return result
}
