import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import Testing

@testable import Commands

/// A server that sends without an end must not fill the memory of a command.
@Suite struct ResponseBoundsTests {
    @Test func aBodyAboveTheLimitIsAnErrorThatNamesTheLimit() async throws {
        let ok = try await Response(HTTPClientResponse(status: .ok, body: .bytes(ByteBuffer(string: "0123456789"))), bytesMax: 10)
        #expect(ok.text == "0123456789")
        let error = await #expect(throws: NIOTooManyBytesError.self) {
            _ = try await Response(HTTPClientResponse(status: .ok, body: .bytes(ByteBuffer(string: "0123456789a"))), bytesMax: 10)
        }
        #expect(error.map { networkErrorText($0) } == "the response has more than 10 bytes")
    }

    @Test func aResponseToAPublishIsBoundedOverAllItsParts() throws {
        var assembler = ResponseAssembler()
        let half = ByteBuffer(repeating: 0x20, count: Response.publishBytesMax / 2)
        #expect(try assembler.append(.head(HTTPResponseHead(version: .http1_1, status: .ok))) == nil)
        #expect(try assembler.append(.body(half)) == nil)
        #expect(try assembler.append(.body(half)) == nil)
        #expect(throws: NIOTooManyBytesError.self) { try assembler.append(.body(ByteBuffer(string: "x"))) }
        // The next response begins with an empty body.
        #expect(try assembler.append(.head(HTTPResponseHead(version: .http1_1, status: .ok))) == nil)
        #expect(try assembler.append(.body(half)) == nil)
        #expect(try assembler.append(.end(nil))?.body.count == Response.publishBytesMax / 2)
    }
}
