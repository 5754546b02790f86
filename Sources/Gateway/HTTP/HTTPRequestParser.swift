import NIOCore
import Pipeline

/// Parses HTTP/1.x requests from a stream of bytes (RFC 9112). A pure value: bytes in, complete requests or a failure out.
///
/// This parser replaces NIO's HTTP pipeline. A subscriber's connection needs a parser for only one request, but NIO's handlers, buffers and decoders would use
/// thousands of bytes until the connection closes. The parser is strict where two parsers could read one request differently (request smuggling). It refuses
/// `Content-Length` together with `Transfer-Encoding`, two lengths, bare line feeds, folded lines, spaces around names and unknown transfer codings.
struct HTTPRequestParser {
    enum Step {
        /// More bytes are needed. `wantsContinue` is true once, when the client waits for `100 Continue`.
        case needMore(wantsContinue: Bool)
        case request(Request)
    }

    private enum State {
        /// Can transition to: body, chunkSize.
        case head
        /// A body of known length. Can transition to: head.
        case body(RequestHead, length: Int)
        /// Can transition to: chunkData, trailers.
        case chunkSize(RequestHead)
        /// The data of a chunk and its line end. Can transition to: chunkSize.
        case chunkData(RequestHead, length: Int)
        /// Can transition to: head.
        case trailers(RequestHead, length: Int)
    }

    private let headerBytesMax: Int
    private let bodyBytesMax: Int
    private var state = State.head
    private var input = ByteBuffer()
    /// The data of the chunks that have arrived. It is not a payload of `State`, because appending to a payload of an enum would copy all data for each chunk.
    private var chunks = ByteBuffer()
    /// The number of bytes that have been searched for the end of the head. Each byte is searched once, even if bytes arrive slowly.
    private var searched = 0
    /// The length of the request line with its line end. Nil until the line has arrived.
    private var requestLineLength: Int?
    private var owesContinue = false

    init(headerBytesMax: Int, bodyBytesMax: Int) {
        self.headerBytesMax = min(headerBytesMax, Int(UInt16.max) - FixedLimits.requestLineBytesMax - 8)
        self.bodyBytesMax = bodyBytesMax
    }

    /// Bytes of an incomplete request.
    var bufferedBytes: Int { self.input.readableBytes }

    /// The capacity of the buffer that holds ``bufferedBytes``.
    var inputCapacity: Int { self.input.storageCapacity }

    /// The address of the data of the chunks. It changes only if the buffer grows.
    var chunksAddress: UnsafeRawPointer? { self.chunks.withVeryUnsafeBytes { $0.baseAddress } }

    /// The bytes after the last request, for the next protocol on the connection.
    mutating func takeRest() -> ByteBuffer {
        defer { self.input = ByteBuffer() }
        return self.input
    }

    /// Whether no byte of the next request has arrived.
    var isBetweenRequests: Bool {
        if case .head = self.state { return self.input.readableBytes == 0 }
        return false
    }

    mutating func feed(_ bytes: ByteBuffer) {
        self.input.feed(bytes)
    }

    /// The next complete request. After a failure the connection must be closed.
    mutating func next() throws(HTTPError) -> Step {
        while true {
            switch self.state {
            case .head:
                guard try self.readHead() else { return .needMore(wantsContinue: false) }
            case .body(let head, let length):
                guard let body = self.input.readSlice(length: length) else { return self.needMore() }
                return self.finish(head, body)
            case .chunkSize(let head):
                guard let line = try self.readLine(bytesMax: FixedLimits.chunkLineBytesMax) else { return self.needMore() }
                let size = try Self.chunkSize(line)
                guard self.chunks.readableBytes + size <= self.bodyBytesMax else { throw Self.bodyTooLarge(self.bodyBytesMax) }
                self.state = size == 0 ? .trailers(head, length: 0) : .chunkData(head, length: size)
            case .chunkData(let head, let length):
                guard self.input.readableBytes >= length + 2 else { return self.needMore() }
                var data = self.input.readSlice(length: length)!
                guard self.input.readInteger(as: UInt16.self) == 0x0D0A else { throw .badRequest("the data of a chunk is longer than its size") }
                self.chunks.writeBuffer(&data)
                self.state = .chunkSize(head)
            case .trailers(let head, let length):
                guard let line = try self.readLine(bytesMax: self.headerBytesMax) else { return self.needMore() }
                let total = length + line.readableBytes
                guard total <= self.headerBytesMax else { throw Self.headersTooLarge(self.headerBytesMax) }
                if line.readableBytes == 0 { return self.finish(head, self.takeChunks()) }
                try HeadParser.checkField(line)
                self.state = .trailers(head, length: total)
            }
        }
    }

