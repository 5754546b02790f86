import NIOCore
import TestKit
import Testing

@testable import Storage

@Suite struct RedisRequestTests {
    @Test func argumentsOfEveryTypeAreBulkStrings() {
        var request = RedisRequest("EVALSHA", argumentCount: 6)
        request.append("naïve")
        request.append(ByteBuffer(bytes: [13, 10]))
        request.append("")
        request.append(-7)
        request.append(UInt64.max)
        #expect(!request.isComplete)
        request.append(Int64.min)
        #expect(request.isComplete)
        let text =
            "*7\r\n$7\r\nEVALSHA\r\n$6\r\nnaïve\r\n$2\r\n\r\n\r\n$0\r\n\r\n$2\r\n-7\r\n$20\r\n18446744073709551615\r\n$20\r\n-9223372036854775808\r\n"
        #expect(String(buffer: request.bytes) == text)
        #expect(String(buffer: RedisRequest("SET", "a", "b c").bytes) == "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\nb c\r\n")
        #expect(RedisRequest("PING").isComplete)
    }

    @Test func numbersOfEveryLengthAreDecimal() {
        var random = SplitMix(seed: 1)
        for number in [0, 9, 10, 99, 100, UInt64.max] + (0..<2000).map({ _ in random.number(bits: 64) }) {
            var request = RedisRequest("A", argumentCount: 1, capacity: 1)
            request.append(number)
            #expect(String(buffer: request.bytes) == "*2\r\n$1\r\nA\r\n$\("\(number)".utf8.count)\r\n\(number)\r\n")
        }
    }
}
