import NIOCore

extension ByteBuffer {
    /// Adds the bytes of a read to a buffer that a parser has partly consumed.
    mutating func feed(_ bytes: ByteBuffer) {
        // Also releases the memory of a large request.
        if self.readableBytes == 0 {
            self = bytes
            return
        }
        // A write does not reuse consumed space, and reads may never end at the end of a request. Without this the buffer would grow with all bytes
        // of the connection. Once most of it is consumed, moving the rest costs less than it frees.
        if self.readerIndex > self.readableBytes, self.readerIndex >= 4096 { self.discardReadBytes() }
        self.writeImmutableBuffer(bytes)
    }
}
