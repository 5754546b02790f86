import NIOCore

/// What goes over a link: length (4 bytes, of what follows), kind (1), the sender's view version (8), payload. Numbers are big-endian.
struct LinkFrame: Hashable, Sendable {
    enum Kind: UInt8, CaseIterable, Sendable {
        /// JSON, see ``LinkHello``.
        case hello = 1
        case welcome = 2
        case proof = 3
        case ready = 4
        case heartbeat = 5
        case heartbeatAnswer = 6
        /// The coordinator's.
        case message = 7
        /// Why it ends, in UTF-8.
        case bye = 8
    }

    static let headBytes = 9

    var kind: Kind
    var viewVersion: Int64
    var payload: [UInt8] = []

    func write(into buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt32(Self.headBytes + self.payload.count))
        buffer.writeInteger(self.kind.rawValue)
        buffer.writeInteger(self.viewVersion)
        buffer.writeBytes(self.payload)
    }
}

/// Takes frames out of what a socket delivers. Pure.
struct LinkFrameDecoder: Sendable {
    struct Malformed: Error, Hashable, CustomStringConvertible {
        var description: String
    }

    private var buffer = ByteBuffer()
    /// Of a payload; small until the other side has proved who it is.
    var payloadBytesMax: Int

    init(payloadBytesMax: Int) { self.payloadBytesMax = payloadBytesMax }

    mutating func feed(_ bytes: ByteBuffer) {
        if self.buffer.readableBytes == 0 { self.buffer = bytes } else { self.buffer.writeImmutableBuffer(bytes) }
    }

    /// Nil when more has to come.
    mutating func next() throws(Malformed) -> LinkFrame? {
        guard let length = self.buffer.getInteger(at: self.buffer.readerIndex, as: UInt32.self).map(Int.init) else { return nil }
        guard length >= LinkFrame.headBytes else { throw Malformed(description: "a frame of \(length) bytes is too short") }
        guard length - LinkFrame.headBytes <= self.payloadBytesMax else {
            throw Malformed(description: "a frame of \(length) bytes is too long, \(self.payloadBytesMax) are the most")
        }
        guard self.buffer.readableBytes >= 4 + length else { return nil }
        self.buffer.moveReaderIndex(forwardBy: 4)
        let number = self.buffer.readInteger(as: UInt8.self)!
        let viewVersion = self.buffer.readInteger(as: Int64.self)!
        let payload = self.buffer.readBytes(length: length - LinkFrame.headBytes)!
        self.buffer.discardReadBytes()
        guard let kind = LinkFrame.Kind(rawValue: number) else { throw Malformed(description: "a frame of the unknown kind \(number)") }
        return LinkFrame(kind: kind, viewVersion: viewVersion, payload: payload)
    }
}
