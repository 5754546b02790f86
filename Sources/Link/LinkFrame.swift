import NIOCore

/// What goes over a link: length (4 bytes, of what follows), kind (1), the sender's view version (8), payload. Numbers are big-endian.
struct LinkFrame: Hashable, Sendable {
    enum Kind: UInt8, CaseIterable, Sendable {
        /// From who dialled: JSON, see ``LinkHello``.
        case hello = 1
        /// The answer, of the same form.
        case challenge = 2
        /// From who dialled: that it knows the secret. Empty without one.
        case proof = 3
        /// The answer, and the other side's proof.
        case ready = 4
        /// 8 bytes that the answer repeats.
        case heartbeat = 5
        case heartbeatAnswer = 6
        /// The coordinator's.
        case message = 7
        /// Why it ends, in UTF-8; empty when one side merely leaves.
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
