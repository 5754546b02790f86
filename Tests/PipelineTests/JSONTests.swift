import Foundation
import JSON
import NIOCore
import TestKit
import Testing

@testable import Pipeline

@Suite struct JSONTests {
    private func isValue(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { JSONScanner.isValue($0).valid } }
    private func isValue(_ text: String) -> Bool { self.isValue(Array(text.utf8)) }

    private func string(_ text: String) -> String? { self.string(Array(text.utf8)) }
    private func string(_ bytes: [UInt8]) -> String? {
        bytes.withUnsafeBytes {
            var scanner = JSONScanner($0)
            return scanner.string()
        }
    }

    /// Foundation's result. The test compares only texts for which both must agree, because Foundation refuses lone surrogates and numbers beyond its range,
    /// and guesses UTF-16.
    private func foundationAccepts(_ bytes: [UInt8]) -> Bool {
        (try? JSONSerialization.jsonObject(with: Data(bytes), options: [.fragmentsAllowed])) != nil
    }

    static let corpus = [
        #"{"a":1,"b":[true,false,null],"c":{"d":"e\n\u00e9\ud83d\ude00"},"f":-1.5e+10}"#, "[]", "{}", " [ 1 , 2 ] ", "\"text\"", "0", "-0", "1e5", "0.5",
        "[[[[{}]]]]", "{\"\":\"\"}", "[1,\n 2,\r\n 3]", #""\"\\\/\b\f\n\r\t""#, "null", "\"é😀\"", #"{"data":[{"x":"y"},{"x":"z"}],"n":12345678901}"#,
    ]
    static let tokens = ["\"", "\\", "\\u", "{", "}", "[", "]", ",", ":", "-", "0", "1e", ".5", "true", "null", "\\ud800", "\n", "\t", "\u{1}", "é", "//"]

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func agreesWithFoundation(seed: UInt64) {
        var random = SplitMix(seed: seed)
        var valid = 0
        for _ in 0..<4000 {
            let bytes = random.mutate(Array(Self.corpus.randomElement(using: &random)!.utf8), with: Self.tokens)
            // The scanner reads UTF-8 without a byte order mark. Escaped surrogates and numbers with long exponents have tests of their own below.
            guard String(validating: bytes, as: UTF8.self) != nil, !bytes.starts(with: [0xEF, 0xBB, 0xBF]), !bytes.contains(0) else { continue }
            let text = String(decoding: bytes, as: UTF8.self)
            if text.lowercased().contains("\\ud") || text.wholeMatch(of: /[\s\S]*[0-9.][eE][-+]?[0-9]{3,}[\s\S]*/) != nil { continue }
            let ours = self.isValue(bytes)
            // Foundation accepts a comma before the end of an array or object, RFC 8259 does not.
            if !ours, text.contains(/,[ \t\r\n]*[\]}]/.matchingSemantics(.unicodeScalar)) { continue }
            if ours { valid += 1 }
            #expect(ours == self.foundationAccepts(bytes), "seed \(seed): \(text.debugDescription)")
        }
        #expect(valid > 100, "seed \(seed): too few of the mutations were valid")
    }

    @Test(arguments: [
        "", " ", "{", "}", "[1,]", "[,1]", "{\"a\":1,}", "{a:1}", "{'a':1}", "01", "1.", ".5", "+1", "1e", "1e+", "--1", "- 1", "nul", "truex", "True", "[1 2]",
        "1 2", "\"a", "\"\\x\"", "\"\\u12\"", "\"\\u12G4\"", "\"\n\"", "\"\t\"", "[1]]", "{\"a\" 1}", "{\"a\"}", "NaN", "Infinity", "// x", "\u{FEFF}1",
        "\u{A0}1",
    ])
    func refuses(_ text: String) {
        #expect(!self.isValue(text))
    }

    @Test(arguments: ["1", "\"a\"", "null", "{\"a\":1,\"a\":2}", "\"\\ud800\"", "1e999999", " \t\r\n1 \t\r\n", "\"\u{7F}\"", "-0.0E-0", "\"\\/\""])
    func accepts(_ text: String) {
        #expect(self.isValue(text))
    }

    @Test func depthIsBounded() {
        for (open, close, bottom) in [("[", "]", "1"), ("{\"a\":", "}", "1")] {
            func nested(_ depth: Int) -> String { String(repeating: open, count: depth) + bottom + String(repeating: close, count: depth) }
            #expect(self.isValue(nested(JSONScanner.depthMax - 1)))
            #expect(!self.isValue(nested(JSONScanner.depthMax)))
            #expect(!self.isValue(String(repeating: open, count: 1_000_000)))
        }
    }

    @Test func lineBreaksBetweenTokensAreDetected() {
        func breaks(_ text: String) -> Bool { Array(text.utf8).withUnsafeBytes { JSONScanner.isValue($0).hasLineBreaks } }
        #expect(!breaks("[1, \"\\n\"]"))
        #expect(breaks("[1,\n2]"))
        #expect(breaks("[1\r]"))
        #expect(breaks("1\n"))
    }

    @Test func unescapes() {
        #expect(self.string(#""\"\\\/\b\f\n\r\t""#) == "\"\\/\u{8}\u{C}\n\r\t")
        #expect(self.string(#""\u0041\u00e9\u20AC\ud83d\ude00\uD834\uDD1E""#) == "Aé€😀𝄞")
        #expect(self.string("\"é😀\"") == "é😀")
        #expect(self.string(#""\u0000""#) == "\0")
        for lone in [#""\ud800""#, #""\ud800x""#, #""\ud800\n""#, #""\ud800\u0041""#, #""\udc00""#, #""\ud800\ud800""#] { #expect(self.string(lone) == nil) }
        #expect(self.string([0x22, 0xFF, 0x22]) == nil)
        #expect(self.string([0x22, 0x5C, 0x6E, 0xC3, 0x22]) == nil)
        #expect(self.string("1") == nil)
        #expect(self.string("") == nil)
    }

    @Test(arguments: [7, 8] as [UInt64])
    func stringsRoundTrip(seed: UInt64) {
        var random = SplitMix(seed: seed)
        for _ in 0..<1000 {
            let text = String(decoding: random.bytes(upTo: 40), as: UTF8.self)
            var buffer = ByteBuffer()
            buffer.writeJSONString(text)
            #expect(self.string(Array(buffer.readableBytesView)) == text, "seed \(seed)")
            let decoded = try? JSONSerialization.jsonObject(with: Data(buffer.readableBytesView), options: [.fragmentsAllowed]) as? String
            #expect(decoded == text, "seed \(seed)")
        }
    }

    @Test func valuesAreRangesWithoutTheSpaceAround() {
        let bytes = Array(" [1, 2] x".utf8)
        bytes.withUnsafeBytes {
            var scanner = JSONScanner($0)
            let range = scanner.value()
            let isAtEnd = scanner.isAtEnd()
            let next = scanner.peek()
            #expect(range == 1..<7)
            #expect(!isAtEnd)
            #expect(next == UInt8(ascii: "x"))
        }
    }

    @Test(arguments: [9] as [UInt64])
    func decimalsAndBase64(seed: UInt64) {
        var random = SplitMix(seed: seed)
        for number in [0, 9, 10, UInt64.max] + (0..<200).map({ _ in random.number(bits: 64) }) {
            var buffer = ByteBuffer()
            buffer.writeDecimal(number)
            #expect(String(buffer: buffer) == String(number))
        }
        for _ in 0..<200 {
            let bytes = random.bytes(upTo: 40)
            #expect(Base64.string(bytes) == Data(bytes).base64EncodedString(), "seed \(seed)")
        }
    }
}
