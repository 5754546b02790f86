import NIOCore
import Pipeline

/// Parses a client's WebSocket frames (RFC 6455 §5). A pure value: bytes in, steps out.
///
/// Client messages are ignored. A client that violates the protocol gets a close code.
struct WebSocketParser {
    enum Step: Equatable {
        case needMore
        /// Respond with a pong of the same content.
        case ping(ByteBuffer)
        case pong
        /// A complete, valid message.
        case message
        /// Close with this code.
        case close(code: UInt16)
    }

    /// The largest payload of a control frame (RFC 6455 §5.5).
    static let controlBytesMax = 125

    private let messageBytesMax: Int
    private var input = ByteBuffer()
    /// The text or binary message whose fragments are arriving.
    private var message: (opcode: WebSocketFrame.Opcode, bytes: ByteBuffer)?

    init(messageBytesMax: Int) {
        self.messageBytesMax = messageBytesMax
    }

    mutating func feed(_ bytes: ByteBuffer) {
        self.input.feed(bytes)
    }

    /// The capacity of the buffer that holds an incomplete frame.
    var inputCapacity: Int { self.input.storageCapacity }

    /// The address of the fragments of a message. It changes only if the buffer grows.
    var fragmentsAddress: UnsafeRawPointer? { self.message?.bytes.withVeryUnsafeBytes { $0.baseAddress } }

    mutating func next() -> Step {
        while true {
            if let step = self.nextFrame() { return step }
        }
    }

    /// The next step. Nil after a fragment that does not complete its message. Then the caller must call again.
    private mutating func nextFrame() -> Step? {
        let start = self.input.readerIndex
        guard let first = self.input.getInteger(at: start, as: UInt8.self), let second = self.input.getInteger(at: start + 1, as: UInt8.self) else {
            return .needMore
        }
        guard first & 0x70 == 0, let opcode = WebSocketFrame.Opcode(rawValue: first & 0x0F), second & 0x80 != 0 else { return .close(code: 1002) }
        let isFinal = first & 0x80 != 0
        if opcode.isControl, !isFinal || second & 0x7F > Self.controlBytesMax { return .close(code: 1002) }
        guard let (length, lengthBytes) = self.length(second & 0x7F, at: start + 2) else { return .needMore }
        // Only the shortest form of the length is valid (RFC 6455 §5.2).
        guard lengthBytes == 0 || length > (lengthBytes == 2 ? UInt64(Self.controlBytesMax) : UInt64(UInt16.max)) else { return .close(code: 1002) }
        guard length <= UInt64(self.messageBytesMax) || (opcode.isControl && length <= UInt64(Self.controlBytesMax)) else {
            return .close(code: length >> 63 == 1 ? 1002 : 1009)
        }
        let header = 2 + lengthBytes + 4
        guard self.input.readableBytes >= header + Int(length) else { return .needMore }
        let mask = self.input.getBytes(at: start + 2 + lengthBytes, length: 4)!
        self.input.moveReaderIndex(forwardBy: header)
        var payload = self.input.readSlice(length: Int(length))!
        Self.unmask(&payload, mask)
        if self.input.readableBytes == 0 { self.input = ByteBuffer() }
        return self.frame(opcode, isFinal: isFinal, payload)
    }

    private func length(_ short: UInt8, at index: Int) -> (UInt64, bytes: Int)? {
        switch short {
        case 126: self.input.getInteger(at: index, as: UInt16.self).map { (UInt64($0), 2) }
        case 127: self.input.getInteger(at: index, as: UInt64.self).map { ($0, 8) }
        default: (UInt64(short), 0)
        }
    }

    private mutating func frame(_ opcode: WebSocketFrame.Opcode, isFinal: Bool, _ payload: ByteBuffer) -> Step? {
        switch opcode {
        case .ping: return .ping(payload)
        case .pong: return .pong
        case .close: return .close(code: Self.closeCode(payload))
        case .text, .binary:
            guard self.message == nil else { return .close(code: 1002) }
            return self.append(opcode, payload, isFinal: isFinal)
        case .continuation:
            guard let opcode = self.message?.opcode else { return .close(code: 1002) }
            return self.append(opcode, payload, isFinal: isFinal)
        }
    }

    private mutating func append(_ opcode: WebSocketFrame.Opcode, _ payload: ByteBuffer, isFinal: Bool) -> Step? {
        var bytes = self.message?.bytes ?? ByteBuffer()
        // The buffer must have no other reference during the write. Otherwise each new fragment would copy all previous fragments.
        self.message = nil
        bytes.writeImmutableBuffer(payload)
        guard bytes.readableBytes <= self.messageBytesMax else { return .close(code: 1009) }
        guard isFinal else {
            self.message = (opcode, bytes)
            return nil
        }
        if opcode == .text, String(validating: bytes.readableBytesView, as: UTF8.self) == nil { return .close(code: 1007) }
        return .message
    }

    /// The close code of the response: the client's code if it is valid (RFC 6455 §7.4).
    private static func closeCode(_ payload: ByteBuffer) -> UInt16 {
        var payload = payload
        guard payload.readableBytes > 0 else { return 1000 }
        guard let code = payload.readInteger(as: UInt16.self) else { return 1002 }
        guard String(validating: payload.readableBytesView, as: UTF8.self) != nil else { return 1007 }
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: return code
        default: return 1002
        }
    }

    private static func unmask(_ payload: inout ByteBuffer, _ mask: [UInt8]) {
        payload.withUnsafeMutableReadableBytes { bytes in
            for index in bytes.indices { bytes[index] ^= mask[index & 3] }
        }
    }
}
