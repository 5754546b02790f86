import JSON
package import NIOCore

extension ByteBuffer: JSONSink {
    package mutating func append(byte: UInt8) { self.writeInteger(byte) }

    package mutating func append(bytes: UnsafeRawBufferPointer) { self.writeBytes(bytes) }

    package mutating func writePosition(_ position: Position) {
        self.writeDecimal(position.epoch)
        self.writeInteger(UInt8(ascii: "-"))
        self.writeDecimal(position.offset)
    }
}
