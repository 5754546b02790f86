/// The number of terminal columns that a text needs: two for a wide East Asian character or an emoji, one for any other character.
func displayWidth(_ text: some StringProtocol) -> Int {
    text.reduce(0) { $0 + displayWidth($1) }
}

private func displayWidth(_ character: Character) -> Int {
    guard let first = character.unicodeScalars.first, first.value >= 0x1100 else { return 1 }
    switch first.value {
    case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA000...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF,
        0xFE30...0xFE4F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F680...0x1F6FF, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
        return 2
    default:
        return first.properties.isEmojiPresentation || character.unicodeScalars.contains("\u{FE0F}") ? 2 : 1
    }
}

/// Wraps text between words into lines of at most `width` columns. A word that is wider than a line is broken. A width of nil does not wrap.
func wrapped(_ text: String, to width: Int?) -> [String] {
    guard let limit = width, displayWidth(text) > limit else { return [text] }
    let width = max(limit, 2)
    var lines: [String] = []
    var line: String?
    for word in text.split(separator: " ", omittingEmptySubsequences: false) {
        if let begun = line, displayWidth(begun) + 1 + displayWidth(word) <= width {
            line = begun + " " + word
            continue
        }
        if let begun = line { lines.append(begun) }
        var rest = word
        while displayWidth(rest) > width {
            let head = prefix(String(rest), width)
            lines.append(head)
            rest = rest.dropFirst(head.count)
        }
        line = String(rest)
    }
    return lines + (line.map { [$0] } ?? [])
}

/// Shortens text to `width` columns. `…` replaces the end.
func cut(_ text: String, to width: Int?) -> String {
    guard let width, displayWidth(text) > width else { return text }
    return width < 1 ? "" : prefix(text, width - 1) + "…"
}

/// Shortens text to `width` columns. `…` replaces the middle, because host names differ at both ends.
func cutMiddle(_ text: String, to width: Int) -> String {
    guard displayWidth(text) > width else { return text }
    guard width > 2 else { return cut(text, to: width) }
    let tail = (width - 1) / 2
    return prefix(text, width - 1 - tail) + "…" + String(prefix(String(text.reversed()), tail).reversed())
}

private func prefix(_ text: String, _ width: Int) -> String {
    var taken = 0
    return String(
        text.prefix { character in
            taken += displayWidth(character)
            return taken <= width
        })
}
