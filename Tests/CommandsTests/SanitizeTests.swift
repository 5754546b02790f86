import JSON
import AdminAPI
import NIOHTTP1
import Testing

@testable import Commands

/// Text from other sources never controls the terminal.
@Suite struct SanitizeTests {
    private static let controls: [Unicode.Scalar] = [
        "\u{1B}", "\u{0}", "\u{7}", "\r", "\n", "\t", "\u{7F}", "\u{80}", "\u{9B}", "\u{9F}", "\u{61C}", "\u{200E}", "\u{200F}", "\u{2028}", "\u{2029}",
        "\u{202A}", "\u{202E}", "\u{2066}", "\u{2069}",
    ]
    private static let sanitized: [Unicode.Scalar] = [" ", "~", "\u{A0}", "é", "\u{60F}", "\u{200D}", "\u{2013}", "日", "\u{1F600}", "\\", "\"", "/"]

    @Test func controlCharactersAreEscaped() {
        #expect(Commands.sanitized("a\u{1B}[31m\u{202E}b\u{9B}c") == "a\\u001b[31m\\u202eb\\u009bc")
        for scalar in Self.controls { #expect(!Commands.sanitized("a\(scalar)b").unicodeScalars.contains(scalar), "\(scalar.value)") }
        let text = String(String.UnicodeScalarView(Self.sanitized))
        #expect(Commands.sanitized(text) == text)
        #expect(Commands.sanitized(Array("a\tb\nc\u{1B}é".utf8)) == Array("a\tb\nc\\u001bé".utf8))
        #expect(Commands.sanitized([0x61, 0xFF]) == Array("a\u{FFFD}".utf8))
    }

    @Test func everySpellingOfAControlCharacterIsEscaped() throws {
        for scalar in Self.controls + Self.sanitized {
            let hex = String(scalar.value, radix: 16)
            let spellings = [
                "\\u" + String(repeating: "0", count: max(0, 4 - hex.count)) + hex,
                scalar.value < 0x20 || "\"\\".unicodeScalars.contains(scalar) ? nil : String(scalar),
            ]
            for spelling in spellings.compactMap({ $0 }) where scalar.value < 0x10000 || spelling.count == 1 {
                let json = Array("{\"a\":\"x\(spelling)y\"}".utf8)
                var fields = try #require(sanitizedJSON(json)?.fields)
                let text = fields.text("a")
                let value = try #require(text)
                #expect(value == Commands.sanitized("x\(scalar)y"), "\(spelling)")
            }
        }
        let plain = Array("{\"a\": \"\\\\u001b \\\"q\\\" \\/ é 日 \\ud83d\\ude00\", \"b\":[1, true]}".utf8)
        #expect(sanitizedJSON(plain)?.text == "{\"a\":\"\\\\u001b \\\"q\\\" / é 日 😀\",\"b\":[1,true]}")
        let nested = Array("[{\"\\u001b\":[\"\\u0007\", 1.50, null, {}]}, []]".utf8)
        #expect(sanitizedJSON(nested)?.text == "[{\"\\\\u001b\":[\"\\\\u0007\",1.50,null,{}]},[]]")
        for broken in ["\"\\", "{", "\"\\ud800\""] { #expect(sanitizedJSON(Array(broken.utf8))?.text == nil) }
    }

    @Test func notesReasonsAndMessagesOfANodeAreEscaped() throws {
        let escape = "\\u001b]0;x\\u0007\\u202e"
        let members = try ClusterMembers(
            ClusterSamples.members(ClusterSamples.member("n1", state: "draining", desired: "draining").replacing("kernel", with: "kernel \(escape)")))
        let overview = try ClusterOverview(ClusterSamples.overview(health: "degraded", reasons: "\"n7 \(escape)\""))
        let events = try ClusterEvents(ClusterSamples.events("n3", [(1, at: 1)]).replacing("12 partitions", with: escape))
        for text in [members.table(on: ClusterSamples.plain), overview.table(on: ClusterSamples.plain), events.table(on: ClusterSamples.plain)] {
            #expect(text.contains("\\u001b]0;x\\u0007\\u202e") && !text.unicodeScalars.contains("\u{1B}") && !text.unicodeScalars.contains("\u{202E}"))
        }
        let response = Response(status: 409, headers: [:], body: Array("{\"error\":{\"code\":\"conflict\",\"message\":\"no \(escape)\"}}".utf8))
        #expect(response.statusText == "409: no \\u001b]0;x\\u0007\\u202e")
    }
}