    private mutating func needMore() -> Step {
        defer { self.owesContinue = false }
        return .needMore(wantsContinue: self.owesContinue)
    }

    private mutating func finish(_ head: RequestHead, _ body: ByteBuffer) -> Step {
        self.state = .head
        self.owesContinue = false
        return .request(Request(head: head, body: body))
    }

    private mutating func takeChunks() -> ByteBuffer {
        defer { self.chunks = ByteBuffer() }
        return self.chunks
    }

    // MARK: - Head

    /// Reads a head from the input. Returns false if the head is not complete.
    private mutating func readHead() throws(HTTPError) -> Bool {
        // A client may send an empty line after a body (RFC 9112 §2.2).
        if self.searched == 0, self.input.getInteger(at: self.input.readerIndex, as: UInt16.self) == 0x0D0A { self.input.moveReaderIndex(forwardBy: 2) }
        guard let length = try self.headLength() else { return false }
        self.searched = 0
        let bytes = self.input.readSlice(length: length)!
        let head = try HeadParser.parse(bytes)
        try self.frameBody(of: head)
        return true
    }

    /// The length of the head with its empty line. Nil if the empty line has not arrived.
    private mutating func headLength() throws(HTTPError) -> Int? {
        let searched = self.searched
        let (end, lineEnd) = self.input.withUnsafeReadableBytes { bytes -> (Int?, Int?) in
            var index = searched
            var lineEnd: Int?
            while index < bytes.count {
                guard bytes[index] == 0x0A else {
                    index += 1
                    continue
                }
                // The head ends with an empty line: LF, then LF or CR LF. `HeadParser` checks later that a CR precedes each LF.
                if lineEnd == nil { lineEnd = index }
                if index + 1 < bytes.count, bytes[index + 1] == 0x0A { return (index + 2, lineEnd) }
                if index + 2 < bytes.count, bytes[index + 1] == 0x0D, bytes[index + 2] == 0x0A { return (index + 3, lineEnd) }
                index += 1
            }
            return (nil, lineEnd)
        }
        let count = self.input.readableBytes
        let line = self.requestLineLength ?? lineEnd.map { $0 + 1 }
        self.requestLineLength = line
        guard line ?? count <= FixedLimits.requestLineBytesMax + 2 else { throw Self.uriTooLong }
        guard (end ?? count) - (line ?? 0) <= self.headerBytesMax + 2 else { throw Self.headersTooLarge(self.headerBytesMax) }
        if let end {
            self.requestLineLength = nil
            return end
        }
        // An empty line may be split between this read and the next.
        self.searched = max(0, count - 3)
        return nil
    }

    private mutating func frameBody(of head: RequestHead) throws(HTTPError) {
        let lengths = head.count("content-length")
        if let coding = head.list("transfer-encoding") {
            guard lengths == 0 else { throw .badRequest("a request cannot have both Content-Length and Transfer-Encoding; send one of them") }
            guard head.isVersion11 else { throw .badRequest("HTTP/1.0 has no Transfer-Encoding; send Content-Length") }
            try Self.checkCoding(coding.asciiLowercased())
            self.state = .chunkSize(head)
        } else {
            var length = 0
            if let text = head.field("content-length") {
                guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text) else {
                    throw .badRequest("Content-Length is not a number")
                }
                length = number
            }
            guard length <= self.bodyBytesMax else { throw Self.bodyTooLarge(self.bodyBytesMax) }
            self.state = .body(head, length: length)
        }
        self.owesContinue = head.isVersion11 && head.has("expect", token: "100-continue")
    }

    // MARK: - Chunks

    /// A line without its CRLF. Nil if the line is not complete.
    private mutating func readLine(bytesMax: Int) throws(HTTPError) -> ByteBuffer? {
        guard let end = self.input.readableBytesView.firstIndex(of: 0x0A) else {
            guard self.input.readableBytes <= bytesMax else {
                throw .badRequest("the size line or a trailer of a chunked body is longer than \(bytesMax) bytes")
            }
            return nil
        }
        let length = end - self.input.readerIndex
        guard length <= bytesMax + 1 else { throw .badRequest("the size line or a trailer of a chunked body is longer than \(bytesMax) bytes") }
        guard length >= 1, self.input.getInteger(at: end - 1, as: UInt8.self) == 0x0D else {
            throw .badRequest("a line of a chunked body ends in a bare line feed; end it with CR LF")
        }
        let line = self.input.readSlice(length: length - 1)!
        self.input.moveReaderIndex(forwardBy: 2)
        return line
    }
}
