import NIOCore
import Partitioning
import PipelineTestKit
import TestKit
import Testing

@testable import Pipeline

@Suite struct CursorTests {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

    private func random(_ random: inout SplitMix) -> Cursor {
        Cursor(
            entries: (0...random.below(6)).map { _ in
                Cursor.Entry(channel: UInt32(truncatingIfNeeded: random.next()), position: position(random.number(), random.number()))
            })
    }

    /// A cursor with any body and a correct checksum. A client would have to implement the format to make it.
    private func forged(_ body: [UInt8]) -> String {
        let check = body.withUnsafeBytes { XXH64.hash($0, seed: Cursor.checkSeed) }
        var buffer = ByteBuffer()
        (body + [UInt8(truncatingIfNeeded: check), UInt8(truncatingIfNeeded: check >> 8)]).withUnsafeBytes { Base64URL.write($0, into: &buffer) }
        return String(buffer: buffer)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func readsCursorsThatItWrote(seed: UInt64) {
        var random = SplitMix(seed: seed)
        for _ in 0..<500 {
            let cursor = self.random(&random)
            #expect(Cursor(cursor.text) == cursor, "seed \(seed): \(cursor.text)")
            #expect(cursor.text.allSatisfy(Self.alphabet.contains))
        }
    }

    @Test func readsTheLongestNumbers() {
        let cursor = Cursor(entries: [.init(channel: .max, position: position(UInt64(Int64.max), UInt64(Int64.max)))])
        #expect(Cursor(cursor.text) == cursor)
        let nothing = Cursor(entries: [.init(channel: 0, position: position(0, 0))])
        #expect(Cursor(nothing.text) == nothing)
    }

    /// The checksum has 16 bits, so one of 65,536 changed cursors may be accepted. With these fixed seeds, none or very few are.
    @Test(arguments: [11, 12] as [UInt64])
    func refusesEveryChangeOfOneCharacter(seed: UInt64) {
        var random = SplitMix(seed: seed)
        var accepted = 0
        var tried = 0
        for _ in 0..<20 {
            let text = Array(self.random(&random).text)
            for index in text.indices {
                for character in Self.alphabet where character != text[index] {
                    var changed = text
                    changed[index] = character
                    tried += 1
                    if Cursor(String(changed)) != nil { accepted += 1 }
                }
            }
        }
        #expect(accepted * 8000 <= tried, "seed \(seed): \(accepted) of \(tried)")
    }

    @Test(arguments: [21, 22] as [UInt64])
    func refusesTruncationAndExtension(seed: UInt64) {
        var random = SplitMix(seed: seed)
        var accepted = 0
        for _ in 0..<100 {
            let text = self.random(&random).text
            for length in 0..<text.count where Cursor(text.prefix(length)) != nil { accepted += 1 }
            for character in Self.alphabet where Cursor(text + String(character)) != nil { accepted += 1 }
            for ending in ["=", "==", " ", "\n", "\0", "%3D", "é"] { #expect(Cursor(text + ending) == nil, "seed \(seed): \(text)\(ending)") }
        }
        #expect(accepted <= 2, "seed \(seed)")
    }

    @Test(arguments: [31, 32] as [UInt64])
    func randomTextIsRefusedOrIsACanonicalCursor(seed: UInt64) {
        var random = SplitMix(seed: seed)
        for _ in 0..<5000 {
            let text = String(decoding: random.bytes(upTo: 60), as: UTF8.self)
            if let cursor = Cursor(text) { #expect(cursor.text == text, "seed \(seed)") }
            // The checksum is correct, so the reader must check everything else.
            let made = self.forged([Cursor.version] + random.bytes(upTo: 60))
            if let cursor = Cursor(made) { #expect(cursor.text == made, "seed \(seed): \(made)") }
        }
    }

    @Test(
        arguments: [
            [], [1], [2, 1, 2, 3, 4, 0, 0], [1, 1, 2, 3], [1, 1, 2, 3, 4], [1, 1, 2, 3, 4, 0],
            // A number with an unnecessary last byte.
            [1, 1, 2, 3, 4, 0x80, 0, 1], [1, 1, 2, 3, 4, 1, 0x81, 0],
            // A number that stops before its last byte, and numbers of more than 63 bits.
            [1, 1, 2, 3, 4, 1, 0x81],
            [1, 1, 2, 3, 4, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
            [1, 1, 2, 3, 4, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02],
            [1, 1, 2, 3, 4, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        ] as [[UInt8]])
    func refusesNonCanonicalCursorsWithACorrectChecksum(_ body: [UInt8]) {
        #expect(Cursor(self.forged(body)) == nil)
    }

    @Test func theForgedHelperCanMakeValidCursors() {
        #expect(Cursor(self.forged([1, 1, 2, 3, 4, 5, 6])) == Cursor(entries: [.init(channel: 0x0403_0201, position: position(5, 6))]))
    }

    @Test func aCursorWrittenForOneChannelIsReadAsThatCursor() {
        var buffer = ByteBuffer()
        Cursor.write(channel("room:1"), position(3, 300), into: &buffer)
        #expect(Cursor(String(buffer: buffer)) == Cursor(entries: [.init(channel: hash32("room:1"), position: position(3, 300))]))
    }

    /// `since` accepts a cursor or a position.
    @Test(arguments: [51] as [UInt64])
    func noCursorIsAlsoAPosition(seed: UInt64) {
        var random = SplitMix(seed: seed)
        for _ in 0..<500 {
            #expect(Position(self.random(&random).text) == nil, "seed \(seed)")
            #expect(Cursor("\(position(random.number(), random.number()))") == nil, "seed \(seed)")
        }
    }

    @Test func findsAChannelByItsHash() {
        let cursor = Cursor(entries: [.init(channel: hash32("a"), position: position(1, 2)), .init(channel: hash32("b"), position: position(3, 4))])
        #expect(cursor.position(of: channel("b")) == position(3, 4))
        #expect(cursor.position(of: channel("c")) == nil)
    }

    @Test func refusesOverlongText() {
        #expect(Cursor(String(repeating: "A", count: 8 * 1024 + 4)) == nil)
    }

    @Test(arguments: [41] as [UInt64])
    func base64URLRoundTrip(seed: UInt64) {
        var random = SplitMix(seed: seed)
        for _ in 0..<500 {
            let bytes = random.bytes(upTo: 50)
            var buffer = ByteBuffer()
            bytes.withUnsafeBytes { Base64URL.write($0, into: &buffer) }
            #expect(Base64URL.decode(buffer.readableBytesView) == bytes, "seed \(seed)")
        }
        #expect(Base64URL.decode("A".utf8) == nil)
        #expect(Base64URL.decode("AB".utf8) == nil, "the unused last bits are not zero")
        #expect(Base64URL.decode("AA==".utf8) == nil)
        #expect(Base64URL.decode("+/".utf8) == nil)
    }
}
