import NIOCore
import TestKit
import Testing

@testable import Storage

@Suite struct RedisReplyReaderTests {
    private static let everyKind =
        "+OK\r\n-ERR bad news\r\n:-9223372036854775808\r\n$5\r\na\r\nb\0\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n"
        + "*3\r\n:1\r\n*2\r\n+x\r\n*1\r\n$1\r\ny\r\n$-1\r\n:9223372036854775807\r\n"
    private static let everyReply: [RedisReply] = [
        .status("OK"), .error("ERR bad news"), .integer(.min), .string(ByteBuffer(string: "a\r\nb\0")), .string(ByteBuffer()), .null, .null, .array([]),
        .array([.integer(1), .array([.status("x"), .array([.string(ByteBuffer(string: "y"))])]), .null]), .integer(.max),
    ]

    private func read(_ pieces: [[UInt8]], replyBytesMax: Int = 1 << 20) throws(RedisProtocolError) -> [RedisReply] {
        var reader = RedisReplyReader(replyBytesMax: replyBytesMax)
        var replies: [RedisReply] = []
        for piece in pieces { try reader.read(ByteBuffer(bytes: piece), into: &replies) }
        return replies
    }

    @Test func everyKindOfReplyIsRead() throws {
        #expect(try self.read([Array(Self.everyKind.utf8)]) == Self.everyReply)
    }

    @Test(arguments: 0..<50) func repliesMayComeInPiecesOfAnyLength(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        let bytes = Array(String(repeating: Self.everyKind, count: 5).utf8)
        #expect(try self.read(random.pieces(bytes)) == Array(repeating: Self.everyReply, count: 5).flatMap { $0 })
    }

    /// Longer than one piece that hiredis gets, and followed by others.
    @Test func aLongStringIsReadWhole() throws {
        let long = [UInt8](repeating: 7, count: 300_000)
        let bytes = Array("*2\r\n$300000\r\n".utf8) + long + Array("\r\n:1\r\n+OK\r\n".utf8)
        #expect(try self.read([bytes]) == [.array([.string(ByteBuffer(bytes: long)), .integer(1)]), .status("OK")])
    }

    @Test(arguments: [
        "HTTP/1.1 400 Bad Request\r\n", "$x\r\n", "$-2\r\n", ":1x\r\n", "*-2\r\n", ":99999999999999999999\r\n", "\r\n",
    ]) func whatIsNoReplyEndsTheReader(text: String) {
        var reader = RedisReplyReader(replyBytesMax: 1000)
        var replies: [RedisReply] = []
        // Those before the damage are there.
        #expect(throws: RedisProtocolError.self) { try reader.read(ByteBuffer(string: "+OK\r\n" + text), into: &replies) }
        #expect(replies == [.status("OK")])
        #expect(throws: RedisProtocolError.self) { try reader.read(ByteBuffer(string: "+OK\r\n"), into: &replies) }
        #expect(replies == [.status("OK")])
    }

    @Test func aReplyBeyondABoundIsRefused() throws {
        let long = { (count: Int) in Array("$\(count)\r\n".utf8) + [UInt8](repeating: 1, count: count) + Array("\r\n".utf8) }
        #expect(try self.read([long(90_000), long(90_000), long(90_000)], replyBytesMax: 100_000).count == 3)
        #expect(throws: RedisProtocolError(description: "a reply is longer than 100000 bytes")) { try self.read([long(120_000)], replyBytesMax: 100_000) }
        // The elements of an array are consumed as they come, and count.
        let array = Array("*1000\r\n".utf8) + Array(repeating: long(500), count: 1000).flatMap { $0 }
        #expect(throws: RedisProtocolError(description: "a reply is longer than 100000 bytes")) { try self.read([array], replyBytesMax: 100_000) }
        #expect(throws: RedisProtocolError(description: "a reply has an array of 2000000000 elements")) { try self.read([Array("*2000000000\r\n".utf8)]) }
        let deep = "*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"
        #expect(throws: RedisProtocolError(description: "a reply has arrays that are more than 3 levels deep")) { try self.read([Array(deep.utf8)]) }
        #expect(try self.read([Array(deep.utf8.dropFirst(4))]) == [.array([.array([.array([.integer(1)])])])])
    }

    /// Nothing but an error may come of it.
    @Test(arguments: 0..<300) func damagedBytesNeverTrap(seed: UInt64) {
        var random = SplitMix(seed: seed)
        let bytes = random.mutate(Array(Self.everyKind.utf8), with: ["*3\r\n", "$3\r\n", "\r\n", "$-1\r\n", "*-1\r\n", "*1048577\r\n", ":", "-", "+"])
        _ = try? self.read(random.pieces(bytes))
    }
}
