import NIOCore
import TestKit
import Testing

@testable import Gateway

@Suite struct HTTPRequestParserTests {
    static let valid = [
        "GET /ev/a?since=x HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /pub?id=a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nEvent-Type:  t \r\n\r\nhe\r\no",
        "PUT /pub?id=a HTTP/1.1\r\nhost:h\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nhello\r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", "\r\nGET http://h/x/y HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    ]
    static let tokens = [
        "\r\n", "\n", "\r", " ", ":", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "Host: x\r\n", "HTTP/1.1", "0\r\n\r\n", "\0", "\t", ",",
        "chunked", "%",
        "Expect: 100-continue\r\n",
    ]

    @Test(arguments: valid)
    func splitRequestsAreReadLikeWholeRequests(_ text: String) {
        let bytes = Array(text.utf8)
        let whole = read([bytes])
        #expect(whole.count == 1)
        if case .failure = whole[0] { Issue.record("\(whole)") }
        for index in 1..<bytes.count { #expect(read([Array(bytes[..<index]), Array(bytes[index...])]) == whole, "split at \(index)") }
        #expect(read(bytes.map { [$0] }) == whole)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func splitPipelinedRequestsAreReadLikeWholeRequests(seed: UInt64) {
        var random = SplitMix(seed: seed)
        for _ in 0..<100 {
            let texts = (0..<5).map { _ in Self.valid.randomElement(using: &random)! }
            let expected = texts.flatMap { read($0) }
            #expect(read(random.pieces(Array(texts.joined().utf8))) == expected, "seed \(seed): \(texts)")
        }
    }

    @Test(arguments: [11, 12, 13] as [UInt64])
    func mutatedRequestsAreNeverAmbiguous(seed: UInt64) {
        var random = SplitMix(seed: seed)
        for _ in 0..<4000 {
            let bytes = random.mutate(Array(Self.valid.randomElement(using: &random)!.utf8), with: Self.tokens)
            checkUnambiguous(read([bytes]), "seed \(seed): \(String(decoding: bytes, as: UTF8.self).debugDescription)")
        }
    }

    @Test(arguments: [
        ("Content-Length: 3\r\nContent-Length: 3", 400), ("Content-Length: 3\r\nContent-Length: 4", 400), ("Content-Length: 3, 3", 400),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", 400), ("Transfer-Encoding: chunked\r\nContent-Length: 3", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400), ("Transfer-Encoding: chunked, chunked", 400),
        ("Transfer-Encoding: chunked, gzip", 400), ("Transfer-Encoding: chunked,", 400), ("Transfer-Encoding:", 400), ("Transfer-Encoding: gzip", 501),
        ("Transfer-Encoding: gzip, chunked", 501), ("Transfer-Encoding: xchunked", 501), ("Transfer-Encoding: \"chunked\"", 501),
        ("Transfer-Encoding: chun\u{212A}ed", 501),
        ("Transfer-Encoding : chunked", 400), ("Transfer-Encoding\t: chunked", 400), (" Transfer-Encoding: chunked", 400),
        ("X: y\r\n Transfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\n", 400), ("X: y\nContent-Length: 3", 400), ("X: y\rContent-Length: 3", 400), ("Transfer-Encoding: \u{B}chunked", 400),
        ("Content-Length: +3", 400), ("Content-Length: -3", 400), ("Content-Length: 0x3", 400), ("Content-Length: 3 3", 400), ("Content-Length:", 400),
        ("Content-Length: ٣", 400), ("Content-Length: 99999999999999999999999", 400), ("Content-Length: 201", 413), (": x", 400), ("noColon", 400),
        ("Host: other", 400), ("X: a\0b", 400), ("X\0: y", 400), ("X(: y", 400), ("É: y", 400),
    ])
    func requestsThatCouldSmuggleAreRefused(_ fields: String, _ status: Int) {
        #expect(read("POST /pub?id=a HTTP/1.1\r\nHost: h\r\n\(fields)\r\n\r\nabc") == [.failure(status)])
    }

    @Test(arguments: [
        "GET / HTTP/1.1\r\n\r\n", "GET /\r\nHost: h\r\n\r\n", "GET  HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", "GET / http/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\nHost: h\n\n", "G(T / HTTP/1.1\r\nHost: h\r\n\r\n", "GET x HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET foo?u=http://x/healthz HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET ://h/healthz HTTP/1.1\r\nHost: h\r\n\r\n", "GET ftp://h/healthz HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http:///healthz HTTP/1.1\r\nHost: h\r\n\r\n", "GET xhttp://h/healthz HTTP/1.1\r\nHost: h\r\n\r\n", "GET /é HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "\n\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    ])
    func invalidHeadsAreRefused(_ text: String) {
        #expect(read(text) == [.failure(400)])
    }

    @Test(arguments: [
        "x\r\n", "\r\n", ";\r\n", "-1\r\n", "0x5\r\n", "5 \r\nhello", "5\nhello", "5\r\nhelloX", "5\r\nhello\n\n", "123456789\r\n", "5;\u{1}\r\n",
    ])
    func invalidChunksAreRefused(_ chunks: String) {
        #expect(read("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + "\r\n\r\n\r\n") == [.failure(400)])
    }

    @Test func requestsAboveALimitAreRefused() {
        let start = "GET / HTTP/1.1\r\nHost: h\r\n"
        #expect(read("GET /" + String(repeating: "x", count: 8200) + " HTTP/1.1\r\nHost: h\r\n\r\n") == [.failure(414)])
        #expect(read("GET /" + String(repeating: "x", count: 9000)) == [.failure(414)])
        #expect(read(start + "X: " + String(repeating: "x", count: 1100) + "\r\n\r\n") == [.failure(431)])
        #expect(read([Array(start.utf8)] + (0..<200).map { _ in Array("X: yyyyyyyy\r\n".utf8) }) == [.failure(431)])
        #expect(read([Array((start + String(repeating: "X:y\r\n", count: 100) + "\r\n").utf8)], headerBytesMax: 9000) == [.failure(431)])
        #expect(read("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nC9\r\n") == [.failure(413)])
        #expect(
            read(
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + String(repeating: "40\r\n\(String(repeating: "x", count: 64))\r\n", count: 4)) == [.failure(413)])
        #expect(read("GET / HTTP/2.0\r\nHost: h\r\n\r\n") == [.failure(505)])
        #expect(read("GET / HTTP/1.2\r\nHost: h\r\n\r\n") == [.failure(505)])
    }

    @Test(
        arguments: [
            ("http://h/healthz", "/healthz", nil), ("HTTPS://h:1/a?b=http://c/d", "/a", "b=http://c/d"), ("http://h", "/", nil),
            ("http://h?u=/healthz", "/", "u=/healthz"),
            ("/a?u=http://h/healthz", "/a", "u=http://h/healthz"), ("//h/a", "//h/a", nil), ("*", "*", nil),
        ] as [(String, String, String?)])
    func targetsAreSplitIntoPathAndQuery(_ target: String, _ path: String, _ query: String?) throws {
        let head = try head(target)
        #expect(head.path == path && head.query == query)
    }

    /// No read ends at the end of a request.
    @Test func theInputBufferStaysSmall() throws {
        var parser = HTTPRequestParser(headerBytesMax: 1024, bodyBytesMax: 100_000)
        let request = ByteBuffer(string: "POST /pub?id=a HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n" + String(repeating: "x", count: 60_000))
        let begin = request.getSlice(at: 0, length: 30)!
        var piece = request.getSlice(at: 30, length: request.readableBytes - 30)!
        piece.writeImmutableBuffer(begin)
        parser.feed(begin)
        var requests = 0
        var capacity = 0
        for _ in 0..<2000 {
            parser.feed(piece)
            while case .request = try parser.next() { requests += 1 }
            capacity = max(capacity, parser.inputCapacity)
        }
        #expect(requests == 2000)
        #expect(capacity <= 256 * 1024)
    }

    /// If the chunks had a second reference, each new chunk would copy all previous chunks.
    @Test func chunksAreNotCopiedForEveryNewChunk() throws {
        let count = 20_000
        var parser = HTTPRequestParser(headerBytesMax: 1024, bodyBytesMax: count)
        parser.feed(ByteBuffer(string: "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"))
        var moves = 0
        var address: UnsafeRawPointer?
        for _ in 0..<count {
            parser.feed(ByteBuffer(string: "1\r\nx\r\n"))
            guard case .needMore = try parser.next() else { return #expect(Bool(false)) }
            if parser.chunksAddress != address { moves += 1 }
            address = parser.chunksAddress
        }
        #expect(moves < 40)
        parser.feed(ByteBuffer(string: "0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"))
        guard case .request(let request) = try parser.next() else { return #expect(Bool(false)) }
        #expect(request.body.readableBytes == count)
        guard case .request(let next) = try parser.next() else { return #expect(Bool(false)) }
        #expect(next.body.readableBytes == 0)
    }

    @Test func aContinueResponseIsRequestedOnlyOnce() throws {
        var parser = HTTPRequestParser(headerBytesMax: 1024, bodyBytesMax: 100)
        parser.feed(ByteBuffer(string: "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"))
        guard case .needMore(wantsContinue: true) = try parser.next() else { return #expect(Bool(false)) }
        guard case .needMore(wantsContinue: false) = try parser.next() else { return #expect(Bool(false)) }
        parser.feed(ByteBuffer(string: "ok!"))
        guard case .request = try parser.next() else { return #expect(Bool(false)) }
        #expect(!parser.isBetweenRequests)
        #expect(parser.takeRest() == ByteBuffer(string: "!"))
        #expect(parser.isBetweenRequests)
    }

    @Test func fieldsAndQueriesAreDecoded() throws {
        let head = try head("/p?a=1&b=%41%20&c&a=2&d=%zz", ["X-Y:  v \t", "Connection: Keep-Alive, Upgrade", "connection: close"])
        #expect(head.field("x-y") == "v")
        #expect(head.list("connection") == "Keep-Alive, Upgrade,close")
        #expect(head.has("connection", token: "upgrade") && !head.keepsAlive)
        #expect(try !HeadParser.parse(ByteBuffer(string: "GET / HTTP/1.0\r\nConnection: \u{212A}eep-alive\r\n\r\n")).keepsAlive)
        #expect(failure { _ = try PercentEncoding.value("a", in: head.query) } == "400 bad_request")
        #expect(failure { _ = try PercentEncoding.value("a", in: "%61=1&a=2") } == "400 bad_request")
        #expect(try PercentEncoding.value("b", in: head.query) == "A ")
        #expect(try PercentEncoding.value("c", in: head.query) == "")
        #expect(try PercentEncoding.value("e", in: head.query) == nil)
        #expect(failure { _ = try PercentEncoding.value("d", in: head.query) } == "400 bad_request")
        for broken in ["%", "%4", "%G1", "%ff"] { #expect(PercentEncoding.decode(broken) == nil) }
    }
}

/// Checks that a second parser could not read the requests differently.
func checkUnambiguous(_ results: [Read], _ at: Comment) {
    for case .request(_, let path, _, let fields, let body) in results {
        let names = fields.map { $0.prefix { $0 != ":" }.lowercased() }
        let lengths = names.count { $0 == "content-length" }
        let codings = names.count { $0 == "transfer-encoding" }
        #expect(lengths + codings <= 1, at)
        #expect(lengths + codings == 1 || body.isEmpty, at)
        #expect(names.count { $0 == "host" } <= 1, at)
        #expect(path == "*" || path.hasPrefix("/"), at)
        #expect(fields.allSatisfy { !$0.utf8.contains(0x0A) && !$0.utf8.contains(0x0D) && !$0.utf8.contains(0) }, at)
        #expect(body.count <= 200, at)
    }
}
