import NIOCore

/// The frames of a link: length (4 bytes, of what follows), kind (1), the sender's view version (8), payload. Numbers are big-endian.
struct LinkFrame: Hashable, Sendable {
    enum Kind: UInt8, CaseIterable, Sendable {
        /// From the dialling side: JSON, see ``LinkHello``.
        case hello = 1
        /// The accepting side's hello, in the same format.
        case challenge = 2
        /// From the dialling side: proves that it knows the secret. Empty without a secret.
        case proof = 3
        /// From the accepting side: accepts the link, with its own proof.
        case ready = 4
        /// 8 bytes that the reply repeats.
        case heartbeat = 5
        case heartbeatReply = 6
        /// A message of the coordinator.
        case message = 7
        /// Why the link ends, in UTF-8. Empty if one side merely leaves.
        case bye = 8
    }

    /// Kind and view version.
    static let headBytes = 9
    static let lengthBytes = 4

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
