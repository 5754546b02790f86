import Testing

@testable import Load

@Suite struct WireTests {
    struct ScannedResponse: Equatable {
        var status: Int
        var closes: Bool
    }

    /// Reads a stream of responses in random pieces.
    private func read(_ text: String) -> [ScannedResponse] {
        let bytes = Array(text.utf8)
        var scanner = HTTPResponseScanner()
        var responses: [ScannedResponse] = []
        var start = 0
        bytes.withUnsafeBufferPointer { buffer in
            while start < buffer.count {
                let end = min(buffer.count, start + Int.random(in: 1...40))
                while start < end {
                    let (used, progress) = scanner.consume(buffer.baseAddress! + start, count: end - start)
                    start += used
                    if progress == .complete || (progress == .head && scanner.endsAtHead()) {
                        responses.append(ScannedResponse(status: scanner.status, closes: scanner.closes))
                        scanner = HTTPResponseScanner()
                    }
                }
            }
        }
        return responses
    }

    @Test func scansResponsesOnOneConnection() {
        let text = """
            HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\nX-Content-Length: 9\r\n\r\nhello\
            HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1a;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nTrailer: x\r\n\r\n\
            HTTP/1.1 503 Busy\r\nConnection: keep-alive, Close\r\nContent-Length: 12\r\n\r\n\r\n\r\nHTTP/1.1
            """
        let expected = [(200, false), (202, false), (204, false), (200, false), (503, true)].map { ScannedResponse(status: $0.0, closes: $0.1) }
        for _ in 0..<200 { #expect(self.read(text) == expected) }
    }

    @Test func stopsAtTheHead() {
        let bytes = Array("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hi\n\n".utf8)
        var scanner = HTTPResponseScanner()
        let (used, progress) = bytes.withUnsafeBufferPointer { scanner.consume($0.baseAddress!, count: $0.count) }
        #expect(progress == .head && used == bytes.count - 6 && scanner.status == 200)
        let endsAtHead = scanner.endsAtHead()
        #expect(!endsAtHead)
        _ = bytes.withUnsafeBufferPointer { scanner.consume($0.baseAddress! + used, count: 6) }
        #expect(scanner.endsWithConnection)
    }

    @Test func walksFrames() {
        func frame(_ opcode: UInt8, _ payload: [UInt8]) -> [UInt8] {
            let length: [UInt8] =
                payload.count < 126
                ? [UInt8(payload.count)]
                : payload.count < 65_536
                    ? [126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
                    : [127, 0, 0, 0, 0, 0, UInt8(payload.count >> 16), UInt8(payload.count >> 8 & 255), UInt8(payload.count & 255)]
            return [0x80 | opcode] + length + payload
        }
        let ping = Array("are you there".utf8)
        let bytes =
            frame(1, [UInt8](repeating: 9, count: 200)) + frame(9, ping) + frame(1, []) + frame(9, [])
            + frame(2, [UInt8](repeating: 0x89, count: 70_000)) + frame(8, [3, 233])
        for _ in 0..<100 {
            var walker = WebSocketWalker()
            var controls: [[UInt8]] = []
            var current: [UInt8] = []
            var start = 0
            bytes.withUnsafeBufferPointer { buffer in
                while start < buffer.count {
                    let count = min(buffer.count - start, Int.random(in: 1...3000))
                    walker.walk(buffer.baseAddress! + start, count: count) { opcode, piece, ends in
                        current += piece
                        if ends {
                            controls.append([opcode] + current)
                            current = []
                        }
                    }
                    start += count
                }
            }
            #expect(controls == [[9] + ping, [9], [8, 3, 233]])
        }
        #expect(WebSocketWalker.maskedFrame(opcode: 10, payload: [1, 2]) == [0x8A, 0x82, 0, 0, 0, 0, 1, 2])
    }

    @Test func readsWhereTheNextLongPollStarts() {
        func position(_ text: String) -> PollPosition? { Array(text.utf8).withUnsafeBufferPointer { PollPosition(response: $0) } }
        #expect(position("HTTP/1.1 200 OK\r\n\r\n{\"events\":[{\"cursor\":\"old\"}],\"cursor\":\"aB-_9\"}") == .cursor(Array("aB-_9".utf8)))
        #expect(position("HTTP/1.1 200 OK\r\nLast-Modified: Mon\r\nETAG: 0\r\n\r\nx") == .validators(lastModified: Array("Mon".utf8), etag: [48]))
        #expect(position("HTTP/1.1 200 OK\r\n\r\nlast-modified: Mon\r\n") == nil)
    }

    @Test func writesPaths() throws {
        func path(_ url: String, _ channels: [Int]) throws -> String {
            var bytes: [UInt8] = []
            try RequestTemplate(url: url, option: "--x").appendPath(channels: channels, namePrefix: Array("n".utf8), to: &bytes)
            return String(decoding: bytes, as: UTF8.self)
        }
        #expect(try path("http://h:1/sub/{channels}?a=b", [1, 20]) == "/sub/n1/n20?a=b")
        #expect(try path("ws://h?id={channel}", [0]) == "/?id=n0")
        #expect(try path("http://h", [0]) == "/")
        let template = try RequestTemplate(url: "http://[::1]:8080/x", option: "--x")
        #expect(template.host == "::1" && template.port == 8080 && !template.hasChannel)
        // The short form of an address, as tables and logs print it.
        #expect(try RequestTemplate(url: "localhost:8081/x", option: "--x") == RequestTemplate(url: "http://localhost:8081/x", option: "--x"))
        for bad in ["", "https://h/", "http://h:0/", "http://h:65536", "http://h:x/", "http://h:-1", "http:///x", "h:1/a b", "h:1/\r\nX: y"] {
            #expect(throws: LoadError.self) { try RequestTemplate(url: bad, option: "--x") }
        }
    }
}
