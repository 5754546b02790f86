/// Scans the frames of one WebSocket connection for pings and closes. ``MarkerScanner`` finds the payloads.
struct WebSocketWalker: Sendable {
    enum Opcode {
        static let close: UInt8 = 8
        static let ping: UInt8 = 9
        static let pong: UInt8 = 10
    }

    private enum State: UInt8 { case first, second, length, payload }

    private var state = State.first
    private var opcode: UInt8 = 0
    private var lengthBytes: UInt8 = 0
    private var remaining: UInt64 = 0

    init() {}

    /// Calls `control` with the pieces of control frames. `ends` is true for the last piece of a frame.
    @inline(__always)
    mutating func walk(
        _ bytes: UnsafePointer<UInt8>, count: Int,
        control: (_ opcode: UInt8, _ piece: UnsafeBufferPointer<UInt8>, _ ends: Bool) -> Void
    ) {
        var index = 0
        while index < count {
            if self.state == .payload {
                let taken = Int(min(self.remaining, UInt64(count - index)))
                self.remaining -= UInt64(taken)
                if self.opcode >= 8 { control(self.opcode, UnsafeBufferPointer(start: bytes + index, count: taken), self.remaining == 0) }
                index += taken
                if self.remaining == 0 { self.state = .first }
                continue
            }
            self.step(bytes[index])
            index += 1
            if self.state == .payload, self.remaining == 0 {
                if self.opcode >= 8 { control(self.opcode, UnsafeBufferPointer(start: nil, count: 0), true) }
                self.state = .first
            }
        }
    }

    @inline(__always)
    private mutating func step(_ byte: UInt8) {
        switch self.state {
        case .first:
            self.opcode = byte & 15
            self.state = .second
        case .second:
            let length = byte & 127
            self.lengthBytes = length == 126 ? 2 : length == 127 ? 8 : 0
            self.remaining = self.lengthBytes == 0 ? UInt64(length) : 0
            self.state = self.lengthBytes == 0 ? .payload : .length
        case .length:
            self.remaining = self.remaining << 8 | UInt64(byte)
            self.lengthBytes -= 1
            if self.lengthBytes == 0 { self.state = .payload }
        case .payload:
            break
        }
    }

    /// A masked frame. A client must mask its frames; a mask of zero is valid and does not change the payload.
    static func maskedFrame(opcode: UInt8, payload: [UInt8]) -> [UInt8] {
        precondition(payload.count < 126, "Control frames are short")
        return [0x80 | opcode, 0x80 | UInt8(payload.count), 0, 0, 0, 0] + payload
    }
}
