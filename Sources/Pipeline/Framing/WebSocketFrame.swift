package import NIOCore

/// The opcodes of WebSocket frames, and the header of the frames that a server sends (RFC 6455 §5.2). These frames are unmasked and never fragmented, so all
/// subscribers get the same bytes.
package enum WebSocketFrame {
    package enum Opcode: UInt8, Sendable {
        case continuation = 0x0
        case text = 0x1
        case binary = 0x2
        case close = 0x8
        case ping = 0x9
        case pong = 0xA

        package var isControl: Bool { self.rawValue & 0x8 != 0 }
    }

    package static func writeHeader(_ opcode: Opcode, payloadLength: Int, into buffer: inout ByteBuffer) {
        buffer.writeInteger(0x80 | opcode.rawValue)
        switch payloadLength {
        case ..<126:
            buffer.writeInteger(UInt8(payloadLength))
        case ..<65_536:
            buffer.writeInteger(UInt8(126))
            buffer.writeInteger(UInt16(payloadLength))
        default:
            buffer.writeInteger(UInt8(127))
            buffer.writeInteger(UInt64(payloadLength))
        }
    }
}
