import CHiredis
import NIOCore

/// Makes replies from the bytes of one connection, with hiredis' incremental reader. Confined to one event loop.
///
/// hiredis finds where values begin and end. Its callbacks build Swift values immediately, so no C object exists that this type would have to convert and free.
struct RedisReplyReader: ~Copyable {
    /// hiredis moves the unread bytes to the front of its buffer after each reply of 1 KiB or more, so a longer piece would be moved many times.
    private static let pieceBytesMax = 16 * 1024

    private let reader: UnsafeMutablePointer<redisReader>
    /// hiredis keeps a pointer to this table.
    private let functions: UnsafeMutablePointer<redisReplyObjectFunctions>
    /// hiredis keeps an unretained pointer to this object.
    private let builder = RedisReplyBuilder()
    private let replyBytesMax: Int
    /// Bytes that were fed and belong to a reply that is not complete.
    private var incompleteBytes = 0

    init(replyBytesMax: Int) {
        self.replyBytesMax = replyBytesMax
        self.functions = .allocate(capacity: 1)
        self.functions.initialize(to: RedisReplyBuilder.functions)
        guard let reader = redisReaderCreateWithFunctions(self.functions) else { fatalError("No memory for a reader of Redis' replies") }
        self.reader = reader
        self.reader.pointee.privdata = Unmanaged.passUnretained(self.builder).toOpaque()
    }

    deinit {
        redisReaderFree(self.reader)
        self.functions.deallocate()
    }

    /// Appends the replies that these bytes complete. After an error the reader is unusable, and `replies` has those that came before the error.
    mutating func read(_ bytes: ByteBuffer, into replies: inout [RedisReply]) throws(RedisProtocolError) {
        var bytes = bytes
        while let piece = bytes.readSlice(length: min(bytes.readableBytes, Self.pieceBytesMax)), piece.readableBytes > 0 {
            try self.readPiece(piece, into: &replies)
        }
    }

    private mutating func readPiece(_ piece: ByteBuffer, into replies: inout [RedisReply]) throws(RedisProtocolError) {
        let code = piece.withUnsafeReadableBytes { redisReaderFeed(self.reader, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count) }
        guard code == REDIS_OK else { throw self.failure() }
        self.incompleteBytes += piece.readableBytes
        while true {
            var finished: UnsafeMutableRawPointer?
            guard redisReaderGetReply(self.reader, &finished) == REDIS_OK else { throw self.failure() }
            guard finished != nil else { break }
            replies.append(self.builder.take())
            self.incompleteBytes = self.reader.pointee.len - self.reader.pointee.pos
        }
        guard self.incompleteBytes <= self.replyBytesMax else {
            throw RedisProtocolError(description: "a reply is longer than \(self.replyBytesMax) bytes")
        }
    }

    private func failure() -> RedisProtocolError {
        if let refusal = self.builder.refusal { return RedisProtocolError(description: refusal) }
        // The text may quote a byte of the reply: it is bounded by hiredis' field of 128 bytes.
        let text = withUnsafeBytes(of: self.reader.pointee.errstr) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        return RedisProtocolError(description: text.isEmpty ? "unknown error of the reader" : text)
    }
}

/// The bytes are no replies of Redis, or a reply is beyond a bound. The connection cannot be used any longer.
struct RedisProtocolError: Error, Equatable, CustomStringConvertible {
    let description: String
}

/// The values of the reply that hiredis is reading. hiredis reports them in order, an array before its elements.
private final class RedisReplyBuilder {
    /// `XRANGE` has the most: entries, an entry, and its fields.
    private static let depthMax = 3
    private static let elementsMax = 1 << 20

    private struct OpenArray {
        var elements: [RedisReply]
        let count: Int
    }

    private var open: [OpenArray] = []
    private var root: RedisReply?
    /// Why a callback refused a value. hiredis calls this an allocation that failed.
    private(set) var refusal: String?

    /// hiredis regards a null pointer as "no memory", and never looks at any other.
    private nonisolated(unsafe) static let accepted = UnsafeMutableRawPointer(bitPattern: 1)

    /// C calls these on the event loop, inside ``RedisReplyReader/read(_:into:)``.
    static let functions = redisReplyObjectFunctions(
        createString: { task, bytes, count in
            RedisReplyBuilder.of(task).addString(type: task!.pointee.type, UnsafeRawBufferPointer(start: bytes, count: count))
        },
        createArray: { task, count in RedisReplyBuilder.of(task).openArray(count: Int(count)) },
        createInteger: { task, value in RedisReplyBuilder.of(task).add(.integer(value)) },
        createNil: { task in RedisReplyBuilder.of(task).add(.null) },
        freeObject: { _ in }
    )

    private static func of(_ task: UnsafePointer<redisReadTask>?) -> RedisReplyBuilder {
        Unmanaged.fromOpaque(task!.pointee.privdata).takeUnretainedValue()
    }

    func take() -> RedisReply {
        guard let reply = self.root.take() else { preconditionFailure("hiredis reported a reply, and no value came before it") }
        return reply
    }

    private func addString(type: CInt, _ bytes: UnsafeRawBufferPointer) -> UnsafeMutableRawPointer? {
        switch type {
        case REDIS_REPLY_STATUS: self.add(.status(String(decoding: bytes, as: UTF8.self)))
        case REDIS_REPLY_ERROR: self.add(.error(String(decoding: bytes, as: UTF8.self)))
        default: self.add(.string(ByteBuffer(bytes: bytes)))
        }
    }

    private func openArray(count: Int) -> UnsafeMutableRawPointer? {
        guard count > 0 else { return self.add(.array([])) }
        guard self.open.count < Self.depthMax else { return self.refuse("a reply has arrays that are more than \(Self.depthMax) levels deep") }
        guard count <= Self.elementsMax else { return self.refuse("a reply has an array of \(count) elements") }
        var elements: [RedisReply] = []
        // A count is only a promise: no memory is taken for more than a few elements before they arrive.
        elements.reserveCapacity(min(count, 1024))
        self.open.append(OpenArray(elements: elements, count: count))
        return Self.accepted
    }

    private func refuse(_ sentence: String) -> UnsafeMutableRawPointer? {
        self.refusal = sentence
        return nil
    }

    /// Adds a value to the innermost array, and closes each array that is complete with it.
    private func add(_ reply: RedisReply) -> UnsafeMutableRawPointer? {
        var reply = reply
        while !self.open.isEmpty {
            self.open[self.open.count - 1].elements.append(reply)
            guard self.open[self.open.count - 1].elements.count == self.open[self.open.count - 1].count else { return Self.accepted }
            reply = .array(self.open.removeLast().elements)
        }
        self.root = reply
        return Self.accepted
    }
}
