import PipelineTestKit
import Testing

@testable import Pipeline

@Suite struct NameTests {
    @Test(arguments: ["a", "A.b:c-d_9", "b5", "x.b", "x.b5c", "x.c5", "x.B5", ".b", "...", "xb5", String(repeating: "x", count: 200)])
    func validNames(_ name: String) {
        #expect(ChannelName(name)?.string == name)
        #expect(ChannelName(bytes: Array(name.utf8))?.string == name)
    }

    @Test(arguments: [
        "", " ", "a b", "a/b", "a,b", "é", "a\n", "a\0", "x.b5", "x.b0", ".b5", "x.b007", "a%20", "a\"", "a\\", String(repeating: "x", count: 201),
        "x.b99999999999999999999999",
    ])
    func invalidNames(_ name: String) {
        #expect(ChannelName(name) == nil)
        #expect(ChannelName(bytes: Array(name.utf8)) == nil)
    }

    @Test func bytesThatAreNotText() {
        #expect(ChannelName(bytes: [0xFF]) == nil)
        #expect(ChannelName(bytes: [0x61, 0xC3]) == nil)
    }

    @Test func onlyBytesOfTheAlphabetAreNameBytes() {
        let allowed = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-".utf8)
        for byte in UInt8.min...UInt8.max { #expect(ChannelName.isNameByte(byte) == allowed.contains(byte)) }
    }

    @Test(arguments: [("x.b5", 1), ("x.b5.b6", 4), (".b5", 0), ("x.b", nil), ("b5", nil), ("5", nil), ("", nil), ("x.b5x", nil)] as [(String, Int?)])
    func backlogSuffix(_ text: String, _ start: Int?) {
        #expect(ChannelName.backlogSuffixStart(Array(text.utf8)) == start)
    }

    @Test(
        arguments: [("0-0", 0, 0), ("1-7", 1, 7), ("12-345", 12, 345), ("9223372036854775807-9223372036854775807", UInt64(Int64.max), UInt64(Int64.max))]
            as [(String, UInt64, UInt64)])
    func positions(_ text: String, _ epoch: UInt64, _ offset: UInt64) {
        #expect(Position(text) == position(epoch, offset))
        #expect(Position(text)?.description == text)
    }

    @Test(arguments: [
        "", "-", "1", "1-", "-1", "1--1", "+1-1", "1-+1", "01-1", "1-01", "1-00", "1 -1", "1-1 ", "1-1-1", "a-1", "0x1-1", "1-1.0", "٣-1",
        "1-9223372036854775808", "1-18446744073709551615", "1-18446744073709551616", "99999999999999999999999999-1",
    ])
    func notPositions(_ text: String) {
        #expect(Position(text) == nil)
    }

    @Test func positionsAreOrderedByEpochThenOffset() {
        #expect(position(1, 9) < position(2, 0))
        #expect(position(2, 1) < position(2, 2))
        #expect(position(2, 1).next == position(2, 2))
        // Counting from a forged position must not crash.
        #expect(position(2, .max).next == position(2, .max))
    }
}
