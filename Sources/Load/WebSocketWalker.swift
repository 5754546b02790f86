/// Follows the frames of a server on one WebSocket connection, to answer pings and to see a close. Payloads are found by ``MarkerScanner``.
struct WebSocketWalker: Sendable {
    enum Opcode {
        static let close: UInt8 = 8
        static let ping: UInt8 = 9
        static let pong: UInt8 = 10
    }

    private enum Place: UInt8 { case first, second, length, payload }

    private var place = Place.first
    private var opcode: UInt8 = 0
    private var lengthBytes: UInt8 = 0
    private var remaining: UInt64 = 0

    init() {}

    /// Calls `control` with the pieces of control frames; `ends` marks the last piece of one.
    @inline(__always)
    mutating func walk(
        _ bytes: UnsafePointer<UInt8>, count: Int,
        control: (_ opcode: UInt8, _ piece: UnsafeBufferPointer<UInt8>, _ ends: Bool) -> Void
    ) {
        var index = 0
        while index < count {
            if self.place == .payload {
                let taken = Int(min(self.remaining, UInt64(count - index)))
                self.remaining -= UInt64(taken)
                if self.opcode >= 8 { control(self.opcode, UnsafeBufferPointer(start: bytes + index, count: taken), self.remaining == 0) }
                index += taken
                if self.remaining == 0 { self.place = .first }
                continue
            }
            self.step(bytes[index])
            index += 1
            if self.place == .payload, self.remaining == 0 {
                if self.opcode >= 8 { control(self.opcode, UnsafeBufferPointer(start: nil, count: 0), true) }
                self.place = .first
            }
        }
    }

    @inline(__always)
    private mutating func step(_ byte: UInt8) {
        switch self.place {
        case .first:
            self.opcode = byte & 15
            self.place = .second
        case .second:
            let length = byte & 127
            self.lengthBytes = length == 126 ? 2 : length == 127 ? 8 : 0
            self.remaining = self.lengthBytes == 0 ? UInt64(length) : 0
            self.place = self.lengthBytes == 0 ? .payload : .length
        case .length:
            self.remaining = self.remaining << 8 | UInt64(byte)
            self.lengthBytes -= 1
            if self.lengthBytes == 0 { self.place = .payload }
        case .payload:
            break
        }
    }

    /// A frame as a client must send it: masked. The mask is zero, which is a mask like any other and leaves the payload as it is.
    static func maskedFrame(opcode: UInt8, payload: [UInt8]) -> [UInt8] {
        precondition(payload.count < 126, "Control frames are short")
        return [0x80 | opcode, 0x80 | UInt8(payload.count), 0, 0, 0, 0] + payload
    }
}
