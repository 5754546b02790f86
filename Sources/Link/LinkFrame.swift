import NIOCore

/// A frame of a link: the length of the rest (4 bytes), kind (1 byte), the sender's view version (8 bytes), payload. Numbers are big-endian.
struct LinkFrame: Hashable, Sendable {
    enum Kind: UInt8, CaseIterable, Sendable {
        /// The first frame, sent by the dialling side: a ``LinkHello`` as JSON.
        case hello = 1
        /// The accepting side's hello, in the same format.
        case challenge = 2
        /// The dialling side's proof that it knows the secret. Empty if this side has no secret.
        case proof = 3
        /// The accepting side accepts the link, and sends its own proof.
        case ready = 4
        /// 8 bytes that the reply repeats.
        case heartbeat = 5
        case heartbeatReply = 6
        /// A message of the coordinator.
        case message = 7
        /// Why the link ends, in UTF-8. Empty for a normal end.
        case bye = 8
        /// A frame of the data path, on a connection that is for data.
        case data = 9
    }

    /// The size of kind and view version.
    static let headBytes = 9
    static let lengthBytes = 4

    var kind: Kind
    var viewVersion: Int64
    var payload: [UInt8] = []

    func write(into buffer: inout ByteBuffer) {
        Self.writeHead(self.kind, viewVersion: self.viewVersion, payloadBytes: self.payload.count, into: &buffer)
        buffer.writeBytes(self.payload)
    }

    /// Sets the length in the frame at the beginning of the buffer, after the payload has been written.
    static func setLength(payloadBytes: Int, in buffer: inout ByteBuffer) {
        buffer.setInteger(UInt32(Self.headBytes + payloadBytes), at: buffer.readerIndex)
    }

    static func writeHead(_ kind: Kind, viewVersion: Int64, payloadBytes: Int, into buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt32(Self.headBytes + payloadBytes))
        buffer.writeInteger(kind.rawValue)
        buffer.writeInteger(viewVersion)
    }
}
