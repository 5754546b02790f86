import Testing

@testable import Commands

@Suite struct LineSplitterTests {
    private func lines(_ text: String, max: Int = 100, chunk: Int = .max) -> [LineSplitter.Line] {
        var splitter = LineSplitter(lineBytesMax: max)
        var lines: [LineSplitter.Line] = []
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            lines += splitter.feed(rest.prefix(chunk))
            rest = rest.dropFirst(chunk)
        }
        return lines + (splitter.finish().map { [$0] } ?? [])
    }

    private func texts(_ text: String, max: Int = 100, chunk: Int = .max) -> [String] {
        self.lines(text, max: max, chunk: chunk).map { $0.isTooLong ? "!" : String(decoding: $0.bytes, as: UTF8.self) }
    }

    @Test func splitsAtLineEnds() {
        for chunk in [1, 2, 3, Int.max] {
            #expect(texts("a\nb\r\n\nc", chunk: chunk) == ["a", "b", "", "c"])
            #expect(texts("a\n", chunk: chunk) == ["a"])
            #expect(texts("", chunk: chunk) == [])
            #expect(texts("\n\n", chunk: chunk) == ["", ""])
            #expect(texts("a\rb\n", chunk: chunk) == ["a\rb"])
            #expect(texts("a\r", chunk: chunk) == ["a"])
        }
    }

    @Test func numbersCountEveryLine() {
        #expect(lines("a\n\nb").map(\.number) == [1, 2, 3])
    }

    @Test func longLinesAreMarkedAndDoNotAffectTheNext() {
        for chunk in [1, 2, 4, Int.max] {
            #expect(texts("abc\nabcd\nabcde\nx\n", max: 4, chunk: chunk) == ["abc", "abcd", "!", "x"])
            #expect(texts("abcd\r\nabcd", max: 4, chunk: chunk) == ["abcd", "abcd"])
            #expect(texts("abcdefghijkl", max: 4, chunk: chunk) == ["!"])
        }
    }
}
