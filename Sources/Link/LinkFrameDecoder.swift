import NIOCore

/// Decodes frames from a socket's bytes. Pure. Its buffer holds at most one frame of the allowed size and the rest of one read.
struct LinkFrameDecoder: Sendable {
    struct Malformed: Error, Hashable, CustomStringConvertible {
        var description: String
    }

    private var buffer = ByteBuffer()
    /// The largest payload. Small until the peer is authenticated.
    var payloadBytesMax: Int

    init(payloadBytesMax: Int) { self.payloadBytesMax = payloadBytesMax }

    mutating func feed(_ bytes: ByteBuffer) {
        // While each read ends within a frame, the buffer would grow without a limit.
        if self.buffer.readerIndex > self.buffer.readableBytes { self.buffer.discardReadBytes() }
        // Replacing the buffer also releases the memory of a large frame.
        if self.buffer.readableBytes == 0 { self.buffer = bytes } else { self.buffer.writeImmutableBuffer(bytes) }
    }

    enum Item: Sendable {
        case frame(LinkFrame)
        /// The payload of a data frame: a slice of the bytes that were read, without a copy.
        case data(ByteBuffer, viewVersion: Int64)
    }

    /// The next frame. Nil if the frame is not complete yet.
    mutating func next() throws(Malformed) -> Item? {
        let start = self.buffer.readerIndex
        guard let length = self.buffer.getInteger(at: start, as: UInt32.self).map(Int.init) else { return nil }
        guard length >= LinkFrame.headBytes else { throw Malformed(description: "a frame of \(length) bytes is too short") }
        guard length - LinkFrame.headBytes <= self.payloadBytesMax else { throw self.tooLong(length) }
        guard self.buffer.readableBytes >= LinkFrame.lengthBytes + length else { return nil }
        self.buffer.moveReaderIndex(forwardBy: LinkFrame.lengthBytes)
        let number = self.buffer.readInteger(as: UInt8.self)!
        let viewVersion = self.buffer.readInteger(as: Int64.self)!
        if number == LinkFrame.Kind.data.rawValue {
            return .data(self.buffer.readSlice(length: length - LinkFrame.headBytes)!, viewVersion: viewVersion)
        }
        let payload = self.buffer.readBytes(length: length - LinkFrame.headBytes)!
        // Once most of the buffer has been read, moving the rest costs less than keeping the read bytes.
        if self.buffer.readerIndex > self.buffer.readableBytes { self.buffer.discardReadBytes() }
        guard let kind = LinkFrame.Kind(rawValue: number) else { throw Malformed(description: "a frame has the unknown kind \(number)") }
        return .frame(LinkFrame(kind: kind, viewVersion: viewVersion, payload: payload))
    }

    /// Detects a peer that uses TLS: the first bytes of a TLS record look like a length that is too large.
    private func tooLong(_ length: Int) -> Malformed {
        if length >> 16 & 0xff == 3, (0x14...0x17).contains(length >> 24) {
            return Malformed(description: "the peer uses TLS and this node does not: set link-cert, link-key and link-ca on all nodes, or on none")
        }
        return Malformed(description: "a frame of \(length) bytes is too long: at most \(self.payloadBytesMax + LinkFrame.headBytes) are allowed")
    }
}
